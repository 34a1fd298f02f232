"""Which way an effect goes, in the words of the question that it answers: a verdict alone does not say it."""

import re
from typing import Final

from chiasm.core.claims import Claim

_OPPOSITE: Final = (
    ("more", "less"),
    ("more", "fewer"),
    ("better", "worse"),
    ("higher", "lower"),
    ("longer", "shorter"),
    ("faster", "slower"),
    ("narrower", "wider"),
    ("rise", "fall"),
    ("gain", "lose"),
    ("lead", "trail"),
)
_BOTH: Final = {f"{one} or {other}": (one, other) for pair in _OPPOSITE for one, other in (pair, pair[::-1])}
# Two words that have others behind them: `further from or nearer to`.
_BOTH_APART: Final = {"further from or nearer to": ("further", "nearer")}
_WAYS: Final = _BOTH | _BOTH_APART
_NAMED: Final = re.compile(rf"\b({'|'.join(_WAYS)})\b", re.IGNORECASE)


def ways_of(question: str) -> tuple[str, str] | None:
    """The two ways that a question asks about, as `more or less`: first that of effects above 0; None where it has
    none."""
    found = _NAMED.search(question)
    return None if found is None else _WAYS[found.group().lower()]


def verdict_of(claim: Claim, question: str) -> str:
    """`established: less`, where the question asks which way; else the verdict alone."""
    ways = ways_of(question)
    if ways is None or not claim.found or claim.effect == 0:
        return claim.verdict
    return f"{claim.verdict}: {ways[claim.effect < 0]}"
