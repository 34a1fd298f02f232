"""What all kinds of charts share: their data, with text as it is, their heading, and what hovering says."""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from chiasm.results.charts.theme import Size, wrapped

_DIGITS = 7
"""Significant ones: more than single precision holds, and half of what a double is written with."""


def plain(text: str) -> str:
    """Text without control characters and without marks that turn the direction of what stands beside it."""
    kept = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    return "".join(one for one in kept if unicodedata.bidirectional(one) not in _TURNS).strip()


_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def rows(of: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """One row for each mapping; what one lacks is null, and so is what is no number."""
    return pl.DataFrame([{name: _known(value) for name, value in one.items()} for one in of], infer_schema_length=None)


def _known(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def lean(data: pl.DataFrame) -> pl.DataFrame:
    """The columns that hold anything: what is null for all is nothing to send along."""
    return data.select([name for name in data.columns if data[name].count()])


def room_for(texts: Iterable[str], text: float) -> float:
    """How many pixels the longest of some texts takes, at most, in letters of size `text`."""
    return 0.56 * text * max(map(len, texts), default=0)


def in_order(names: Iterable[str]) -> list[str]:
    """Every name once, as it is drawn, in the order in which they first come."""
    return list(dict.fromkeys(plain(name) for name in names))


def heading(title: str, subtitle: str, size: Size) -> alt.TitleParams:
    """A question, and below it what is drawn."""
    return alt.TitleParams(wrapped(plain(title), size), subtitle=wrapped(plain(subtitle), size))


def value_tips(
    data: pl.DataFrame, name: str, title: str, format: str, low: str = "low", high: str = "high"
) -> list[alt.Tooltip]:
    """What hovering says of the column `name`, with its 95 % interval where there is any. `title`: with its unit."""
    what = title.partition(" (")[0]
    shown = [alt.Tooltip(f"{name}:Q", title=what, format=format)]
    if data[low].count():
        # With its name: a line of the same name would take the place of the former.
        shown.append(alt.Tooltip(f"{low}:Q", title=f"{what}, 95 % from", format=format))
        shown.append(alt.Tooltip(f"{high}:Q", title=f"{what}, to", format=format))
    return shown


def fitting(labels: Sequence[str], size: Size) -> int:
    """How many entries of a legend fit side by side."""
    widest = max(map(len, labels), default=1)
    return max(1, min(len(labels), int(size.width / (0.52 * size.text) // (widest + 7))))
