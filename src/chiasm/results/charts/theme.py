"""One look for all charts: colours that colour-blind readers can distinguish, one per thing, and the sizes of slots."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chiasm.core.errors import ChiasmError

# Over images and colours, whatever a page's ground is.
INK: Final = "#1a1a1a"
# In a page it becomes the page's ink, so that it is seen in the dark.
BLACK: Final = "#000000"
GREY: Final = "#767676"
FAINT: Final = "#e4e4e4"
# Okabe & Ito 2008 without its yellow, which is too light for lines on white.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)
SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
DASHES: Final = ([5, 3], [1.5, 2], [6, 2, 1.5, 2], [9, 3], [3, 1.5], [1.5, 4])
FONT: Final = "Helvetica, Arial, sans-serif"

# The published span pairs, by what is cut; other kinds of input take the place of the image.
_OF_CUTS: Final = {
    "question->last": 0,
    "image->last": 1,
    "image->question": 2,
    "image.object->question": 3,
    "image.other->question": 4,
    "last->last": 6,
    # Of whole answers.
    "question->last+answer": 0,
    "image->last+answer": 1,
    "image->question+suffix+last+answer": 2,
    "answer->answer": 6,
}
_KINDS = re.compile(r"\b(video|audio)\b")
# What a chart says of its controls, by dash: no two that stand in one chart share one.
_OF_CONTROLS: Final = {
    "random-weights baseline": 0,
    "as many random keys": 1,
    "random perceptual tokens": 1,
    "random order": 1,
    "the same cut on a blank image": 2,
    "modality isolation": 2,
    "another example's image, nothing cut": 3,
    "another example's video, nothing cut": 3,
    "another example's sound, nothing cut": 3,
    "shuffled norms": 3,
    "magnitude alone": 4,
    "nothing cut, its keys averaged": 5,
    "random masks": 5,
    "all pairs of examples, as released": 3,
    "share of the tokens": 5,
}


def cut_style(cut: str) -> int:
    """The number of colour and shape that a cut has in every chart of every run."""
    known = _OF_CUTS.get(_KINDS.sub("image", cut))
    return zlib.crc32(cut.encode()) % len(PALETTE) if known is None else known


# The parts of a sequence, by what they are called; the colour of the image is that of the cuts from it to the answer.
_OF_SPANS: Final = {
    "question": 0,
    "image": 1,
    "between": 2,
    "video": 2,
    "prefix": 3,
    "audio": 3,
    "suffix": 4,
    "image.object": 5,
    "last": 6,
    "answer": 6,
}


def span_style(span: str) -> int:
    """The number of colour and shape that a part of the sequence has in every chart of every run."""
    known = _OF_SPANS.get(span)
    return zlib.crc32(span.encode()) % len(PALETTE) if known is None else known


def dash_of(control: str) -> Sequence[float]:
    """The dash that a control has in every chart of every run, by what it is called there."""
    known = _OF_CONTROLS.get(control)
    return DASHES[zlib.crc32(control.encode()) % len(DASHES) if known is None else known]


@dataclass(frozen=True, slots=True)
class Size:
    """Widths in pixels of the drawing, of which 72 are an inch on paper; sizes of text and lines."""

    width: float
    text: float
    line: float
    point: float


SCREEN: Final = Size(640, 12, 2.0, 45)
_INCHES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(in|cm|mm|pt)\s*")
_PER_INCH: Final = {"in": 1.0, "cm": 2.54, "mm": 25.4, "pt": 72.0}


def size_of(width: str | None) -> Size:
    """The size for a width on paper, as `3.3in`, `8.4cm` or `240pt`; None is the screen's.

    **Errors:** `ChiasmError` for anything else.
    """
    if width is None:
        return SCREEN
    found = _INCHES.fullmatch(str(width))
    inches = float(found[1]) / _PER_INCH[found[2]] if found else 0.0
    if not 1 <= inches <= 30:
        raise ChiasmError(f"a chart {width} wide", "it is no width on paper from 1 to 30 inches", "Write 3.3in or 17cm")
    # Text on paper is 7 to 8 points whatever the width, as journals ask.
    return Size(72 * inches, 7 if inches < 5 else 8, 1.1 if inches < 5 else 1.4, 12 if inches < 5 else 18)


def config(size: Size) -> dict[str, Any]:
    """Vega-Lite's `config` in this look."""
    text = size.text
    return {
        "font": FONT,
        "background": "transparent" if size is SCREEN else "white",
        "view": {"stroke": None},
        "axis": {
            "labelFontSize": text - 0.5,
            "titleFontSize": text,
            "titleFontWeight": "normal",
            "domainWidth": 0.7,
            "tickWidth": 0.7,
            "tickSize": 3,
            "grid": False,
            "titlePadding": 5,
            "labelFlush": False,
        },
        "axisY": {"grid": True, "gridOpacity": 0.35, "gridWidth": 0.5},
        "legend": {
            "labelFontSize": text - 0.5,
            "titleFontSize": text - 0.5,
            "titleFontWeight": "normal",
            "symbolSize": 4 * size.point,
            "symbolOpacity": 1,
            "symbolStrokeWidth": size.line,
            "labelLimit": 400,
            "titleLimit": size.width,
            "orient": "bottom",
            "direction": "horizontal",
            "columnPadding": 14,
            "rowPadding": 3,
            "offset": 10,
        },
        "title": {
            "anchor": "start",
            "fontSize": text + 1,
            "fontWeight": "bold",
            "subtitleFontSize": text - 0.5,
            "subtitlePadding": 4,
            "offset": 8,
        },
        "header": {"labelFontSize": text, "titleFontSize": text, "labelFontWeight": "bold", "labelAnchor": "start"},
        "line": {"strokeWidth": size.line, "strokeCap": "butt"},
        "point": {"size": size.point, "filled": True},
    }


# Numbers keep together with what they are of.
_APART = re.compile(r"(?<![=±]) +(?![=%])")


def wrapped(text: str, size: Size, larger: float = 1.0) -> list[str]:
    """The text in lines that fit a chart's width; `larger`: than the size of its text, as titles are."""
    room, lines = size.width / (0.52 * larger * size.text), [""]
    for word in _APART.split(text.strip()):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def arrow(cut: str) -> str:
    """A cut as it is printed."""
    return cut.replace("->", " → ")


def counted(ns: Sequence[int]) -> str:
    """`n = 50`, or the range where curves rest on different examples."""
    if not ns:
        return "n = 0"
    return f"n = {min(ns)}" if len(set(ns)) == 1 else f"n = {min(ns)} to {max(ns)}"
