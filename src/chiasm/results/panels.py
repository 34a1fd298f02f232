"""Panels of curves in one figure: a label has one colour in all of them, and stands once in the legend below."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chiasm.results.series import Curve
from chiasm.results.theme import (
    COLOURS,
    SIZES,
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


class Panels:
    """`rows` by `columns` panels, `height` inches high in all. `subplots`: as `Figure.subplots` takes it.

    `handles`: the legend's entries by label; `ns`: how many examples each curve rests on.
    """

    def __init__(
        self, height: float, columns: int = 1, rows: int = 1, *, width: Width = "page", **subplots: Any
    ) -> None:
        self.size = SIZES[width]
        self.figure = new_figure(width, height)
        self.grid = self.figure.subplots(rows, columns, squeeze=False, **subplots)
        self.axes: list[Axes] = list(self.grid.flat)
        self.handles: dict[str, Artist] = {}
        self.ns: list[int] = []

    def curve(self, axes: Axes, label: str, own: Curve, *beside: Curve | None, index: int | None = None) -> None:
        """A curve in the colour of its label, or in that number `index`, and dashed in the same colour its controls."""
        if index is None:
            index = list(self.handles).index(label) if label in self.handles else len(self.handles)
        line = draw(axes, own, index, self.size, label)
        self.handles.setdefault(label, line)
        self.ns.append(own.n)
        for dash, control in enumerate(beside):
            if control is not None:
                draw_control(axes, control, COLOURS[index % len(COLOURS)], dash, self.size)

    def dress(
        self, axes: Axes, *, x: str = "", y: str = "", title: str = "", layers: pl.DataFrame | None = None
    ) -> None:
        """Labels in the common look. `layers`: the table whose layers are on x."""
        if layers is not None:
            layer_axis(axes, int(layers["layer"].max() or 0), self.size.inches / self.grid.shape[1])
        dress(axes, self.size, x=x, y=y, title=title)

    @property
    def counted(self) -> str:
        """How many examples the curves rest on, as `n = 50`."""
        return counted(self.ns)

    def legend(self, title: str, *controls: str) -> Figure:
        """The figure with its legend: what was drawn, then `controls`, each with a dash of its own.

        `title` says what lines and bands are.
        """
        keys = [control_key(label, dash, self.size) for dash, label in enumerate(controls)]
        handles = [*self.handles.values(), *keys]
        legend_below(self.figure, handles, self.size, title)
        return self.figure


def label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """A label for each row of a panel, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
