"""What computing in float32 with half-precision weights costs, and what computing as served gets wrong.

`python -m bench.precision` takes about five minutes on two quiet cores: six cuts in every window, on the same
bfloat16 weights, as the model is served, raised (the default), and copied to float32. The three take turns.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from cyclopts import App
from rich.console import Console

from bench.measure import RESULTS, Summary, machine, seconds
from bench.report import Sheet, machine_lines, write_results
from bench.shapes import SHAPES, build, prompts
from bench.worker import SIX
from chiasm.core.errors import EmptySpanError
from chiasm.core.positions import Spans
from chiasm.data import examples
from chiasm.interventions import AttentionKnockout, Variant, centred
from chiasm.models.encoded import Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.precision import dtype_name
from chiasm.models.skipping.timing import peak_bytes
from chiasm.models.view import ModelView
from chiasm.studies.inputs import load

app = App(name="bench.precision", help=__doc__, help_format="plaintext")
MODES = ("as served", "raised", "float32 copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One way to compute. `seconds`: of a run. `ratio`: to the run as served beside it. `held`: bytes of weights.

    `peak`: bytes of tensors above them, at once. `mean`, `largest`: |effect less the same effect of the float32 copy|.
    """

    seconds: Summary
    ratio: Summary
    held: int
    peak: int
    mean: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A model's three ways. `effects`: how many there are; `size`: the mean of |effect| in float32 (nat)."""

    name: str
    dtype: str
    effects: int
    size: float
    costs: dict[str, Cost]


def variants_of(spans: Spans, layers: int, window: int = 9) -> tuple[Variant, ...]:
    """The six cuts in every window, those that have positions."""
    found = []
    for cut in SIX:
        try:
            found += [Variant(cut, (AttentionKnockout.parse(cut).on(spans, w),)) for w in centred(layers, window)]
        except EmptySpanError:
            continue
    return tuple(found)


def effects_of(
    view: ModelView, encoded: Sequence[Encoded], tokens: Sequence[tuple[int, ...]] | None
) -> list[JobResult]:
    """Every cut of every prompt; `tokens`: those scored, the clean run's own where None."""
    jobs = [Job(one, variants_of(one.spans, view.n_layers)) for one in encoded]
    if tokens is not None:
        jobs = [replace(job, readout=Readout(tokens=given)) for job, given in zip(jobs, tokens, strict=True)]
    found = []
    for result in LockstepExecutor(guard=Guard(enabled=False)).run(view, jobs):
        if not isinstance(result, JobResult):
            raise result
        found.append(result)
    return found


def flat(results: Sequence[JobResult]) -> torch.Tensor:
    """All effects, one after the other."""
    return torch.cat([(one.logprobs - one.clean).flatten().double() for one in results])


def compare(name: str, view: ModelView, encoded: Sequence[Encoded], repeats: int) -> Compared:
    """`view` holds half-precision weights, and is raised; `encoded` for it."""
    wide = ModelView(copy.deepcopy(view.model).float(), view.processor, view.name, family=view.family)
    views = dict(zip(MODES, (view.as_served(), view, wide), strict=True))
    given = {mode: [encoded_for(v, one) for one in encoded] for mode, v in views.items()}
    exact = effects_of(wide, given["float32 copy"], None)
    tokens = [tuple(one.tokens.tolist()) for one in exact]
    expected = flat(exact)
    off = {m: (flat(effects_of(v, given[m], tokens)) - expected).abs() for m, v in views.items()}
    device = view.device.type
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for repeat in range(repeats + 1):
        # The one as served is run once more at the end, so that each of the others stands between two of it.
        for mode in MODES if repeat < repeats else MODES[:1]:
            times[mode].append(seconds(lambda m=mode: effects_of(views[m], given[m], tokens), device))
    around = [(a + b) / 2 for a, b in pairwise(times["as served"])]
    costs = {}
    for mode, one in views.items():
        own = times[mode][:repeats]
        costs[mode] = Cost(
            seconds=Summary.of(own),
            ratio=Summary.of([t / s for t, s in zip(own, around, strict=True)]),
            held=sum(p.nbytes for p in one.model.parameters()),
            peak=peak_bytes(one, lambda m=mode, v=one: effects_of(v, given[m], tokens)),
            mean=float(off[mode].mean()),
            largest=float(off[mode].max()),
        )
    dtype = dtype_name(view.precision.weights)
    return Compared(name=name, dtype=dtype, effects=len(expected), size=float(expected.abs().mean()), costs=costs)


def encoded_for(view: ModelView, encoded: Encoded) -> Encoded:
    """`encoded` for another precision of the same model, as `view` takes it."""
    return replace(encoded, inputs=view.cast(encoded.inputs))


def sheet_of(one: Compared) -> Sheet:
    """A model's costs as a table."""
    columns = (
        "computed",
        "seconds of a run",
        "in runs as served",
        "weights, MB",
        "above them, MB",
        "error, mean",
        "max",
    )
    rows = [
        (
            mode,
            f"{cost.seconds.median:.2f}",
            str(cost.ratio),
            f"{cost.held / 1e6:.1f}",
            f"{cost.peak / 1e6:.1f}",
            f"{cost.mean:.1e}",
            f"{cost.largest:.1e}",
        )
        for mode, cost in one.costs.items()
    ]
    title = f"{one.name}, weights in {one.dtype}: {one.effects} effects, {one.size:.3f} nat on average"
    return Sheet(title, columns, rows, ["Errors: |effect less that of the float32 copy|, in nat."])


def loaded(name: str, count: int, dtype: torch.dtype) -> tuple[ModelView, list[Encoded]]:
    """A checkpoint with its weights cast to `dtype`, raised, and scenes for it."""
    view = load(name, dtype="float32")
    view = ModelView(view.model.to(dtype), view.processor, name, family=view.family)
    return view, [view.encode(example) for example in examples("scenes", count)]


@app.default
def precision(
    *,
    models: tuple[str, ...] = ("tiny",),
    shape: str = "small",
    count: int = 16,
    repeats: int = 3,
    threads: int = 1,
    out: Path = RESULTS,
) -> None:
    """Measure, print, and write `precision.json` and `precision.md`.

    models: names or directories of checkpoints, run on scenes.
    shape: one of the shapes in bench/shapes.py, with random weights; empty for none.
    count: scenes.
    repeats: of every run.
    threads: of the process.
    out: where the results go.
    """
    torch.set_num_threads(threads)
    found, facts = [], machine("cpu", threads)
    for name in models:
        found.append(compare(Path(name).name, *loaded(name, count, torch.bfloat16), repeats))
        sheet_of(found[-1]).show(Console(width=120))
    if shape:
        view = ModelView(build(SHAPES[shape], "cpu", torch.bfloat16), None, shape)
        found.append(compare(f"shape {shape}, random", view, prompts(SHAPES[shape], 1, "cpu", view.dtype), repeats))
        sheet_of(found[-1]).show(Console(width=120))
    body: dict[str, Any] = {"machine": facts, "models": [asdict(one) for one in found]}
    head = f"# What raised precision costs\n\n`python -m bench.precision`.\n\n{machine_lines(facts)}\n\n"
    write_results(out, "precision", body, head + "\n".join(sheet_of(one).markdown() for one in found))


if __name__ == "__main__":
    app()
