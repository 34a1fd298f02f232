"""A GPU measured in at most eight minutes, at LLaVA-1.5-7B's shape with random weights: `python -m bench.gpu`.

Six cuts in every window, in bfloat16 as served, raised to float32, and raised with TF32 products: times beside the
bound and beside the rate of plain matrix products, memory, and what each gets wrong; then what skipping saves in time,
and what reading states for `align` costs. Every part is written as soon as it is measured, and none is begun behind
`--minutes`. `--toy` runs all of it on a CPU, at a size for tests.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from cyclopts import App
from rich.console import Console

from bench.align import priced
from bench.bound import flops_bound, flops_clean, flops_sweep, rows_bound
from bench.measure import RESULTS, Summary, machine, matmul_rate, seconds
from bench.precision import encoded_for, flat, variants_of
from bench.report import Sheet, machine_lines, write_results
from bench.shapes import SHAPES, Shape, build, prompts, spans_of
from bench.skip import measure as measure_skip
from bench.skip import plans_of
from chiasm.models.encoded import Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.rounding import with_tf32
from chiasm.models.frame import keep_logits
from chiasm.models.skipping.timing import peak_bytes
from chiasm.models.view import ModelView
from chiasm.models.weights import float32_products

app = App(name="bench.gpu", help=__doc__, help_format="plaintext")
SERVED, RAISED, TF32 = "bfloat16, as served", "raised", "raised, TF32"
READ = ("norms + drift + mean similarities", "everything that is on by default")
SKIPPED = 3  # plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Six cuts in one precision. `passes`: the sweep in clean passes. `rate`: FLOP/s of the sweep, by its bound.

    `products`: FLOP/s of plain matrix products in the same type. `peak`: bytes above the weights. `error`: the largest
    |effect less the one raised without TF32| (nat). `guard`: seconds, and the largest difference seen and allowed.
    """

    clean: Summary
    sweep: Summary
    passes: Summary
    rate: float
    products: float
    peak: int
    error: float
    guard: tuple[float, float, float]


def sweep(
    view: ModelView, shape: Shape, encoded: Encoded, expected: list[torch.Tensor], device: str, repeats: int
) -> Sweep:
    """Clean passes and sweeps by turns. `expected`: the effects of the first call, which the others are beside."""
    own = encoded_for(view, encoded)
    variants, guard = variants_of(own.spans, view.n_layers), Guard()
    # Of random weights any token says as much; the same one for all.
    job = Job(own, variants, Readout(tokens=(7,)))
    results: list[JobResult] = []

    def clean() -> None:
        with torch.no_grad(), view.readable_attention():
            view.model(**own.inputs, **keep_logits(view, slice_to=1), use_cache=False)

    def run(work: Job = job) -> None:
        (found,) = LockstepExecutor(guard=guard).run(view, [work])
        if not isinstance(found, JobResult):
            raise found
        results[:] = [found]

    run()  # warms up, and pays for the guard
    clean()
    times = [(seconds(clean, device), seconds(run, device)) for _ in range(repeats)]
    effects = flat(results)
    expected.append(effects)
    # Each in the type that the layers multiply in.
    with float32_products(tf32=view.precision.tf32):
        products = matmul_rate(shape.length, shape.width, shape.inner, device, view.dtype)
    taken = Summary.of([s for _, s in times])
    return Sweep(
        clean=Summary.of([c for c, _ in times]),
        sweep=taken,
        passes=Summary.of([s / c for c, s in times]),
        rate=flops_sweep(shape, variants) / taken.median,
        products=products,
        peak=peak_bytes(view, run),
        error=float((effects - expected[0]).abs().max()),
        guard=(guard.seconds, guard.largest, guard.allowed),
    )


@app.default
def gpu(
    *, toy: bool = False, minutes: float = 8.0, repeats: int = 3, threads: int = 1, shape: str = "", out: Path = RESULTS
) -> None:
    """Measure, print, and write `gpu.json` and `gpu.md`.

    toy: on a CPU, at the smallest shape.
    minutes: no part is begun behind them.
    repeats: of every measurement.
    threads: of the process (on a CPU).
    shape: another of the shapes in bench/shapes.py.
    out: where the results go.
    """
    started, device = time.perf_counter(), "cpu" if toy else "cuda"
    torch.set_num_threads(threads)
    name = shape or ("mini" if toy else "llava-1.5-7b")
    chosen, console = SHAPES[name], Console(width=120)
    raised = ModelView(build(chosen, device, torch.bfloat16), None, name)
    (encoded,) = prompts(chosen, 1, device, raised.dtype)
    served = raised.as_served()
    fast, off = with_tf32(raised, encoded.inputs)
    expected: list[torch.Tensor] = []
    body: dict[str, Any] = {
        "machine": machine(device, threads),
        "shape": name,
        "tf32": {"taken": fast.precision.tf32, **off._asdict()},
    }
    forced = raised.in_precision(raised.precision.with_tf32())
    parts: dict[str, Callable[[], Any]] = {
        RAISED: lambda: asdict(sweep(raised, chosen, encoded, expected, device, repeats)),
        SERVED: lambda: asdict(sweep(served, chosen, encoded, expected, device, repeats)),
        TF32: lambda: asdict(sweep(forced, chosen, encoded, expected, device, repeats)),
        "skip": lambda: _skips(served, encoded, device, repeats),
        "align, as served": lambda: _align(served, encoded, device, repeats),
        "align, raised": lambda: _align(fast, encoded, device, repeats),
    }
    for part, measured in parts.items():
        if time.perf_counter() - started > 60 * minutes:
            console.print(f"{part}: left out, the time is over", style="dim")
            continue
        before = time.perf_counter()
        body[part] = measured()
        console.print(f"{part}: measured in {time.perf_counter() - before:.0f} s", style="dim")
        write(out, body, chosen)
    for sheet in sheets_of(body, chosen):
        sheet.show(console)


def _skips(view: ModelView, encoded: Encoded, device: str, repeats: int) -> dict[str, Any]:
    inputs = view.cast(encoded.inputs)
    plans = list(plans_of(view.n_layers).items())[:SKIPPED]
    return {name: measure_skip(view, inputs, one, device, repeats, 1) for name, one in plans}


def _align(view: ModelView, encoded: Encoded, device: str, repeats: int) -> dict[str, Any]:
    _, ratios = priced(view, encoded_for(view, encoded), READ, repeats, device)
    return {name: asdict(ratio) for name, ratio in ratios.items()}


def sheets_of(body: dict[str, Any], shape: Shape) -> list[Sheet]:
    """The tables of what has been measured so far."""
    found = [_flow_sheet(body, shape)]
    if "skip" in body:
        columns = ("plan", "operations saved", "time saved", "peak, MB")
        rows = [
            (
                name,
                f"{one['operations saved']:.1%}",
                f"{one['time saved']:.1%}",
                f"{one['peak bytes'] / 1e6:.0f} of {one['plain peak bytes'] / 1e6:.0f}",
            )
            for name, one in body["skip"].items()
        ]
        found.append(Sheet("Skipping, one prompt, as served", columns, rows))
    for part in ("align, as served", "align, raised"):
        if part in body:
            rows = [(name, f"{r['median']:.2f} ({r['low']:.2f}-{r['high']:.2f})") for name, r in body[part].items()]
            found.append(Sheet(f"Reading states: {part}", ("measures", "in plain forwards"), rows))
    return found


def _flow_sheet(body: dict[str, Any], shape: Shape) -> Sheet:
    variants = variants_of(spans_of(shape), shape.layers)
    bound = rows_bound(shape, variants)
    columns = (
        "computed",
        "clean, s",
        "sweep, s",
        "in passes",
        "of the bound",
        "TFLOP/s",
        "products",
        "above, MB",
        "error",
    )
    rows = []
    for mode in (SERVED, RAISED, TF32):
        if mode not in body:
            continue
        one = body[mode]
        rows.append(
            (
                mode,
                f"{one['clean']['median']:.3f}",
                f"{one['sweep']['median']:.3f}",
                f"{one['passes']['median']:.2f}",
                f"{bound / one['passes']['median']:.0%}",
                f"{one['rate'] / 1e12:.3g}",
                f"{one['products'] / 1e12:.3g}",
                f"{one['peak'] / 1e6:.0f}",
                f"{one['error']:.1e}",
            )
        )
    tf32 = body["tf32"]
    taken = "taken" if tf32["taken"] else "not taken"
    notes = [
        f"{len(variants)} variants; at least {bound:.2f} clean passes by rows, {flops_bound(shape, variants):.2f} by "
        f"operations (a clean pass: {flops_clean(shape) / 1e12:.3g} TFLOP).",
        "TFLOP/s: the operations that a sweep needs at least, over its time; products: what plain matrix products of "
        "the decoder's shape reach in the same type.",
        f"Error: the largest |effect less the raised one| (nat). TF32 moves log-probabilities by {tf32['mean']:.1e} "
        f"nat on average, by {tf32['quantile']:.1e} at the 99th percentile: it is {taken}.",
    ]
    return Sheet(f"Six cuts in windows of 9, shape {body['shape']}", columns, rows, notes)


def write(out: Path, body: dict[str, Any], shape: Shape) -> None:
    """`gpu.json` and `gpu.md`, after every part, so that a run that is ended early leaves what it has."""
    sheets = [] if RAISED not in body else sheets_of(body, shape)
    head = f"# A GPU, measured\n\n`python -m bench.gpu`.\n\n{machine_lines(body['machine'])}\n\n"
    write_results(out, "gpu", body, head + "\n".join(sheet.markdown() for sheet in sheets))


if __name__ == "__main__":
    app()
