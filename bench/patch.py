"""What a sweep of activation patches costs, in clean passes, beside its bound and beside other tools.

`python -m bench.patch` patches six spans of the prompt into the residual stream of each of 24 layers, in both
directions of a pair: 288 patches. Seven minutes of one core; `--quick` measures the mini shape in seconds. `--peers`
adds plain hooks, nnsight and TransformerLens where `python -m bench.install_peers` has installed them.

The bound counts rows x layers: the clean rows of both examples, and of every patch the rows that the patch can change
from its layer on, but for those that it makes the donor's own (a whole image in a causal decoder).
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from cyclopts import App
from rich.console import Console
from safetensors.torch import load_file, save_file

from bench.flow import saved_model
from bench.install_peers import PEERS, cache_directory, installed, python_of
from bench.measure import RESULTS, Seconds, Summary, machine, timed
from bench.report import Sheet, machine_lines, write_results
from bench.shapes import SHAPES, Shape, build, processor, prompts, spans_of
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.encoded import Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, JobResult
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.view import ModelView

SPANS = ("image", "between", "question", "suffix", "question+suffix", "last")
PARTS = ("image.object", "image.other")
"""Parts of an image are followed by rows that see both pictures: from the first of them on all are computed."""
HERE = Path(__file__).parent

app = App(name="bench.patch", help=__doc__, help_format="plaintext")


@app.default
def patch(
    *,
    quick: bool = False,
    peers: bool = False,
    parts: bool = False,
    ours: bool = True,
    threads: int = 1,
    repeats: int = 3,
    out: Path = RESULTS,
    cache: Path | None = None,
) -> None:
    """Measure, print, and write `patch.json` and `patch.md`.

    quick: the mini shape.
    peers: also the peers that are installed.
    parts: also the object and the rest of the image, which takes twenty clean passes for each direction.
    ours: --no-ours keeps our sweeps as they are in the results, and measures the peers alone.
    threads: of every process.
    repeats: of every sweep, between clean passes.
    out: where the results go.
    cache: saved models and the peers' environments (default: CHIASM_BENCH_CACHE or ~/.cache/chiasm-bench).
    """
    torch.set_num_threads(threads)
    name = "mini" if quick else "small"
    described = machine("cpu", threads)
    kept = {} if ours else json.loads((out / "patch.json").read_text())
    found = [measure(name, SPANS, repeats)] if ours else kept["sweeps"]
    if parts and ours:
        found.append(measure(name, PARTS, 1))
    sheets = [_sheet(found)]
    beside: list[dict[str, Any]] = []
    if peers:
        beside = run_peers(name, cache or cache_directory(), repeats, threads)
        sheets.append(_beside(beside, found[0], kept=not ours))
    head = [
        "# What a sweep of activation patches costs",
        "",
        f"`python -m bench.patch`, shape `{name}` ({SHAPES[name]}).",
        "",
        machine_lines(kept.get("machine", described)),
        "",
    ]
    text = "\n".join(head) + "\n" + "\n".join(sheet.markdown() for sheet in sheets)
    body = {"machine": kept.get("machine", described), "sweeps": found, "peers": beside}
    write_results(out, "patch", body | ({} if ours else {"machine of the peers": described}), text)
    for sheet in sheets:
        sheet.show(Console(width=120))


@torch.no_grad()
def measure(name: str, spans: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """Clean, sweep, clean, ...: what drifts between them cancels in their ratio."""
    shape = SHAPES[name]
    view = ModelView(build(shape), processor(shape)).as_served()
    jobs = jobs_of(shape, spans)
    inputs = jobs[0].encoded.inputs

    def clean() -> None:
        view.model(**inputs, use_cache=False, logits_to_keep=1)

    guard = Guard()
    effects: list[float] = []

    def sweep(executor: LockstepExecutor, asked: list[Job]) -> None:
        for result in executor.run(view, asked):
            if not isinstance(result, JobResult):
                raise result
            effects.append(float((result.logprobs - result.clean).abs().max()))

    executor = LockstepExecutor(batch_size=len(jobs), guard=guard)
    # The guard compares with plain hooked forwards once, and the clock starts behind it.
    sweep(executor, [replace(job, variants=job.variants[:: max(1, shape.layers // 3)]) for job in jobs])
    clean()
    before, spent = [timed(clean, "cpu")], guard.seconds
    times: list[Seconds] = []
    for _ in range(repeats):
        unguarded = LockstepExecutor(batch_size=len(jobs), guard=Guard(enabled=False))
        times.append(timed(partial(sweep, unguarded, jobs), "cpu"))
        before.append(timed(clean, "cpu"))
    unit = [(a.cpu + b.cpu) / 2 for a, b in pairwise(before)]
    return {
        "spans": list(spans),
        "patches": sum(len(job.variants) for job in jobs),
        "clean": [asdict(one) for one in before],
        "sweep": [asdict(one) for one in times],
        "passes": [one.cpu / per for one, per in zip(times, unit, strict=True)],
        "bound": rows_bound(shape, jobs),
        "difference": guard.largest,
        "guard": spent,
        "effect": max(effects),
    }


def jobs_of(shape: Shape, spans: tuple[str, ...]) -> list[Job]:
    """Both directions of one pair: the same prompt with two images of noise."""
    pair = (prompts(shape)[0], _other_image(shape))
    variants = tuple(
        Variant(f"{span} {layer}", (Patch(Window(layer, layer + 1, layer), "residual", rows, rows),))
        for span in spans
        for rows in [tuple(spans_of(shape).require(span).tolist())]
        for layer in range(shape.layers)
    )
    return [Job(pair[k], variants, donors=(pair[1 - k],)) for k in (0, 1)]


def rows_bound(shape: Shape, jobs: list[Job]) -> float:
    """Rows x layers of the clean rows of both examples and of all patches, over those of one clean pass."""
    image = set(spans_of(shape)["image"].tolist())
    rows = 0
    for job in jobs:
        rows += shape.length * shape.layers
        for variant in job.variants:
            patched = set(variant.changes[0].rows)
            theirs = patched & image if patched >= image else set()
            rows += (shape.length - min(patched) - len(theirs)) * (shape.layers - variant.start)
    return rows / (shape.length * shape.layers)


def _other_image(shape: Shape) -> Encoded:
    first = prompts(shape)[0]
    noise = torch.randn(1, 3, shape.pixels, shape.pixels, generator=torch.Generator().manual_seed(9))
    return replace(first, example_id="other", inputs=first.inputs | {"pixel_values": noise})


def run_peers(name: str, folder: Path, repeats: int, threads: int) -> list[dict[str, Any]]:
    """One patch at a time, as every tool that runs one forward for each does: a few, from which the sweep follows."""
    shape, model = SHAPES[name], saved_model(name, folder)
    interpreters = {"hooks": Path(sys.executable)}
    interpreters |= {peer: python_of(folder, peer) for peer in ("nnsight", "transformer_lens")}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        states = Path(scratch) / "states.safetensors"
        save_file(
            {"states": torch.randn(shape.length, shape.width, generator=torch.Generator().manual_seed(4))}, states
        )
        patches = [
            {"name": f"{span} {layer}", "layer": layer, "rows": spans_of(shape).require(span).tolist()}
            for span, layer in (("image", 1), ("question", shape.layers // 2), ("last", shape.layers - 2))
        ]
        for peer, python in interpreters.items():
            if peer in PEERS and not installed(python, PEERS[peer]):
                continue
            logits = Path(scratch) / f"{peer}.safetensors"
            job = {"model": model, "patches": patches, "states": str(states), "repeats": repeats, "threads": threads}
            finished = subprocess.run(
                [python, HERE / "peers" / f"with_{peer}.py"],
                input=json.dumps(job | {"out": str(logits)}),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={"PATH": "/usr/bin:/bin", "HOME": scratch, "HF_HUB_OFFLINE": "1"},
            )
            values: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
            ours, theirs = load_file(logits), load_file(Path(scratch) / "hooks.safetensors")
            gaps = [float((ours[k].log_softmax(-1) - theirs[k].log_softmax(-1)).abs().max()) for k in theirs]
            found.append(values | {"peer": peer, "difference": max(gaps)})
    return found


def _sheet(found: list[dict[str, Any]]) -> Sheet:
    rows = []
    for one in found:
        passes = Summary.of(one["passes"])
        rows.append(
            (
                ", ".join(one["spans"]),
                str(one["patches"]),
                str(passes),
                f"{one['bound']:.2f}",
                f"{passes.median / one['bound']:.2f}",
                f"{one['difference']:.1g}",
            )
        )
    columns = ("spans", "patches", "clean passes", "bound, passes", "times the bound", "difference")
    note = (
        "Processor time; medians, and the smallest and largest. One forward per patch would take as many clean passes "
        "as there are patches. Difference: the largest in log-probability from plain hooked forwards (the guard's)."
    )
    return Sheet("Both directions of one pair", columns, rows, [note])


def _beside(beside: list[dict[str, Any]], ours: dict[str, Any], *, kept: bool) -> Sheet:
    unit = median(one["cpu"] for one in beside[0]["clean"])
    rows = []
    for one in beside:
        cut = median(single["cpu"] for single in one["changed"])
        whole = f"{(2 * unit + ours['patches'] * cut) / unit:.0f}"
        version = next((v for k, v in one["versions"].items() if k not in ("torch", "transformers")), "")
        rows.append((f"{one['peer']} {version}".strip(), f"{cut / unit:.2f}", whole, f"{one['difference']:.1g}"))
    rows.append(("chiasm, one walk", "", f"{median(ours['passes']):.2f}", f"{ours['difference']:.1g}"))
    columns = ("engine", "one patch, passes", f"{ours['patches']} patches, passes", "difference")
    notes = [
        "Passes: clean passes of plain hooks, processor time. The peers' sweep is extrapolated from single patches."
    ]
    bound = f"The bound of one walk is {ours['bound']:.2f} passes."
    if kept:
        bound += " Its passes were measured in an earlier run than the peers', and are clean passes of that run."
    return Sheet("Side by side", columns, rows, [*notes, bound])


if __name__ == "__main__":
    app()
