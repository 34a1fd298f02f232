"""What all heads of all layers cost in one walk, in clean passes, beside the operation bound.

`python -m bench.heads` takes about a quarter of an hour on one quiet core. Every ratio is of one run: clean passes and
sweeps alternate, and the median of the ratios of neighbours is given with the smallest and the largest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from cyclopts import App
from rich.console import Console

from bench.bound import rows_bound
from bench.measure import RESULTS, Summary, machine, timed
from bench.report import machine_lines, write_results
from bench.shapes import SHAPES, Shape, build, default_dtype, prompts, spans_of
from chiasm.interventions import Variant, head_sets, parse_heads
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, JobResult
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.view import ModelView

SWEEPS: Final = {
    "edges, image to last": ("image->last@heads=all",),
    "output at last": ("zero:heads@last",),
    "edges and output, to last": ("image->last@heads=all", "zero:heads@last"),
    "edges, image to question": ("image->question@heads=all",),
}
"""What is measured, by name: each head of each layer on its own."""
LIMIT: Final = 1.5
"""Times its operation bound that a sweep of heads may take."""

app = App(name="bench.heads", help=__doc__, help_format="plaintext")


@app.default
def heads(
    *, shape: str = "small", repeats: int = 5, threads: int = 1, out: Path = RESULTS, only: tuple[str, ...] = ()
) -> None:
    """Measure, print, and write `heads.json` and `heads.md`.

    shape: another of the shapes in bench/shapes.py.
    repeats: of every sweep, between clean passes.
    threads: of this process.
    out: where the results go.
    only: sweeps to measure, by name.
    """
    torch.set_num_threads(threads)
    described = machine("cpu", threads)
    found = [measure(SHAPES[shape], name, cuts, repeats) for name, cuts in SWEEPS.items() if not only or name in only]
    text = "\n".join(_page(shape, described, found))
    Console(width=120).print(text, markup=False)
    write_results(out, "heads", {"machine": described, "shape": shape, "sweeps": found}, text)


@torch.no_grad()
def measure(shape: Shape, name: str, cuts: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """Clean, sweep, clean, sweep, ..., clean: what drifts between them cancels in their ratio."""
    view = ModelView(build(shape, "cpu", default_dtype("cpu")), None).as_served()
    prompt = prompts(shape, 1, "cpu", view.dtype)[0]
    variants = tuple(variants_of(shape, cuts))

    def clean() -> None:
        view.model(**prompt.inputs, use_cache=False, logits_to_keep=1)

    def run(executor: LockstepExecutor, some: tuple[Variant, ...]) -> float:
        (result,) = executor.run(view, [Job(prompt, some)])
        if not isinstance(result, JobResult):
            raise result
        return float((result.logprobs - result.clean).abs().max())

    guarded = LockstepExecutor(guard=Guard(enabled=True))
    # A few of them, against plain masked forwards; the same calls warm the caches.
    effect = run(guarded, variants[:: max(1, len(variants) // 7)])
    executor, passes = LockstepExecutor(guard=Guard(enabled=False)), []
    clean()
    before = timed(clean, "cpu")
    for _ in range(repeats):
        sweep = timed(lambda: run(executor, variants), "cpu")
        after = timed(clean, "cpu")
        passes.append(2 * sweep.cpu / (before.cpu + after.cpu))
        before = after
    bound = rows_bound(shape, variants)
    return {
        "name": name,
        "cuts": list(cuts),
        "variants": len(variants),
        "bound": bound,
        "passes": passes,
        "times_bound": [one / bound for one in passes],
        "effect": effect,
        "guard": guarded.guard.largest,
    }


def variants_of(shape: Shape, cuts: tuple[str, ...]) -> Iterator[Variant]:
    """Every head of every layer on its own."""
    spans = spans_of(shape)
    for change in map(parse_heads, cuts):
        for layer in range(shape.layers):
            for one in head_sets(change, shape.heads, shape.heads):
                yield Variant(f"{change.text} {layer} {one}", (change.on(spans, layer, one.heads),))


def _page(shape: str, described: dict[str, str | int], found: list[dict[str, Any]]) -> Iterator[str]:
    yield "# What all heads of all layers cost in one walk"
    yield ""
    yield f"`python -m bench.heads`, shape `{shape}` ({SHAPES[shape]}). Times are of the process, in clean passes,"
    yield "median (smallest to largest). The operation bound counts rows x layers (docs/bench.md)."
    yield ""
    yield machine_lines(described)
    yield ""
    yield "| sweep | variants | bound | passes | times the bound | off plain forwards |"
    yield "|---|---|---|---|---|---|"
    for one in found:
        passes, times = Summary.of(one["passes"]), Summary.of(one["times_bound"])
        yield f"| {one['name']} | {one['variants']} | {one['bound']:.2f} | {passes} | {times} | {one['guard']:.1g} |"
    yield ""


if __name__ == "__main__":
    app()
