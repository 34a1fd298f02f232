"""Panels side by side over depth: the lines of a model, and dashed in the same colours those of its controls."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from chiasm.results.panels import Panels
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import Curve, in_order
from chiasm.results.theme import Width
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


class DepthPanels(Panels):
    """One row of panels over depth for the table `rows`, with the same of its `controls` dashed beside them."""

    def __init__(
        self,
        rows: pl.DataFrame,
        controls: pl.DataFrame | None,
        height: float,
        columns: int = 1,
        *,
        width: Width = "page",
        sharey: bool = True,
    ) -> None:
        super().__init__(height, columns, width=width, sharey=sharey)
        self.rows, self.controls = rows, controls

    def line(self, axes: Axes, label: str, *, controlled: bool = True, **chosen: Any) -> None:
        """The rows whose columns are as `chosen`, one for each layer, and those of the controls that have any."""
        beside: list[Curve | None] = []
        for name in control_names(self.controls) if controlled else ():
            assert self.controls is not None
            rows = self.controls.filter(control=name, **chosen)
            beside.append(table_curve(rows) if rows.height else None)
        self.curve(axes, label, table_curve(self.rows.filter(**chosen)), *beside)

    def finished(self, title: str = "") -> Figure:
        """The figure with its legend, the controls among it. `title`: what bands are, where not the usual intervals."""
        title = title or (INTERVAL if has_intervals(self.rows) else NO_INTERVAL)
        return self.legend(f"{title}, {self.counted}", *map(control_label, control_names(self.controls)))


def has_intervals(rows: pl.DataFrame) -> bool:
    """Whether a table gives any interval: of one input there is none."""
    return bool((rows["low"].is_not_null() & rows["low"].is_not_nan()).any())


def control_names(controls: pl.DataFrame | None) -> list[str]:
    """The controls that rows are of, in their order; none without any."""
    return [] if controls is None else in_order(controls, "control")


def control_label(name: str) -> str:
    """What a legend calls a control."""
    return f"control: {CONTROL_LABELS.get(name, name)}"


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


def logarithmic(axes: Axes, steps: Sequence[float] = ()) -> None:
    """A logarithmic scale whose ticks are plain numbers. `steps`: which multiples of powers of ten have one."""
    axes.set_yscale("log")
    if steps:
        axes.yaxis.set_major_locator(LogLocator(subs=np.asarray(steps)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
