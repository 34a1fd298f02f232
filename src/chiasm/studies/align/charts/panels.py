"""Panels side by side over depth: the lines of a model, and dashed in the same colours those of its controls."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    SIZES,
    Size,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
)
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS

STATE = "Hidden state (0 = embeddings)"
INTERVAL = "mean and 95 % jackknife interval"
BASELINE = "random-weights baseline"
CONTROL_LABELS = {
    NOISE_TOKENS: "random perceptual tokens",
    RANDOM_WEIGHTS: BASELINE,
    MODALITY_ISOLATION: "modality isolation",
}


class DepthPanels:
    """One row of panels over depth for `rows`, with `controls` beside them; every label is one colour in all panels."""

    def __init__(
        self,
        rows: pl.DataFrame,
        controls: pl.DataFrame | None,
        width: Width,
        height: float,
        count: int = 1,
        *,
        sharey: bool = True,
    ) -> None:
        self.rows, self.controls, self.size = rows, controls, SIZES[width]
        self.figure = new_figure(width, height)
        self.axes: Sequence[Axes] = self.figure.subplots(1, count, sharey=sharey, squeeze=False)[0]
        self._handles: dict[str, Line2D] = {}
        self._ns: list[int] = []

    def line(self, axes: Axes, chosen: pl.Expr, label: str, *, controlled: bool = True) -> None:
        """The chosen rows, one for each layer, and those of the controls as far as they have any."""
        index = list(self._handles).index(label) if label in self._handles else len(self._handles)
        own = table_curve(self.rows.filter(chosen))
        line = draw(axes, own, index, self.size, label)
        self._handles.setdefault(label, line)
        self._ns.append(own.n)
        for dash, name in enumerate(control_names(self.controls) if controlled else ()):
            assert self.controls is not None
            beside = self.controls.filter(chosen & (pl.col("control") == name))
            if beside.height:
                draw_control(axes, table_curve(beside), COLOURS[index % len(COLOURS)], dash, self.size)

    def dress(self, axes: Axes, *, x: str, y: str, title: str = "", rows: pl.DataFrame | None = None) -> None:
        """Labels, and an axis as long as the deepest layer of `rows` (by default all)."""
        deepest = int((self.rows if rows is None else rows)["layer"].max() or 0)
        layer_axis(axes, deepest, self.size.inches / len(self.axes))
        dress(axes, self.size, x=x, y=y, title=title)

    def legend(self, title: str = INTERVAL) -> None:
        """The legend of all panels, whose title says what lines and bands are."""
        handles = [*self._handles.values(), *control_keys(self.controls, self.size)]
        legend_below(self.figure, handles, self.size, f"{title}, {counted(self._ns)}")


def control_names(controls: pl.DataFrame | None) -> list[str]:
    """The controls that rows are of, in their order; none without any."""
    return [] if controls is None else in_order(controls, "control")


def control_label(name: str) -> str:
    """What a legend calls a control."""
    return f"control: {CONTROL_LABELS.get(name, name)}"


def control_keys(controls: pl.DataFrame | None, size: Size) -> list[Line2D]:
    """The legend's entries of all controls, each with a dash of its own."""
    return [control_key(control_label(name), dash, size) for dash, name in enumerate(control_names(controls))]


def one_control(controls: pl.DataFrame | None, chosen: pl.Expr) -> pl.DataFrame | None:
    """Rows of the random-weights baseline, else of the first control there is; None without any.

    Where there are many lines, those of all controls would hide each other.
    """
    names = control_names(controls)
    if controls is None or not names:
        return None
    name = RANDOM_WEIGHTS if RANDOM_WEIGHTS in names else names[0]
    return controls.filter(chosen & (pl.col("control") == name))


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
