"""Draws the pictures of the README and of the guides: `make pictures`.

The rule of the map of patches in the README: of the maps of the first 60 examples of `scenes` that the embedded model
answers correctly, the median one by the largest change of the answer's log-probability that hiding one patch makes.
What all of these maps show is printed, and stands under the picture. The pictures of `look` are of its first example.
The first screens in docs/images/pages are taken in a browser, and not drawn here.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import chiasm
from chiasm.cli.demo import EXAMPLES
from chiasm.results.charts.lines import Axes, Line, line_chart
from chiasm.results.charts.theme import size_of
from chiasm.results.series import Curve
from chiasm.studies.flow.maps import typical

FIRST = 60
ORDERS = 8
IMAGES = Path(__file__).parent / "images"
CURVES = Path(__file__).parents[1] / "bench" / "results" / "curves"
_MARKS = 12


def main() -> None:
    """Write the pictures into docs/images and print what the maps of patches show."""
    _save(chiasm.flow("tiny", data="scenes", limit=EXAMPLES, window=3), "flow", "demo", "7in")
    one, three = (chiasm.flow("tiny", data="scenes", limit=FIRST, window=window) for window in (1, 3))
    _save(three, "flow", "tour", "7in")
    _save(chiasm.diff(one, three), "difference", "diff", "7in")
    _save(chiasm.eval("tiny", data="scenes", limit=24, blind=True), "accuracy", "eval", "5in")
    looked = chiasm.look("tiny", data="scenes", limit=24)
    _save(looked, "map-0", "look-map", "7in", layers=[0, 2, 5])
    _save(looked, "words-0", "look-words", "7in", states=[0, 1, 3])
    _patches()
    curves()


def curves() -> None:
    """Memory and time of an example of long runs while they ran, as `bench.curve` has measured them."""
    memory, time = [], []
    for number, file in enumerate(sorted(CURVES.glob("*.json"))):
        told = json.loads(file.read_text())
        there = [one for one in told["samples"] if one[3]]
        marks = [there[round(k * (len(there) - 1) / _MARKS)] for k in range(_MARKS + 1)]
        marks = [one for k, one in enumerate(marks) if k == 0 or one[3] > marks[k - 1][3]]
        _, seconds, held, examples = (np.array(values, dtype=float) for values in zip(*marks, strict=True))
        label = " ".join(told["command"].split()[:2])
        between = (examples[1:] + examples[:-1]) / 2
        memory.append(_line(label, number, examples, held / 1e6))
        time.append(_line(label, number, between, 1e3 * np.diff(seconds) / np.diff(examples)))
    said = "Of the whole process while it runs; what is made at its end (tables, claims, page) comes after the last."
    for name, unit, lines in (("memory", "Resident memory (MB)", memory), ("time", "Processor time each (ms)", time)):
        most = 1.2 * max(float(line.curve.mean.max()) for line in lines)
        axes = Axes("Examples recorded by then", unit, limits=(0.0, most))
        title = f"Does the {name} of an example grow with the run?" if lines is time else "Does memory grow?"
        chart = line_chart(lines, axes, size_of("5in"), title=title, subtitle=said, height=170)
        chart.properties(background="white").save(IMAGES / f"curve-{name}.png", ppi=200)


def _line(label: str, number: int, places: np.ndarray, values: np.ndarray) -> Line:
    unknown = np.full(len(values), np.nan)
    return Line(label, Curve(places, values, unknown, unknown, int(places[-1])), number)


def _save(run: chiasm.Run | chiasm.Comparison, chart: str, name: str, width: str, **chosen: Any) -> None:
    """One chart of a run as docs/images/NAME.png."""
    run.chart(chart, width=width, **chosen).save(IMAGES / f"{name}.png")


def _patches() -> None:
    run = chiasm.flow(
        "tiny", data="scenes", limit=FIRST, window=3, cuts=["image->last"], patches=FIRST, shapley=ORDERS, out=None
    )
    chosen = typical(run.table("patch_values"))
    number = run.table("patches")["example_id"].unique(maintain_order=True).to_list().index(chosen)
    _save(run, f"patches-{number}", "patches", "6.5in")
    print(f"{chosen}, number {number}: {IMAGES / 'patches.png'}")
    for finding in run.reporter.ranked:
        print(f"- {finding.text}")


if __name__ == "__main__":
    main()
