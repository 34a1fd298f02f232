"""Names at the ends of lines, where there is room for them: nobody has to look up a colour in a legend."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from chiasm.results.charts.theme import Size

_WIDEST = 0.28
"""Of a chart's width, what names may take."""
_MOVED = 1.3
"""Lines of text that a name may stand away from its line's end."""
_LEAST = 400
"""Pixels of a chart in which names at the ends leave enough for the lines."""


class Names(NamedTuple):
    """Where names stand (columns `label`, `x`, `y`), and the pixels that they take beside the panel."""

    rows: pl.DataFrame
    width: float


def beside(
    ends: Mapping[str, tuple[float, float]],
    limits: tuple[float, float],
    width: float,
    height: float,
    size: Size,
    *,
    log: bool = False,
) -> Names | None:
    """Names of lines behind their `ends` (the last place, the value there); None where they would not fit.

    `limits`: of values, over `height` pixels.
    """
    if len(ends) < 2 or size.width < _LEAST or any(math.isnan(y) for _, y in ends.values()):
        return None
    taken = 0.54 * size.text * max(map(len, ends)) + 8
    if taken > _WIDEST * width:
        return None
    to = math.log if log else float
    low, high = map(to, limits)
    pixels = sorted(
        (height * (to(min(max(y, limits[0]), limits[1])) - low) / (high - low), name) for name, (_, y) in ends.items()
    )
    step = 1.15 * size.text
    placed = _apart([at for at, _ in pixels], step, height)
    if any(abs(new - old) > _MOVED * size.text for new, (old, _) in zip(placed, pixels, strict=True)):
        return None
    values = [low + at / height * (high - low) for at in placed]
    back = [math.exp(value) if log else value for value in values]
    last = max(x for x, _ in ends.values())
    rows = [{"label": name, "x": float(last), "y": value} for (_, name), value in zip(pixels, back, strict=True)]
    return Names(pl.DataFrame(rows).with_columns(pl.col("y").round_sig_figs(5)), taken)


def _apart(wanted: list[float], step: float, height: float) -> list[float]:
    """Places (ascending) at least a `step` apart, near those `wanted`: what is too close is spread about its middle."""
    groups: list[list[float]] = []
    for at in wanted:
        groups.append([at])
        while len(groups) > 1 and _start(groups[-1], step, height) < _end(groups[-2], step, height) + step:
            groups[-2:] = [[*groups[-2], *groups[-1]]]
    return [_start(group, step, height) + k * step for group in groups for k in range(len(group))]


def _start(group: list[float], step: float, height: float) -> float:
    middle = sum(group) / len(group) - step * (len(group) - 1) / 2
    return min(max(middle, 0.0), height - step * (len(group) - 1))


def _end(group: list[float], step: float, height: float) -> float:
    return _start(group, step, height) + step * (len(group) - 1)
