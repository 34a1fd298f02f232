"""One way to say an estimate, in sentences, captions and tables on screen: value, interval, n, unit."""

import math
from typing import Any

from chiasm.core.statistics.intervals import Estimate


def estimate(
    value: float,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    *,
    unit: str = "",
    digits: int = 1,
    significant: int | None = None,
    signed: bool = False,
    scale: float = 1.0,
    brackets: bool = True,
    missing: str = "no interval",
) -> str:
    """`52.1 % (95 % interval 44.0 to 60.2, n = 146)`; without `brackets`, behind commas.

    `digits` behind the point, or so many `significant` ones where sizes differ by orders of magnitude. `scale`
    multiplies all three (100 for a share in %); `signed` writes plus signs; `missing` stands where a bound is None or
    NaN.
    """

    def written(number: float) -> str:
        if significant is not None:
            return f"{scale * number:{sign}.{significant}g}"
        return f"{round(scale * number, digits) + 0.0:{sign}.{digits}f}"  # no minus before nought

    sign = "+" if signed else ""
    known = low is not None and high is not None and not (math.isnan(low) or math.isnan(high))
    bounds = f"95 % interval {written(low or 0)} to {written(high or 0)}"
    parts = [bounds if known else missing, *([] if n is None else [f"n = {n}"])]
    shown = f"{written(value)}{f' {unit}' if unit else ''}"
    behind = ", ".join(part for part in parts if part)
    if not behind:
        return shown
    return f"{shown} ({behind})" if brackets else f"{shown}, {behind}"


def worded(of: Estimate, n: int | None = None, **options: Any) -> str:
    """An estimate of one column with its interval; `options` as in `estimate`."""
    return estimate(float(of.mean), float(of.low), float(of.high), n, **options)


def share(of: Estimate, n: int | None = None, *, missing: str = "no interval") -> str:
    """A share of 1 in %, with its interval."""
    return worded(of, n, unit="%", scale=100.0, missing=missing)
