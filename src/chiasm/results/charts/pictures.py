"""Images with boxes, and over them what each patch does: colours, or the word that it is nearest to."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Final

import altair as alt
import numpy as np
import polars as pl
from jaxtyping import UInt8
from PIL import Image

from chiasm.core.example import Box
from chiasm.results.charts.data import heading, plain
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.theme import GREY, INK, PALETTE, Size, config, wrapped

_BOX: Final = PALETTE[1]
# One hue, so that it is read without colours too; white where there is nothing, so that the image shows.
_SHADES: Final = ("#ffffff", "#92c5de", "#0072B2", "#08306b")
_UNDER = 0.45  # how strongly the image shows through the colours
_SIDE = 320
"""Pixels of an image in a chart, at most: as many as a panel shows."""
_NARROWEST, _WIDEST = 68, 160
"""Pixels of a panel: narrower ones stand below each other, and a page would be long with wider ones."""
_BESIDE = 110
"""Pixels that the scale of colours takes beside panels; where it has fewer it stands below them."""
_MOST = 4
_DIGITS = 3
_CORNERS = ("x0", "y0", "x1", "y1")
# What is computed has names of its own: it is computed again from the same rows whenever a reader chooses.
_MIDDLE: Final = {"across": "(datum.x0 + datum.x1) / 2", "down": "(datum.y0 + datum.y1) / 2"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One image. `patches`: corners `x0`, `y0`, `x1`, `y1` in its pixels, `shown` (a list with one number or word for
    every combination of choices) and further columns that hovering says; None is the image alone, with its `boxes`.

    `strong`: of words, the column with a list of those that are set bold. `crossed`: a column of patches to be marked.
    """

    title: str
    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: Sequence[Box] = ()
    patches: pl.DataFrame | None = None
    strong: str = ""
    crossed: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side; `title`: what was asked, `subtitle`: what was answered."""

    panels: Sequence[Panel]
    title: str = ""
    subtitle: str = ""


@dataclass(frozen=True, slots=True)
class Tint:
    """What colours say. `title`: the value, with its unit; `diverging`: on both sides of 0, else from 0 on by the
    square root; `least`: what the scale reaches at least; `own`: every row has a scale of its own."""

    title: str
    diverging: bool = True
    least: float = 1e-9
    own: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reader chooses in a page: `options` of `name` (of a parameter); `start`: the number of the first shown."""

    name: str
    title: str
    options: Sequence[int | str]
    start: int = 0

    def parameter(self) -> alt.Parameter:
        """A slider where options count up by one, else a list."""
        first, value = self.options[0], self.options[self.start]
        counted = isinstance(first, int) and list(self.options) == list(range(first, first + len(self.options)))
        bind: Any = alt.binding_select(options=list(self.options), name=f"{self.title} ")
        if counted and len(self.options) > 1:
            bind = alt.binding_range(min=first, max=self.options[-1], step=1, name=f"{self.title} ")
        return alt.param(name=self.name, value=value, bind=bind)

    def expression(self) -> str:
        """Which option is chosen, as a number."""
        return f"indexof({list(self.options)!r}, {self.name})"


@dataclass(frozen=True, slots=True)
class Shown:
    """What picks the value of a patch among those of its list: the choices of a chart."""

    choices: Sequence[Choice] = field(default_factory=tuple)

    def named(self, title: str) -> str:
        """What a panel is called, with what is chosen: in print as well, where nothing can be."""
        chosen = [f"', {choice.title.lower()} ' + {choice.name}" for choice in self.choices]
        return " + ".join([json.dumps(title), *chosen])

    def index(self) -> str:
        """The place in the list, the last choice changing fastest."""
        found = "0"
        for choice in self.choices:
            found = f"({found} * {len(choice.options)} + {choice.expression()})"
        return found


def picture_chart(
    rows: Sequence[Row],
    size: Size,
    *,
    title: str,
    subtitle: str,
    tint: Tint | None = None,
    choices: Sequence[Choice] = (),
    wide: bool = False,
    together: int = 1,
) -> Chart:
    """Rows of images, each with what its patches do; hovering gives exact values.

    `title` asks the question; `subtitle` says what is drawn. `tint`: of colours; without it patches have words.
    `choices`: by which the list of each patch is chosen from, the last one changing fastest.
    `wide`: panels fill the width, as words need. `together`: so many panels stand on one line, if they can.
    """
    shown = Shown(choices)
    least = (1.6 if wide else 1.0) * _NARROWEST
    across = max(1, min(_MOST, max(len(row.panels) for row in rows), int(size.width // least)))
    across -= across % together if together < across else 0
    width = min((size.width - 10 * (across - 1)) / across - 2, 2 * _WIDEST if wide else _WIDEST)
    beside = size.width - across * (width + 10) >= _BESIDE
    every = None if tint is None else _reach(rows, tint)
    drawn = []
    for row in rows:
        reach = _reach([row], tint) if tint is not None and tint.own else every
        colour = None if tint is None or reach is None else _colour(tint, reach, beside, size)
        panels = [_panel(panel, shown, colour, width, size) for panel in row.panels]
        lines = [alt.hconcat(*panels[k : k + across], spacing=10) for k in range(0, len(panels), across)]
        one: Any = alt.vconcat(*lines, spacing=6).resolve_scale(color="shared")
        if row.title or row.subtitle:
            asked = {"fontSize": size.text, "subtitleFontSize": size.text - 0.5, "offset": 4, "anchor": "start"}
            texts = (wrapped(plain(part), size) for part in (row.title, row.subtitle))
            one = one.properties(title=alt.TitleParams(next(texts), subtitle=next(texts), **asked))
        drawn.append(one)
    chart: Any = alt.vconcat(*drawn, spacing=14)
    if tint is not None and tint.own:
        chart = chart.resolve_scale(color="independent")
    chart = chart.add_params(*(choice.parameter() for choice in choices)) if choices else chart
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def unseen(rows: pl.DataFrame, width: float, height: float) -> list[tuple[float, float, float, float]]:
    """The strips (x, y, w, h) of an image that no patch looks at, where the model's processor crops it."""
    x0, y0 = max(0.0, float(rows["x0"].min() or 0)), max(0.0, float(rows["y0"].min() or 0))
    x1, y1 = min(width, float(rows["x1"].max() or 0)), min(height, float(rows["y1"].max() or 0))
    strips = [(0, 0, x0, height), (x1, 0, width - x1, height), (x0, 0, x1 - x0, y0), (x0, y1, x1 - x0, height - y1)]
    return [s for s in strips if s[2] > 0.01 * width and s[3] > 0.01 * height]


def data_url(pixels: UInt8[np.ndarray, "h w *c"]) -> str:
    """An image inside a page, at most 320 pixels a side: as PNG, or as JPEG where that is smaller."""
    image = Image.fromarray(pixels)
    scale = min(1.0, _SIDE / max(image.size))
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    made = {}
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 85})):
        file = BytesIO()
        image.save(file, kind.upper(), **options)
        made[kind] = file.getvalue()
    kind = min(made, key=lambda name: len(made[name]))
    return f"data:image/{kind};base64,{base64.b64encode(made[kind]).decode()}"


def faded(pixels: UInt8[np.ndarray, "h w 3"], strength: float = _UNDER) -> UInt8[np.ndarray, "h w"]:
    """The image in grey, as far as `strength`, for colours or words to stand over it."""
    return np.round(255 - strength * (255 - pixels.mean(axis=2))).astype(np.uint8)


def _reach(rows: Sequence[Row], tint: Tint) -> float:
    """How far the scale goes: as far as the values of all panels."""
    # On a scale of its own a map without effects would show noise in full colours.
    largest = tint.least
    for panel in (panel for row in rows for panel in row.panels if panel.patches is not None):
        assert panel.patches is not None
        found = panel.patches["shown"].explode().abs().max() if panel.patches.height else None
        largest = max(largest, float(found or 0.0))  # pyright: ignore[reportArgumentType]
    return float(f"{largest:.{_DIGITS}g}")


def _colour(tint: Tint, reach: float, beside: bool, size: Size) -> alt.Color:
    """The colours of patches and their legend; `beside`: it stands there, and not below."""
    if tint.diverging:
        scale = alt.Scale(scheme="purpleorange", domain=[-reach, reach])
    else:
        scale = alt.Scale(range=list(_SHADES), interpolate="rgb", type="sqrt", domain=[0, reach])
    ends = [-reach, 0, reach] if tint.diverging else [0, reach]
    look: dict[str, Any] = {"gradientLength": 90, "gradientThickness": 8, "values": ends, "format": ".2~g"}
    if beside:
        look |= {"orient": "right", "direction": "vertical"}
    title = wrapped(tint.title, replace(size, width=_BESIDE)) if beside else tint.title
    return alt.Color("chosen:Q", title=title, scale=scale).legend(**look)


def _panel(panel: Panel, shown: Shown, colour: alt.Color | None, width: float, size: Size) -> Any:
    height, breadth = panel.pixels.shape[:2]
    high = width * height / breadth
    x, y = _place("x0", "y0", breadth, height)
    words = panel.patches is not None and colour is None
    under = panel.pixels if panel.patches is None else faded(panel.pixels, 0.35 if words else _UNDER)
    # Squares stay squares where an image is smaller than its panel.
    smooth = breadth > width
    image = alt.Chart(pl.DataFrame({"url": [data_url(under)]})).mark_image(
        width=width, height=high, aspect=False, align="left", baseline="top", smooth=smooth
    )
    layers: list[Any] = [image.encode(x=alt.value(0), y=alt.value(0), url="url:N")]
    boxes = _outlines(panel.boxes, 0.02 * max(breadth, height), x, y)
    if panel.patches is None:
        layers += boxes
    else:
        base = alt.Chart(_lean(panel.patches)).transform_calculate(chosen=f"datum.shown[{shown.index()}]")
        # Boxes around colours can be seen, and words on boxes can be read.
        if colour is None:
            layers += [*boxes, *_words(base, panel, width, size, shown)]
        else:
            layers += [*_colours(base, panel, colour, x, y), *boxes]
        layers += _strips(panel.patches, breadth, height, x, y)
    named: Any = plain(panel.title)
    if panel.patches is not None and shown.choices:
        named = alt.ExprRef(shown.named(named))
    title = alt.TitleParams(named, fontSize=size.text - 0.5, fontWeight="normal", offset=3, anchor="start")
    return alt.layer(*layers).properties(width=round(width, 1), height=round(high, 1), title=title)


def _place(across: str, down: str, breadth: float, height: float) -> tuple[alt.X, alt.Y]:
    """Places in pixels of an image, as two columns hold them."""
    x = alt.X(f"{across}:Q", axis=None).scale(domain=[0, breadth], nice=False)
    return x, alt.Y(f"{down}:Q", axis=None).scale(domain=[0, height], nice=False, reverse=True)


def _lean(patches: pl.DataFrame) -> pl.DataFrame:
    """What is drawn, with no more digits than are seen."""
    numbers = patches["shown"].dtype == pl.List(pl.Float64)
    # What is plain in a table must be plain in a page: words are a user's and a model's.
    seen = pl.element().round_sig_figs(_DIGITS) if numbers else pl.element().map_elements(plain, return_dtype=pl.String)
    shown = pl.col("shown").list.eval(seen)
    others = [name for name in patches.columns if name not in _CORNERS and patches[name].dtype.is_float()]
    return patches.with_columns(pl.col(*_CORNERS).round(1), shown, pl.col(others).round_sig_figs(_DIGITS))


def _colours(base: alt.Chart, panel: Panel, colour: alt.Color, x: alt.X, y: alt.Y) -> list[Any]:
    assert panel.patches is not None
    said = [name for name in panel.patches.columns if name not in (*_CORNERS, "shown", panel.crossed)]
    tips = [alt.Tooltip("chosen:Q", title="value", format=".3~g"), *(alt.Tooltip(name, title=name) for name in said)]
    place = {"x": x, "y": y, "x2": "x1:Q", "y2": "y1:Q"}
    layers: list[Any] = [base.mark_rect(opacity=0.75, clip=True).encode(**place, color=colour, tooltip=tips)]
    if panel.crossed and panel.patches[panel.crossed].any():
        middle = base.transform_filter(f"datum.{panel.crossed}").transform_calculate(**_MIDDLE)
        across, down = _place("across", "down", *panel.pixels.shape[1::-1])
        layers.append(middle.mark_point(shape="cross", angle=45, color=_BOX, size=30).encode(x=across, y=down))
    return layers


def _words(base: alt.Chart, panel: Panel, width: float, size: Size, shown: Shown) -> list[Any]:
    """Every word in the middle of its patch, cut to what fits; hovering says it whole."""
    assert panel.patches is not None
    across, down = _place("across", "down", *panel.pixels.shape[1::-1])
    sides = (panel.patches["x1"] - panel.patches["x0"]).to_numpy()
    wide = width / panel.pixels.shape[1] * float(np.median(sides))
    # A bold letter is about 0.6 of the font's size wide.
    text = float(np.clip(wide / (0.6 * 6), 3.0, size.text - 1.5))
    letters = max(2, int(wide / (0.6 * text)))
    short = f"length(datum.chosen) > {letters} ? slice(datum.chosen, 0, {letters - 1}) + '…' : datum.chosen"
    middle = base.transform_calculate(
        bold=f"datum.{panel.strong}[{shown.index()}]",
        short=short,
        **_MIDDLE,
    )
    tips = [alt.Tooltip("chosen:N", title="nearest word"), alt.Tooltip("bold:N", title="in a caption")]
    layers: list[Any] = []
    for strong in (False, True):
        part = middle.transform_filter("datum.bold" if strong else "!datum.bold")
        weight = "bold" if strong else "normal"
        looks: dict[str, Any] = {"fontSize": text, "fontWeight": weight, "baseline": "middle", "clip": True}
        for halo in (True, False):
            own = {"stroke": "white", "strokeWidth": 1.6} if halo else {}
            mark = part.mark_text(color=INK, **looks, **own)
            layers.append(mark.encode(x=across, y=down, text="short:N", tooltip=tips))
    return layers


def _strips(patches: pl.DataFrame, breadth: float, height: float, x: alt.X, y: alt.Y) -> list[Any]:
    """Grey over what was cropped away."""
    found = unseen(patches, breadth, height)
    if not found:
        return []
    rows = [{"x0": left, "y0": top, "x1": left + w, "y1": top + h} for left, top, w, h in found]
    made = alt.Chart(pl.DataFrame(rows)).mark_rect(color=GREY, opacity=0.6, clip=True)
    said = alt.value("cropped away by the processor: the model never saw it")
    return [made.encode(x=x, y=y, x2="x1:Q", y2="y1:Q", tooltip=said)]


def _outlines(boxes: Sequence[Box], clear: float, x: alt.X, y: alt.Y) -> Iterator[Any]:
    """Boxes around what was asked about, clear of what they surround, which may be a few pixels wide."""
    if not boxes:
        return
    rows = [
        {"x0": box.x - clear, "y0": box.y - clear, "x1": box.x + box.w + clear, "y1": box.y + box.h + clear}
        | {"object": plain(box.name), "at": f"{box.x:.0f}, {box.y:.0f}; {box.w:.0f} x {box.h:.0f} px"}
        for box in boxes
    ]
    base = alt.Chart(pl.DataFrame(rows))
    for colour, thick in (("white", 2.6), (_BOX, 1.2)):
        mark = base.mark_rect(fillOpacity=0, stroke=colour, strokeWidth=thick, clip=True)
        yield mark.encode(x=x, y=y, x2="x1:Q", y2="y1:Q", tooltip=["object:N", alt.Tooltip("at:N", title="at")])
