"""The numbers of a run as tables, one for each question that it asks: made from its claims alone."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.charts.theme import dash_of
from chiasm.results.doubts import about_effect, doubt, kinds_beyond
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.ways import verdict_of
from chiasm.results.wording import bounds, number, probability

FOLDED_AFTER: Final = 8
"""Rows in view; the rest stands behind them. The whole table is `tables/claims.parquet`."""
_BEHIND: Final = 200
_RANK: Final = {"established": 3, "uncontrolled": 2, "practically none": 1, "not established": 0}
# In the words of the charts, which draw each with a dash of its own.
_CONTROLS: Final = {
    "size-matched": "as many random keys",
    "blank": "the same cut on a blank image",
    "noise": "random perceptual tokens",
    "apart": "modality isolation",
    RANDOM_WEIGHTS: "random-weights baseline",
    "shuffled": "shuffled labels",
    "same-answer": "a donor of the same answer",
    "random-tokens": "as many random tokens",
    "shuffled-donor": "an unrelated donor",
}
# Those that no line is drawn of.
_NAMES: Final = _CONTROLS | {"random-projector": "weights permuted"}
# Kinds of claims whose rows are differences to a control that each of them names.
_DIFFERENCES: Final = ("-control", "beyond")
_AGAIN: Final = (*_DIFFERENCES, "reach")
"""Kinds whose claims say more of those of another kind, each about one of its controls."""
HEADS: Final = ("About", "Where", "Effect", "95 % interval", "n", "Control", "p", "Verdict")
"""The heads of the `cells` of a row."""
_WHERE, _EFFECT, _CONTROL = HEADS.index("Where"), HEADS.index("Effect"), HEADS.index("Control")
_NOT_TESTED: Final = "not tested"
_ROUNDED: Final = 1e-4
"""Smaller numbers are written as 0, where what was found is not itself below `_SMALL`: a reader cannot use them."""
_SMALL: Final = 0.01


@dataclass(frozen=True)
class NumberTable:
    """What a run says about one question. `claims`: the strongest first; `beside`: by `(kind, about, where)` what every
    control shows, by its name in claims; `difference`: effects are differences from what their control shows;
    `differing`: kinds of which that holds; `effects`: by the same as `beside`, what claims about controls are about;
    `untested`: kinds that are counts, bounds or choices, which no interval speaks for.

    A column holds one control in all rows: each control that was run has a column of its own, as it has a dash of its
    own in charts. Only where rows are compared with things that differ from row to row does each row name its own.
    """

    question: str
    claims: tuple[Claim, ...]
    beside: Mapping[tuple[str, str, str], Mapping[str, float]] = field(default_factory=dict)
    difference: bool = False
    differing: frozenset[str] = frozenset()
    effects: Mapping[tuple[str, str, str], Claim] = field(default_factory=dict)
    untested: frozenset[str] = frozenset()

    @property
    def established(self) -> int:
        """How many of its rows are established."""
        return sum(one.established for one in self.claims)

    @property
    def tally(self) -> str:
        """How many of its rows are established, and how many would be if a control stood beside them."""
        tested = [one for one in self.claims if one.kind not in self.untested]
        if not tested:
            return _NOT_TESTED
        alone = sum(one.verdict == "uncontrolled" for one in tested)
        there = sum(one.established for one in tested)
        return f"{there} of {len(tested)} established" + (f", {alone} uncontrolled" if alone else "")

    @property
    def shown(self) -> tuple[Claim, ...]:
        """What its rows are about, in view and behind them."""
        return self.claims[:_BEHIND]

    @property
    def first(self) -> list[tuple[str, ...]]:
        """The cells of the rows in view."""
        return [self.cells(one) for one in self.claims[:FOLDED_AFTER]]

    @property
    def rest(self) -> list[tuple[str, ...]]:
        """The cells of the rows behind them."""
        return [self.cells(one) for one in self.claims[FOLDED_AFTER:_BEHIND]]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads of its columns."""
        compared = "Difference from" if self.difference else "Compared with"
        several = (compared if any(one.control for one in self.claims) else HEADS[_CONTROL],)
        shown = tuple(f"{'from: ' * self.difference}{control_name(name)}" for name in self.controls) or several
        first: list[str] = list(HEADS[:_CONTROL])
        if self.difference:
            first[_EFFECT] = "Difference"
        return (*first, *shown, *HEADS[_CONTROL + 1 :])

    @property
    def dashes(self) -> tuple[Sequence[float], ...]:
        """The dash that charts draw the control of each column with; empty for columns that are of none."""
        drawn = [dash_of(control_name(name)) if name in _CONTROLS else () for name in self.controls] or [()]
        return (*((),) * _CONTROL, *drawn, *((),) * (len(HEADS) - _CONTROL - 1))

    @cached_property
    def controls(self) -> tuple[str, ...]:
        """The controls that have a column each; none where each row names what it is compared with."""
        differences = self.difference or any(one.kind.endswith(_AGAIN) for one in self.claims)
        named = {one.control for one in self.claims if one.control is not None}
        if not differences:
            named |= {name for one in self.claims for name in self.beside.get(_place(one), ())}
        if len(named) > 1 and (differences or not named <= set(_CONTROLS)):
            return ()
        order = list(_CONTROLS)
        return tuple(sorted(named, key=lambda name: order.index(name) if name in order else 0))

    def cells(self, claim: Claim) -> tuple[str, ...]:
        """One row as texts, under `heads`."""
        plain = cells(claim, self.question)
        known = dict(self.beside.get(_place(claim), {}))
        if claim.control is not None and claim.control_effect is not None:
            known[claim.control] = claim.control_effect
        lacking = "none" if claim.control is None else "\u2013"
        own = [
            _written(_rounded(known[name], claim), claim.unit) if name in known else lacking for name in self.controls
        ]
        row = (*plain[:_CONTROL], *(own or [plain[_CONTROL]]), *plain[_CONTROL + 1 :])
        if claim.kind in self.untested:
            return (*row[:-1], _NOT_TESTED)
        kind, difference = about_effect(claim.kind), claim.kind in self.differing
        of = None if kind == claim.kind else self.effects.get((kind, claim.about, claim.where))
        others = (self.effects.get((name, claim.about, claim.where)) for name in kinds_beyond(claim.kind))
        beyond = next((one for one in others if one is not None), None)
        why = doubt(claim, of, known, difference=difference, beyond=beyond)
        return (*row[:-1], f"{row[-1]}: {why}") if why else row

    @cached_property
    def hidden(self) -> frozenset[int]:
        """The columns, by number, that say nothing in any row: where it is all layers, and p where there is none."""
        rows = [self.cells(one) for one in self.shown]
        empty = {_WHERE: ("", "all"), len(self.heads) - 2: ("",)}
        return frozenset(k for k, nothing in empty.items() if all(row[k] in nothing for row in rows))

    @property
    def printed(self) -> int:
        """How many rows stand on paper: those in view, and what is established behind them."""
        behind = self.claims[FOLDED_AFTER:_BEHIND]
        return len(self.claims[:FOLDED_AFTER]) + sum(one.established for one in behind)

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


def number_tables(
    claims: Iterable[Claim],
    questions: Mapping[str, str],
    differences: Container[str] = (),
    untested: frozenset[str] = frozenset(),
) -> list[NumberTable]:
    """One table for every question that claims answer, in the order of `questions`: kind of claim to question.

    A kind without a question asks for its quantity. Several kinds may answer one question. `differences`: kinds whose
    effect is the difference from what their control shows, beside those whose names say so. `untested`: kinds that are
    counts, bounds or choices.
    """
    claims, beside = list(claims), {}
    for one in claims:
        if one.control is not None and one.control_effect is not None:
            place = (one.kind.removesuffix("-control"), one.about, one.where)
            beside.setdefault(place, {}).setdefault(one.control, one.control_effect)
    effects = {_place(one): one for one in claims}
    found: dict[str, list[Claim]] = {question: [] for question in questions.values()}
    for one in claims:
        found.setdefault(questions.get(one.kind) or asking(one.quantity), []).append(one)
    differing = frozenset(one.kind for one in claims if _is_difference(one, differences))
    return [
        NumberTable(
            question,
            tuple(_sorted(own)),
            beside,
            all(_is_difference(one, differences) for one in own),
            differing,
            effects,
            untested,
        )
        for question, own in found.items()
        if own
    ]


def control_name(control: str) -> str:
    """A control as charts call it; others are called what their claims call them."""
    return _NAMES.get(control, control).replace("->", " → ")


def _is_difference(claim: Claim, differences: Container[str]) -> bool:
    named = claim.kind in differences or claim.kind.endswith(_DIFFERENCES)
    return named and claim.control is not None


def _place(claim: Claim) -> tuple[str, str, str]:
    return claim.kind, claim.about, claim.where


def asking(quantity: str) -> str:
    """A quantity as a question, for kinds of claims that have none."""
    return f"How large: {quantity}?"


def _sorted(claims: Sequence[Claim]) -> list[Claim]:
    """The established first, then by size; sizes compare only within one unit, so units keep their order."""
    units = list(dict.fromkeys(one.unit for one in claims))
    return sorted(claims, key=lambda one: (-_RANK[one.verdict], units.index(one.unit), -abs(one.effect)))


def cells(claim: Claim, question: str = "") -> tuple[str, ...]:
    """One row as texts, under `HEADS`; its verdict says which way, where the `question` asks that."""
    inputs = "" if claim.inputs in (None, claim.n) else f" ({claim.inputs} inputs)"
    counted = claim.low is not None and claim.low == claim.high
    return (
        "no plan" if (claim.kind, claim.about) == ("recommended", "none") else claim.about.replace("->", " → "),
        claim.where,
        _written(_rounded(claim.effect, claim), claim.unit),
        "counted" if counted else _bounds(claim),
        f"{claim.n}{inputs}",
        _control(claim),
        "" if claim.p is None else probability(claim.p).removeprefix("p ").removeprefix("= "),
        verdict_of(claim, question),
    )


def _bounds(claim: Claim) -> str:
    low, high = (None if bound is None else _rounded(bound, claim) for bound in (claim.low, claim.high))
    return bounds(low, high, missing="none", **_digits(claim.effect))


def _rounded(value: float, claim: Claim) -> float:
    whole = claim.found and abs(claim.effect) < _SMALL
    return 0.0 if abs(value) < _ROUNDED and not whole else value


def _digits(size: float) -> dict[str, int]:
    # Counts and shares that are large have no use for an exponent.
    return {"digits": 0} if abs(size) >= 1000 else {"significant": 3}


def _written(value: float, unit: str) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f} {unit}".strip()
    if unit == "layer":
        return f"layer {value:g}"
    if (value, unit) == (1, "points"):
        return "1 point"
    return number(value, unit="" if unit == "1" else unit, **_digits(value))


def _control(claim: Claim) -> str:
    if claim.control is None:
        return "none"
    name = control_name(claim.control)
    return (
        name
        if claim.control_effect is None
        else f"{name}: {_written(_rounded(claim.control_effect, claim), claim.unit)}"
    )
