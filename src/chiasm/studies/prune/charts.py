"""Which mask serves which question type, and right answers and perplexity under every mask."""

import math
from typing import Any, Final, Literal

import polars as pl

from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.grid import NEXT_LINE, Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.theme import Size, counted
from chiasm.results.series import in_order
from chiasm.results.wording import bounds
from chiasm.studies.prune.tables import DENSE, POOLED, TYPES, UNCALIBRATED

Value = Literal["score", "perplexity"]

_UNTOUCHED = Mark("untouched", 6)
_SINGLE = Mark("a mask", 0)
_COMBINED_MARK = Mark("combined from types", 2)
_CHANCE = Mark("random weights zeroed (control)", None, control=True)
_RANDOM_MODEL = Mark("Wanda on random weights (control)", None, control=True)

# (mask, calibration) in the order of their rows, the control last; the rest is in the table and the map.
_ROWS: Final = {
    ("wanda", POOLED): ("Wanda", _SINGLE),
    ("wanda-centred", POOLED): ("Wanda, norms about the mean", _SINGLE),
    ("magnitude-row", UNCALIBRATED): ("magnitude per row", _SINGLE),
    ("magnitude", UNCALIBRATED): ("magnitude per matrix", _SINGLE),
    ("intersection", TYPES): ("intersection of types", _COMBINED_MARK),
    ("majority", TYPES): ("majority of types", _COMBINED_MARK),
    ("mean-score", TYPES): ("mean score of types", _COMBINED_MARK),
    ("random", UNCALIBRATED): ("random weights zeroed", _CHANCE),
}

# The rows of the map below those of single types: label, mask, calibration.
_COMBINED: Final = (
    ("all types", "wanda", POOLED),
    ("intersection", "intersection", TYPES),
    ("majority", "majority", TYPES),
    ("mean score", "mean-score", TYPES),
    ("random mask (control)", "random", UNCALIBRATED),
    ("untouched", DENSE, UNCALIBRATED),
)


def whole(masks: pl.DataFrame) -> pl.DataFrame:
    """The rows over all question types: those of `all`, or of the only type there is."""
    return masks.filter(
        pl.col("evaluation") == ("all" if "all" in set(masks["evaluation"]) else masks["evaluation"][0])
    )


def masks_chart(masks: pl.DataFrame, controls: pl.DataFrame | None, size: Size, *, value: Value = "score") -> Chart:
    """`value` under every mask, a panel for each level of sparsity; the line is the untouched model.

    `controls`: the same masks in a model with random weights. Masks of one part alone have rows of their own.
    """
    rows = whole(masks)
    dense = rows.filter(mask=DENSE).row(0, named=True)
    pruned = rows.filter(pl.col("mask") != DENSE)
    parts = in_order(pruned, "part")
    levels = pruned.select("sparsity", "pattern").unique(maintain_order=True).sort("sparsity", maintain_order=True)
    percent = value == "score"
    dots: list[Dot] = []
    scales: list[Scale] = []
    for sparsity, pattern in levels.iter_rows():
        title = level_words(sparsity, pattern)
        level = pruned.filter(sparsity=sparsity, pattern=pattern)
        beside = None if controls is None else whole(controls).filter(sparsity=sparsity, pattern=pattern, part=parts[0])
        dots.append(_dot("untouched", dense, title, _UNTOUCHED, value))
        dots += [
            _dot(label if part == "all" else f"{label}, {part} only", row, title, mark, value)
            for (mask_name, calibration), (label, mark) in _ROWS.items()
            for part in parts
            for row in level.filter(mask=mask_name, calibration=calibration, part=part).iter_rows(named=True)
        ]
        if beside is not None:
            found = beside.filter(mask="wanda", calibration=POOLED).iter_rows(named=True)
            dots += [_dot("Wanda on random weights", row, title, _RANDOM_MODEL, value) for row in found]
        reference = (100 if percent else 1) * dense[value]
        scales.append(
            Scale("Right answers (%)", title, reference=reference, limits=(0, 100))
            if percent
            else Scale("Perplexity of the labels", title, "log", reference, ticks=[10.0**k for k in range(7)])
        )
    marks = [_UNTOUCHED, _SINGLE, _COMBINED_MARK, _CHANCE, _RANDOM_MODEL]
    drawn = {dot.mark for dot in dots}
    kind = "Wilson" if percent else "bootstrap"
    subtitle = f"Dots: {'shares' if percent else 'values'}; bars: 95 % {kind} intervals; line: untouched; "
    subtitle += f"{counted(sorted(set(rows['n'])))}."
    asked = "right answers" if percent else "labelled answers likely"
    return dots_chart(
        dots,
        scales,
        [mark for mark in marks if mark.label in drawn],
        size,
        title=f"Which mask keeps the {asked}?",
        subtitle=subtitle,
    )


def level_words(sparsity: float, pattern: str) -> str:
    """A level of sparsity in words."""
    return f"{100 * sparsity:g} % zeroed" if pattern == "unstructured" else f"{pattern} zeroed"


def _dot(label: str, row: dict[str, Any], panel: str, mark: Mark, value: Value) -> Dot:
    low, high, scale = ("low", "high", 100) if value == "score" else ("perplexity_low", "perplexity_high", 1)
    within = (math.nan if row[name] is None else scale * row[name] for name in (low, high))
    return Dot(label, scale * row[value], *within, n=row["n"], mark=mark.label, panel=panel)


def transfer_chart(masks: pl.DataFrame, size: Size, *, sparsity: float, pattern: str) -> Chart:
    """Right answers (%) by the mask's calibration (rows) and the question's type (columns) at one level.

    Each cell holds the share and its 95 % interval; the random mask and the untouched model stand below as scale.
    """
    at = ((pl.col("sparsity") - sparsity).abs() < 1e-9) & (pl.col("pattern") == pattern)
    here = masks.filter((at & (pl.col("part") == masks.filter(at)["part"][0])) | (pl.col("mask") == DENSE))
    types = [name for name in in_order(here, "evaluation") if name != "all"]
    lines = [*((name, "wanda", name) for name in types), *_COMBINED]
    cells = [
        _cell(label, row)
        for label, mask, calibration in lines
        for name in types
        for row in here.filter(mask=mask, calibration=calibration, evaluation=name).iter_rows(named=True)
    ]
    subtitle = (
        f"{level_words(sparsity, pattern)}. Cells: right answers, below them their 95 % Wilson interval; "
        f"{counted([cell.n for cell in cells if cell.n is not None])} a type."
    )
    return grid_chart(
        cells,
        Shades("Right answers (%)", limits=(0, 100), written=".0f"),
        Sides("Mask calibrated on", "Question type"),
        size,
        title="Does a mask serve the types that it was not calibrated on?",
        subtitle=subtitle,
    )


def _cell(label: str, row: dict[str, Any]) -> Cell:
    share = 100 * row["score"]
    low, high = (math.nan if row[name] is None else 100 * row[name] for name in ("low", "high"))
    interval = "" if math.isnan(low) else f"{NEXT_LINE}{bounds(low, high, digits=0)}"
    column = f"{row['evaluation']} (n = {row['n']})"
    return Cell(label, column, share, low, high, row["n"], text=f"{share:.0f}{interval}")
