"""The numbers of a run as tables, one for each question that it asks: made from its claims alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.wording import bounds, number, probability

FOLDED_AFTER: Final = 8
"""Rows in view; the rest stands behind them. The whole table is `tables/claims.parquet`."""
_BEHIND: Final = 200
_RANK: Final = {"established": 3, "practically none": 2, "uncontrolled": 1, "not established": 0}
_CONTROLS: Final = {
    RANDOM_WEIGHTS: "random weights",
    "apart": "modality isolation",
    "noise": "random tokens",
    "blank": "blank image",
    "size-matched": "as many random keys",
}
HEADS: Final = ("About", "Where", "Effect", "95 % interval", "n", "Control", "p", "Verdict")
"""The heads of the `cells` of a row."""


@dataclass(frozen=True, slots=True)
class NumberTable:
    """What a run says about one question. `claims`: the strongest first."""

    question: str
    claims: tuple[Claim, ...]

    @property
    def established(self) -> int:
        """How many of its rows are established."""
        return sum(one.established for one in self.claims)

    @property
    def first(self) -> list[tuple[str, ...]]:
        """The cells of the rows in view."""
        return [cells(one) for one in self.claims[:FOLDED_AFTER]]

    @property
    def rest(self) -> list[tuple[str, ...]]:
        """The cells of the rows behind them."""
        return [cells(one) for one in self.claims[FOLDED_AFTER:_BEHIND]]

    @property
    def left_out(self) -> int:
        """How many rows are in neither."""
        return max(0, len(self.claims) - _BEHIND)

    @property
    def quantities(self) -> list[str]:
        """What its rows estimate."""
        return list(dict.fromkeys(one.quantity for one in self.claims))

    @property
    def frame(self) -> pl.DataFrame:
        """All its rows, numbers as numbers."""
        columns = ("about", "where", "effect", "unit", "low", "high", "n", "inputs")
        columns += ("control", "control_effect", "p", "verdict", "quantity")
        return pl.DataFrame(
            [{name: getattr(one, name) for name in columns} for one in self.claims], infer_schema_length=None
        )


def number_tables(claims: Iterable[Claim], questions: Mapping[str, str]) -> list[NumberTable]:
    """One table for every question that claims answer, in the order of `questions`: kind of claim to question.

    A kind without a question asks for its quantity. Several kinds may answer one question.
    """
    found: dict[str, list[Claim]] = {question: [] for question in questions.values()}
    for one in claims:
        found.setdefault(questions.get(one.kind) or asking(one.quantity), []).append(one)
    return [NumberTable(question, tuple(_sorted(own))) for question, own in found.items() if own]


def asking(quantity: str) -> str:
    """A quantity as a question, for kinds of claims that have none."""
    return f"How large: {quantity}?"


def _sorted(claims: Sequence[Claim]) -> list[Claim]:
    """The established first, then by size; sizes compare only within one unit, so units keep their order."""
    units = list(dict.fromkeys(one.unit for one in claims))
    return sorted(claims, key=lambda one: (-_RANK[one.verdict], units.index(one.unit), -abs(one.effect)))


def cells(claim: Claim) -> tuple[str, ...]:
    """One row as texts, under `HEADS`."""
    inputs = "" if claim.inputs in (None, claim.n) else f" ({claim.inputs} inputs)"
    counted = claim.low is not None and claim.low == claim.high
    return (
        claim.about.replace("->", " → "),
        claim.where,
        _written(claim.effect, claim.unit),
        "counted" if counted else bounds(claim.low, claim.high, missing="none", **_digits(claim.effect)),
        f"{claim.n}{inputs}",
        _control(claim),
        "" if claim.p is None else probability(claim.p).removeprefix("p ").removeprefix("= "),
        claim.verdict,
    )


def _digits(size: float) -> dict[str, int]:
    # Counts and shares that are large have no use for an exponent.
    return {"digits": 0} if abs(size) >= 1000 else {"significant": 3}


def _written(value: float, unit: str) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f} {unit}".strip()
    if unit == "layer":
        return f"layer {value:g}"
    return number(value, unit="" if unit == "1" else unit, **_digits(value))


def _control(claim: Claim) -> str:
    if claim.control is None:
        return "none"
    name = _CONTROLS.get(claim.control, claim.control).replace("->", " → ")
    return name if claim.control_effect is None else f"{name}: {_written(claim.control_effect, claim.unit)}"
