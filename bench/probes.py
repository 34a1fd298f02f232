"""What it costs to train probes together, against one by one: `python -m bench.probes` (two minutes of CPU)."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cyclopts import App
from rich.console import Console

from bench.measure import RESULTS, Summary, machine, timed
from bench.probe_alone import train_alone
from bench.report import Sheet, write_results
from chiasm.measures.probes.kinds import Probe, probe_of
from chiasm.measures.probes.training import FeatureSet, Fitted, Labels, ProbeRun, train_probes

LAYERS, SEEDS = 24, 5
LINEAR, MLP = 2.0, 1.0

app = App(name="bench.probes", help=__doc__, help_format="plaintext")


class ProbeShape(NamedTuple):
    """A domain: width of its states, classes, images to learn from.

    `alone`: every so many-th probe is also trained by itself, and the time of all is taken from theirs. `some`: every
    so many-th is trained at all.
    """

    name: str
    width: int
    classes: int
    images: int
    probes: tuple[str, ...]
    alone: int
    some: int = 1
    epochs: int = 0


SHAPES = (
    ProbeShape("embedded", 128, 12, 384, ("linear", "mlp-paper"), 8),
    ProbeShape("embedded, 10 epochs", 128, 12, 384, ("mlp-code",), 8, epochs=10),
    ProbeShape("47 classes, width 1024, 8 epochs", 1024, 47, 940, ("linear",), 12, epochs=8),
    ProbeShape("width 1024, MLP as published, 2 epochs", 1024, 47, 384, ("mlp-paper",), 2, some=30, epochs=2),
)


def feature_sets(shape: ProbeShape) -> tuple[list[FeatureSet], Labels]:
    """Random classes, as hard to tell apart as pooled states are."""
    rng = np.random.default_rng(0)
    truth = [rng.integers(0, shape.classes, n) for n in (shape.images, shape.images // 5, shape.images // 2)]
    made, noise = [], 4 * (shape.width / 128) ** 0.5
    for _ in range(LAYERS):
        centres = rng.normal(size=(shape.classes, shape.width))
        parts = (centres[y] + noise * rng.normal(size=(len(y), shape.width)) for y in truth)
        made.append(FeatureSet(*(part.astype(np.float32) for part in parts)))
    return made, Labels(*(torch.from_numpy(y) for y in truth), shape.classes)


def measured(
    shape: ProbeShape, probe: Probe, repeats: int, device: str, clock: str
) -> tuple[Summary, list[float], float]:
    """How many times faster, seconds together, and the largest difference of a log-probability."""
    made, labels = feature_sets(shape)
    runs = [ProbeRun(layer, seed) for layer in range(LAYERS) for seed in range(SEEDS)][:: shape.some]
    some = runs[:: shape.alone]
    ratios, together, difference = [], [], 0.0
    for _ in range(repeats):
        seconds, found = _clocked(lambda: train_probes(probe, made, labels, runs), device, clock)
        alone, each = _clocked(
            lambda: [train_alone(probe, made[run.features], labels, run.seed) for run in some], device, clock
        )
        # What was trained alone stands for all: by epochs, since probes stop at different ones.
        whole = sum(fitted.epochs + probe.patience for fitted in found)
        ratios.append(alone * whole / sum(fitted.epochs + probe.patience for fitted in each) / seconds)
        together.append(seconds)
        pairs = zip(found[:: shape.alone], each, strict=True)
        difference = max(difference, *(float(np.abs(a.logprobs - b.logprobs).max()) for a, b in pairs))
    return Summary.of(ratios), together, difference


def _clocked(run: Callable[[], list[Fitted]], device: str, clock: str) -> tuple[float, list[Fitted]]:
    found: list[Fitted] = []
    return getattr(timed(lambda: found.extend(run()), device), clock), found


@app.default
def probes(*, threads: int = 1, repeats: int = 3, quick: bool = False, out: Path = RESULTS) -> None:
    """Measure, print, and write `probes.json` and `probes.md`.

    threads: of the process. CPU time is measured with one, else elapsed time.
    repeats: of every measurement, both ways in turn.
    quick: the embedded shape alone.
    out: where the results go.
    """
    torch.set_num_threads(threads)
    clock = "cpu" if threads == 1 else "wall"
    rows, kept = [], []
    for shape in SHAPES[: 1 if quick else None]:
        for name in shape.probes:
            probe = probe_of(name, 4096 if shape is SHAPES[-1] else shape.width)
            if shape.epochs:
                probe = replace(probe, epochs=shape.epochs, patience=shape.epochs if probe.patience else 0)
            ratio, seconds, difference = measured(shape, probe, repeats, "cpu", clock)
            bound = LINEAR if name == "linear" else MLP
            rows.append(
                (
                    shape.name,
                    name,
                    f"{probe.parameters(shape.width, shape.classes):,}",
                    str(ratio),
                    f"{bound:g}",
                    f"{Summary.of(seconds).median:.2f}",
                    f"{difference:.1g}",
                )
            )
            kept.append(
                {"shape": shape._asdict(), "probe": name, "ratio": asdict(ratio), "bound": bound, "seconds": seconds}
            )
    columns = ("shape", "probe", "parameters", "times faster", "bound", "s together", "difference")
    notes = [
        f"Seconds are {'CPU time' if clock == 'cpu' else 'elapsed'}; {repeats} repeats, both ways in turn, median and "
        "range. One by one: a sample of the probes in a plain loop of torch's modules, scaled to all by epochs.",
        "Difference: the largest in log-probability, in float32. A test compares in float64, where it is below 1e-9; "
        "MLPs trained long at a high rate make large ones of rounding.",
        "At its own widths an MLP fills a group's memory alone: 4 of the 120 are timed.",
    ]
    sheet = Sheet(f"{LAYERS} layers x {SEEDS} seeds of probes, trained together", columns, rows, notes)
    sheet.show(Console(width=120))
    write_results(out, "probes", {"machine": machine("cpu", threads), "rows": kept}, sheet.markdown())


if __name__ == "__main__":
    app()
