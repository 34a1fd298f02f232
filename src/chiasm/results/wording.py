"""One way to write an estimate, in sentences, captions and tables on screen: value, interval, n, unit."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chiasm.core.answer_metrics import AnswerMetric
from chiasm.core.claims import Claim
from chiasm.core.statistics.bands import RESAMPLES
from chiasm.core.statistics.intervals import Estimate, runs_of_true

_LEAST = 2 / (1 + RESAMPLES)  # the smallest two-sided p-value of `mean_bands`
_TINY = 0.0001


def number(
    value: float,
    *,
    unit: str = "",
    digits: int = 1,
    significant: int | None = None,
    signed: bool = False,
    scale: float = 1.0,
) -> str:
    """`52.1 %`. `digits` behind the point, or so many `significant` ones where sizes differ by orders of magnitude.

    `scale` multiplies (100 for a share in %); `signed` writes a plus sign.
    """
    sign = "+" if signed else ""
    if significant is not None:
        written = f"{scale * value:{sign}.{significant}g}"
    else:
        written = f"{round(scale * value, digits) + 0.0:{sign}.{digits}f}"  # no minus before nought
    return f"{written} {unit}" if unit else written


def bounds(low: float | None, high: float | None, *, unit: str = "", missing: str = "none", **options: Any) -> str:
    """`44.0 to 60.2 %`, where a heading or the word before says what it is; `missing` where a bound is None or NaN."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return missing
    return f"{number(low, **options)} to {number(high, unit=unit, **options)}"


def estimate(
    value: float,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    *,
    unit: str = "",
    brackets: bool = True,
    missing: str = "no interval",
    **options: Any,
) -> str:
    """`52.1 % (95 % interval 44.0 to 60.2, n = 146)`; without `brackets`, behind commas.

    `missing` stands where a bound is None or NaN; `options` as in `number`.
    """
    interval = bounds(low, high, missing="", **options)
    parts = [f"95 % interval {interval}" if interval else missing, "" if n is None else f"n = {n}"]
    shown, behind = number(value, unit=unit, **options), ", ".join(part for part in parts if part)
    if not behind:
        return shown
    return f"{shown} ({behind})" if brackets else f"{shown}, {behind}"


def compact(
    value: float, low: float | None, high: float | None, *, digits: int = 2, bound_digits: int | None = None
) -> str:
    """`0.655 (0.606 to 0.694)`, for cells and titles beside which it is said that brackets hold 95 % intervals."""
    interval = bounds(low, high, missing="", digits=digits if bound_digits is None else bound_digits)
    return f"{number(value, digits=digits)}{f' ({interval})' if interval else ''}"


def worded(of: Estimate, n: int | None = None, **options: Any) -> str:
    """An estimate of one column with its interval; `options` as in `estimate`."""
    return estimate(float(of.mean), float(of.low), float(of.high), n, **options)


def share(of: Estimate, n: int | None = None, **options: Any) -> str:
    """A share of 1 in %, with its interval; `options` as in `estimate`."""
    return worded(of, n, unit="%", scale=100.0, **options)


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 in %, alone: one that is known exactly, or that stands beside an interval."""
    return number(share, unit="%", scale=100.0, digits=digits)


def quartiles(share: float, low: float, high: float) -> str:
    """The median of a share of 1 in %, with its quartiles."""
    return f"{percent(share)} (quartiles {bounds(low, high, digits=0, scale=100.0)})"


def metric_format(metric: AnswerMetric) -> dict[str, Any]:
    """How values of a measure of answers are written: the options of `number`, `bounds` and `estimate`."""
    return {"unit": "%", "scale": 100.0} if metric.percent else {"digits": 2}


def probability(p: float) -> str:
    """`p = 0.031`; `p ≤ 0.001` for the least that resampling can give, `p < 0.0001` for what no table tells apart."""
    if p < _TINY:
        return f"p < {_TINY:g}"
    return f"p {'≤' if math.isclose(p, _LEAST) else '='} {p:.2g}"


def claimed(claim: Claim, **options: Any) -> str:
    """`-1.32 nat (95 % interval -1.67 to -0.98, p ≤ 0.001, n = 175 on 150 inputs)`; `options` as in `number`."""
    given = {"unit": "" if claim.unit == "1" else claim.unit, "signed": True, "significant": 3} | options
    interval = bounds(claim.low, claim.high, missing="", **{k: v for k, v in given.items() if k != "unit"})
    on = "" if claim.inputs in (None, claim.n) else f" on {claim.inputs} input{'' if claim.inputs == 1 else 's'}"
    parts = [
        f"95 % interval {interval}" if interval else "no interval: too few inputs",
        *([] if claim.p is None else [probability(claim.p)]),
        f"n = {claim.n}{on}",
    ]
    return f"{number(claim.effect, **given)} ({', '.join(parts)})"


def alone(claim: Claim, **options: Any) -> str:
    """An estimate that stands beside another: without p and n, which are those of the other."""
    how = {"significant": 3, "signed": True} | options
    interval = bounds(claim.low, claim.high, missing="no interval", **how)
    return f"{number(claim.effect, unit=claim.unit, **how)} ({interval})"


def named(claims: Sequence[Claim]) -> str:
    """What claims are about, as a list of names."""
    return ", ".join(f"`{one.about}`" for one in claims)


def places(claims: Sequence[Claim], inside: Sequence[bool], name: str = "layer") -> str:
    """Where something holds, in the order of depth: `layers 0 to 2 and 5`, `layer 1`; empty for nowhere."""
    parts = []
    for start, stop in runs_of_true(np.array(inside, dtype=bool)):
        first, last = claims[start].where, claims[stop - 1].where
        parts.append(first if first == last else f"{first} to {last}")
    if not parts:
        return ""
    plural = "s" if sum(inside) > 1 else ""
    return f"{name}{plural} {listed(parts)}"


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def lowered(text: str) -> str:
    """A text as it goes on within a sentence."""
    return f"{text[:1].lower()}{text[1:]}"


def sentence(*parts: str) -> str:
    """Parts that are there as one sentence, behind semicolons."""
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
