"""One look for all figures: dark text on white, colours that colour-blind readers can distinguish, two paper widths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from chiasm.results.charts.theme import arrow as arrow
from chiasm.results.charts.theme import counted as counted
from chiasm.results.series import Curve

Width = Literal["column", "page"]

INK = "#1a1a1a"
GREY = "#767676"
FAINT = "#d9d9d9"
# Okabe & Ito 2008 without its yellow, which is too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Shape repeats what colour says, for print in grey.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1)), (0, (7, 2)), (0, (1, 3)))
# Diverging, readable for the colour-blind, with white at zero.
DIVERGING = "PuOr"


@dataclass(frozen=True, slots=True)
class Size:
    """Inches and points of a figure in a one-column (3.3 in) or full-page (7 in) slot."""

    inches: float
    text: float
    line: float
    marker: float


SIZES: dict[Width, Size] = {"column": Size(3.3, 7.0, 1.1, 2.6), "page": Size(7.0, 8.0, 1.4, 3.4)}


def new_figure(width: Width, height: float) -> Figure:
    """An empty figure of `width`, `height` inches high, that keeps labels from being cut or covered."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.04)
    return Figure(figsize=(SIZES[width].inches, height), layout=layout, facecolor="white")


def new_panel(height: float, width: Width = "page") -> tuple[Figure, Axes, Size]:
    """A figure of one panel, that panel, and the sizes in it."""
    figure = new_figure(width, height)
    return figure, figure.add_subplot(), SIZES[width]


def colour_bar(
    figure: Figure, drawn: ScalarMappable, axes: Sequence[Axes], label: str, size: Size, **room: Any
) -> None:
    """The scale of the colours of `drawn`, beside `axes`; `room`: as `Figure.colorbar` takes it."""
    bar = figure.colorbar(drawn, ax=list(axes), **room)
    assert bar.solids is not None, "only bars of contour lines have no solids"
    bar.solids.set_alpha(1)
    bar.set_label(label, fontsize=size.text, color=INK)
    bar.ax.tick_params(labelsize=size.text - 0.5, colors=INK, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)


def bar_lengths(mean: ArrayLike, low: ArrayLike, high: ArrayLike) -> Float[np.ndarray, "2 n"]:
    """How far intervals reach to both sides of their means, as `errorbar` takes it; nought where there is none."""
    mean, low, high = (np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in (mean, low, high))
    return np.nan_to_num(np.maximum(np.stack([mean - low, high - mean]), 0.0))


def dress(axes: Axes, size: Size, *, x: str = "", y: str = "", title: str = "") -> None:
    """Labels, ticks and frame in the common look."""
    axes.set_xlabel(x, fontsize=size.text, color=INK)
    axes.set_ylabel(y, fontsize=size.text, color=INK)
    if title:
        axes.set_title(title, fontsize=size.text, color=INK, loc="left")
    axes.tick_params(labelsize=size.text - 0.5, colors=INK, length=2.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)


def layer_axis(axes: Axes, last: int, inches: float) -> None:
    """Layers 0 to `last` on x, as many of them labelled as there is room for in `inches`."""
    step = next(s for s in (1, 2, 4, 5, 8, 10, 20, 50) if (last + 1) / s <= 4.2 * inches or s == 50)
    axes.set_xticks(range(0, last + 1, step))
    axes.set_xlim(-0.02 * (last + 1), 1.02 * last + 0.02)


def zero_line(axes: Axes, noise: float = 0.0) -> None:
    """The line of no effect, and the floor of what arithmetic alone does (half-width `noise`)."""
    axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
    if noise > 0:
        axes.axhspan(-noise, noise, color=FAINT, linewidth=0, zorder=0)


def draw(axes: Axes, curve: Curve, index: int, size: Size, label: str) -> Line2D:
    """A measured curve with its band, in the colour and marker number `index`."""
    colour = COLOURS[index % len(COLOURS)]
    every = max(1, len(curve.places) // 12)
    axes.fill_between(curve.places, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    (line,) = axes.plot(
        curve.places,
        curve.mean,
        color=colour,
        linewidth=size.line,
        marker=MARKERS[index % len(MARKERS)],
        markersize=size.marker,
        markevery=(index % every, every),
        linestyle="-" if index < len(COLOURS) else DASHES[0],
        zorder=4,
        label=label,
    )
    return line


def draw_control(axes: Axes, curve: Curve, colour: str, dash: int, size: Size) -> None:
    """A control: dashed, without markers, a lighter band."""
    axes.fill_between(curve.places, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0, zorder=2)
    style = DASHES[dash % len(DASHES)]
    axes.plot(curve.places, curve.mean, color=colour, linewidth=0.8 * size.line, linestyle=style, zorder=3)


def control_key(label: str, dash: int, size: Size) -> Line2D:
    """The legend entry of controls drawn with that dash, in grey since several cuts may share it."""
    return Line2D([], [], color=GREY, linewidth=0.8 * size.line, linestyle=DASHES[dash % len(DASHES)], label=label)


def point_key(label: str, **look: Any) -> Line2D:
    """The legend entry of points."""
    return Line2D([], [], label=label, **{"linestyle": "", **look})


def marked(k: int | None) -> dict[str, str]:
    """Colour and shape of the k-th of up to fourteen points; open from the eighth on, grey where it has no number."""
    if k is None:
        return {"color": GREY, "marker": "x"}
    colour = COLOURS[k % len(COLOURS)]
    inside = colour if k < len(COLOURS) else "white"
    return {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markerfacecolor": inside}


def legend_below(figure: Figure, handles: Sequence[Artist], size: Size, title: str) -> Legend:
    """One legend under all panels, in as many columns as fit, with what lines and bands are as its title.

    The figure grows by the legend's height, so that the panels keep theirs.
    """
    widest = max((len(str(handle.get_label())) for handle in handles), default=1)
    # A character is about half the font size wide; line sample and gaps take about seven more.
    columns = max(1, min(len(handles), int(size.inches * 72 / (0.52 * size.text) // (widest + 7))))
    lines = 1 + -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + lines * 1.45 * size.text / 72)
    legend = figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        fontsize=size.text - 0.5,
        title=title,
        title_fontsize=size.text - 0.5,
        labelcolor=INK,
        frameon=False,
        handlelength=2.4,
        columnspacing=1.4,
        labelspacing=0.3,
        borderaxespad=0.2,
    )
    legend.get_title().set_color(INK)
    return legend
