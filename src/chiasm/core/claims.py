"""What a run says, as values: every sentence, headline and recommendation is made from these, and from nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chiasm.core.statistics.bands import ALPHA

MIN_INPUTS = 8
"""Fewer different inputs establish nothing: how far single ones can lie off is not seen in them."""

Verdict = Literal["established", "practically none", "not established", "uncontrolled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One estimate with its interval, its control and what follows from them.

    `kind`: which question it answers. `about`: the cut, span, plan or setting; `where`: layers, or "all". `low` and
    `high`: the 95 % interval, simultaneous over all claims of one kind where there is a corrected `p`, so that any of
    them may be picked; None where there is none. `control_effect` is in the same unit as `effect`. `n`: examples;
    `inputs`: different inputs (images, ...) that they ask about.
    """

    kind: str
    about: str
    quantity: str
    unit: str
    effect: float
    n: int
    verdict: Verdict
    where: str = "all"
    low: float | None = None
    high: float | None = None
    p: float | None = None
    control: str | None = None
    control_effect: float | None = None
    inputs: int | None = None

    @property
    def established(self) -> bool:
        return self.verdict == "established"

    @property
    def found(self) -> bool:
        """Whether the effect itself is there, whatever its control shows."""
        return self.verdict in ("established", "uncontrolled")


def judged(
    effect: float,
    low: float | None,
    high: float | None,
    *,
    smallest: float,
    inputs: int | None,
    p: float | None = None,
    controlled: bool | None = True,
) -> Verdict:
    """What an estimate of a difference from 0 allows to say.

    `smallest`: the smallest effect worth naming, in the unit of `effect`. An interval inside it says that there is
    practically nothing; an effect at least so large whose interval leaves out 0 is there. `p`: corrected; above 0.05
    nothing is established. `controlled`: whether the effect goes beyond its control (None: there is no control).
    `inputs`: different inputs behind it; fewer than `MIN_INPUTS` establish nothing. None where it rests on something
    else (models, repeats of a timing, shuffles).
    """
    few = inputs is not None and inputs < MIN_INPUTS
    if few or low is None or high is None or math.isnan(low) or math.isnan(high):
        return "not established"
    if -smallest < low and high < smallest:
        return "practically none"
    there = (low > 0 or high < 0) and abs(effect) >= smallest and (p is None or p <= ALPHA)
    if not there:
        return "not established"
    if controlled is None:
        return "uncontrolled"
    return "established" if controlled else "not established"


def known(bound: float) -> float | None:
    """A bound, or None for NaN."""
    return None if math.isnan(bound) else float(bound)


def of_kind(claims: Sequence[Claim], kind: str, about: str | None = None) -> list[Claim]:
    """The claims of one kind (about one thing), in their order."""
    return [claim for claim in claims if claim.kind == kind and about in (None, claim.about)]


def strongest(claims: Sequence[Claim]) -> Claim | None:
    """The largest established effect; else the largest uncontrolled one; else the largest; None of none."""
    rank = {"established": 2, "uncontrolled": 1}
    return max(claims, key=lambda one: (rank.get(one.verdict, 0), abs(one.effect)), default=None)
