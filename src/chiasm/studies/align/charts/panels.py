"""Lines over depth: those of a model, and dashed in the same colours those of its controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from chiasm.results.charts.lines import MEASURED, Line
from chiasm.results.charts.theme import PALETTE, counted
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import Curve, in_order
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS

STATE = "Hidden state (0 = embeddings)"
BANDS = "95 % jackknife interval"
INTERVAL = f"mean and {BANDS}"
NO_INTERVAL = "no interval: too few inputs"
BASELINE = "random-weights baseline"
CONTROL_LABELS = {
    NOISE_TOKENS: "random perceptual tokens",
    RANDOM_WEIGHTS: BASELINE,
    MODALITY_ISOLATION: "modality isolation",
}


def depth_lines(
    label: str,
    style: int,
    rows: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    panel: str = "",
    **chosen: Any,
) -> list[Line]:
    """The rows whose columns are as `chosen`, one for each state, and those of every control that has any."""
    lines = [Line(label, table_curve(rows.filter(**chosen)), style, panel=panel)]
    for name in control_names(controls):
        assert controls is not None
        beside = controls.filter(control=name, **chosen)
        if beside.height:
            lines.append(Line(label, table_curve(beside), style, control_label(name), panel))
    return lines


def lines_text(lines: Sequence[Line], rows: pl.DataFrame, bands: str = f"bands: {BANDS}s") -> str:
    """What lines and bands are, over how many examples."""
    known = bands if has_intervals(rows) else NO_INTERVAL
    return f"Lines: means over examples; {known}; {counted([one.curve.n for one in lines if one.role == MEASURED])}."


def distinct_styles(wanted: Mapping[str, int]) -> dict[str, int]:
    """Numbers of colours as `wanted`, but no two alike while there are others."""
    found: dict[str, int] = {}
    for label, style in wanted.items():
        free = [k for k in range(len(PALETTE)) if k not in found.values()]
        found[label] = style if style in free or not free else free[0]
    return found


def has_intervals(rows: pl.DataFrame) -> bool:
    """Whether a table gives any interval: of one input there is none."""
    return bool((rows["low"].is_not_null() & rows["low"].is_not_nan()).any())


def control_names(controls: pl.DataFrame | None) -> list[str]:
    """The controls that rows are of, in their order; none without any."""
    return [] if controls is None else in_order(controls, "control")


def control_label(name: str) -> str:
    """What charts call a control."""
    return CONTROL_LABELS.get(name, name)


def one_control(controls: pl.DataFrame | None, **chosen: Any) -> pl.DataFrame | None:
    """Rows of the random-weights baseline, else of the first control there is; None without any.

    Where there are many lines, those of all controls would hide each other.
    """
    names = control_names(controls)
    if controls is None or not names:
        return None
    name = RANDOM_WEIGHTS if RANDOM_WEIGHTS in names else names[0]
    return controls.filter(control=name, **chosen)


def table_curve(rows: pl.DataFrame) -> Curve:
    """The curve that a table of means by layer holds."""
    rows = rows.sort("layer")
    low, high = (rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("low", "high"))
    places = rows["layer"].to_numpy().astype(float)
    return Curve(places, rows["mean"].to_numpy(), low, high, int(rows["n"].min() or 0))


def pooled_curve(rows: pl.DataFrame, column: str = "mean") -> Curve:
    """One curve of several matrices or pairs of spans: their mean, and the mean of their bounds.

    So the band is as wide as if all were wrong together. Nulls and ceilings have no bounds.
    """
    bounds = ("low", "high") if column in ("mean", "iou") else (column, column)
    means = (pl.col(c).mean().alias(name) for c, name in zip((column, *bounds), ("mean", "low", "high"), strict=True))
    return table_curve(rows.group_by("layer").agg(*means, pl.col("n").min()))


def median_norms(norms: pl.DataFrame) -> pl.DataFrame:
    """The median norms with bounds one standard deviation away; on a logarithmic axis no band may reach zero."""
    mean, std = pl.col("mean"), pl.col("std").fill_null(0.0)
    norms = norms.filter(pl.col("statistic") == "median")
    return norms.with_columns(pl.max_horizontal(mean - std, mean / 100).alias("low"), (mean + std).alias("high"))
