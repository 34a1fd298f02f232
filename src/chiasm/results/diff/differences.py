"""What differs between runs of one study: their claims side by side, with the difference where examples allow one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.schema import Column, TableSchema, integer, number, text
from chiasm.core.statistics.between import Compared, Sample, difference_bands
from chiasm.core.statistics.intervals import share_difference, shares_differ
from chiasm.core.statistics.unpaired import unpaired_difference
from chiasm.results.diff.beyond import Beyond, differences_beyond
from chiasm.results.tables import conform
from chiasm.results.values import ExampleValues

_ENOUGH: Final = 2
"""Runs are paired where they share one in so many examples of the smaller."""


def _maybe(name: str, title: str, meaning: str) -> Column:
    return Column(name, "string", title, "", meaning, nullable=True)


DIFFERENCES: Final = TableSchema.of(
    "differences",
    text("run", "Run", "The run that is set beside the first one, by its label."),
    text("kind", "Kind", "Which question the claims answer."),
    text("about", "About", "The cut, span, plan, setting ... that is meant."),
    text("where", "Where", "Layers, or `all`."),
    text("quantity", "Quantity", "What was estimated."),
    text("unit", "Unit", "Of the effects; a difference of % is in points."),
    number("first", "First", "The effect in the first run, over the examples compared.", nullable=True),
    number("second", "Second", "The effect in the other run, over the examples compared.", nullable=True),
    number("difference", "Difference", "Second less first; missing where examples allow none.", nullable=True),
    number("low", "Low", "Lower end of the 95 % interval, over all differences at once.", nullable=True),
    number("high", "High", "Upper end of the 95 % interval.", nullable=True),
    number("p", "p", "That of no difference, corrected over all differences.", nullable=True),
    integer("n", "n", "Examples behind the difference; of the smaller run where unpaired.", nullable=True),
    integer("inputs", "Inputs", "Different inputs that these ask about.", nullable=True),
    Column("paired", "bool", "Paired", "", "The same examples in both runs, compared one by one.", nullable=True),
    _maybe("verdict", "Verdict", "Of the difference, as of any claim: established, practically none, not established."),
    _maybe(
        "control", "Control", "What is taken off both effects next: of those that both have the one that explains most."
    ),
    number("beyond", "Beyond", "The difference, less that of the control.", nullable=True),
    number("beyond_low", "Low", "Lower end of its 95 % interval, over all differences beyond at once.", nullable=True),
    number("beyond_high", "High", "Upper end of its 95 % interval.", nullable=True),
    number("beyond_p", "p beyond", "That of no difference beyond, corrected over all of them.", nullable=True),
    integer("beyond_n", "n beyond", "Examples behind it that have the control.", nullable=True),
    _maybe(
        "beyond_verdict",
        "Verdict beyond",
        "Of the difference beyond; established: beyond every control that both have.",
    ),
    _maybe("first_verdict", "Verdict of the first", "What the first run claims; missing where it claims nothing."),
    _maybe("second_verdict", "Verdict of the other", "What the other run claims."),
)
Identity = tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """A run as far as it is compared. `identities`: by example what it was: its input, its question, its label."""

    label: str
    claims: Sequence[Claim]
    values: ExampleValues | None
    identities: dict[str, Identity]

    def shared_with(self, other: "Side") -> list[str]:
        """Examples that both measured: the same id, on the same input, with the same question."""
        if self.values is None or other.values is None:
            return []
        measured = set(other.values.examples)
        alike = (one for one in self.values.examples if self.identities.get(one) == other.identities.get(one))
        return [one for one in alike if one in measured]


class Pair(NamedTuple):
    """Another run beside the first. `columns`: what both measured; `paired`: the examples compared one by one, none
    where too few are the same; `samples`: the values of both."""

    second: Side
    columns: list[tuple[str, str]]
    paired: list[str]
    samples: Compared | None


def pairs_of(first: Side, others: Sequence[Side]) -> list[Pair]:
    """Every other run beside the first, as far as examples allow differences."""
    return [_pair(first, other) for other in others]


def _pair(first: Side, second: Side) -> Pair:
    one, other = first.values, second.values
    if one is None or other is None:
        return Pair(second, [], [], None)
    shared = first.shared_with(second)
    smaller = min(len(one.examples), len(other.examples))
    if smaller > _ENOUGH * len(shared):
        shared = []
    columns = [column for column in one.columns if column in other.columns]
    own, there = one.of(columns, shared or None)
    beside, there_too = other.of(columns, shared or None)
    if shared:
        both = there & there_too
        held = both.any(axis=0)
    else:
        both = None
        held = there.any(axis=0) & there_too.any(axis=0)
    columns = [column for column, any_ in zip(columns, held, strict=True) if any_]
    if not columns:
        return Pair(second, [], shared, None)
    names = (one.inputs_of(shared), one.inputs_of(shared)) if shared else (one.inputs, other.inputs)
    samples = Compared(
        Sample(names[0], own[:, held], (there if both is None else both)[:, held]),
        Sample(names[1], beside[:, held], (there_too if both is None else both)[:, held]),
        paired=bool(shared),
    )
    return Pair(second, columns, shared, samples)


def differences_frame(first: Side, pairs: Sequence[Pair], *, seed: int = 0) -> pl.DataFrame:
    """The table `differences`: a row for every claim of either run, with its difference where there is one."""
    rows: list[dict[str, Any]] = []
    estimates = _estimates(first, pairs, seed)
    beyond = _beyond(first, pairs, seed)
    for pair in pairs:
        found = estimates.get(pair.second.label, {})
        covered = () if first.values is None or not pair.columns else first.values.kinds
        rows += _compared(first, pair, found, beyond.get(pair.second.label, {}))
        rows += _beside(first, pair.second, set(covered))
    return conform(DIFFERENCES, rows)


class _Estimate(NamedTuple):
    difference: float
    low: float
    high: float
    p: float


def _estimates(first: Side, pairs: Sequence[Pair], seed: int) -> dict[str, dict[tuple[str, str], _Estimate]]:
    """Differences by run and column, with intervals that hold over all of them: any may be picked."""
    counted = [pair for pair in pairs if pair.samples is not None]
    if not counted or first.values is None:
        return {}
    if first.values.right:
        return {pair.second.label: dict(_of_shares(first.values, pair, counted)) for pair in counted}
    every = [pair.samples for pair in counted if pair.samples is not None]
    bands = difference_bands(every, smallest_error=first.values.error, seed=seed)
    return {
        pair.second.label: {
            column: _Estimate(*(float(values[k]) for values in (own.mean, own.low, own.high, own.p)))
            for k, column in enumerate(pair.columns)
        }
        for pair, own in zip(counted, bands, strict=True)
    }


def _of_shares(
    first: ExampleValues, pair: Pair, counted: Sequence[Pair]
) -> Iterator[tuple[tuple[str, str], _Estimate]]:
    """Of right and wrong answers: score intervals, corrected over all columns of all runs (Bonferroni)."""
    tests = sum(len(one.columns) for one in counted)
    second = pair.second.values
    assert second is not None
    own, there = first.of(pair.columns, pair.paired or None)
    beside, there_too = second.of(pair.columns, pair.paired or None)
    for k, column in enumerate(pair.columns):
        if pair.paired:
            both = there[:, k] & there_too[:, k]
            names = list(np.array(first.inputs_of(pair.paired))[both])
            sides = beside[both, k] > 0, own[both, k] > 0, names
            found, p = share_difference(*sides, tests=tests), shares_differ(*sides, tests=tests)
        else:
            one, other = there[:, k], there_too[:, k]
            names = list(np.array(second.inputs)[other]), list(np.array(first.inputs)[one])
            found, p = unpaired_difference(beside[other, k] > 0, own[one, k] > 0, *names, tests=tests)
        mean, low, high = (100 * float(bound) for bound in (found.mean, found.low, found.high))
        yield column, _Estimate(mean, low, high, float(p))


def _beyond(first: Side, pairs: Sequence[Pair], seed: int) -> dict[str, dict[tuple[str, str], Beyond]]:
    """Differences beyond controls by run and column."""
    counted = [pair for pair in pairs if pair.samples is not None]
    if first.values is None or not counted:
        return {}
    others = [
        (pair.second.values, pair.columns, pair.paired, pair.samples)
        for pair in counted
        if pair.second.values is not None and pair.samples is not None
    ]
    smallest = max(_smallest(first, pair) for pair in counted)
    found = differences_beyond(first.values, others, smallest, seed=seed)
    return {pair.second.label: own for pair, own in zip(counted, found, strict=True)}


def _smallest(first: Side, pair: Pair) -> float:
    """The smallest difference worth naming: the larger of what both runs say."""
    return max(one.smallest for one in (first.values, pair.second.values) if one is not None)


def _compared(
    first: Side, pair: Pair, found: dict[tuple[str, str], _Estimate], beyond: dict[tuple[str, str], Beyond]
) -> Iterator[dict[str, Any]]:
    """A row for every column that both runs measured."""
    values, samples = first.values, pair.samples
    if values is None or samples is None:
        return
    ns, behinds = samples.n, samples.inputs_behind
    smallest = _smallest(first, pair)
    claimed = [_verdicts(side.claims, values.kinds) for side in (first, pair.second)]
    for k, (about, where) in enumerate(pair.columns):
        one = found[about, where]
        behind, less = behinds[k], beyond.get((about, where))
        yield {
            "run": pair.second.label,
            "kind": values.kinds[0],
            "about": about,
            "where": where,
            "quantity": values.quantity,
            "unit": values.unit,
            "first": float(samples.first.mean[k]),
            "second": float(samples.second.mean[k]),
            "difference": one.difference,
            "low": known(one.low),
            "high": known(one.high),
            "p": known(one.p),
            "n": ns[k],
            "inputs": behind,
            "paired": bool(pair.paired),
            "verdict": judged(one.difference, one.low, one.high, smallest=smallest, p=known(one.p), inputs=behind),
            **_beyond_cells(less),
            "first_verdict": claimed[0].get((about, where)),
            "second_verdict": claimed[1].get((about, where)),
        }


def _beyond_cells(less: Beyond | None) -> dict[str, Any]:
    if less is None:
        return dict.fromkeys(_BEYOND)
    values = (less.control, less.difference, known(less.low), known(less.high), known(less.p), less.n, less.verdict)
    return dict(zip(_BEYOND, values, strict=True))


_BEYOND: Final = ("control", "beyond", "beyond_low", "beyond_high", "beyond_p", "beyond_n", "beyond_verdict")


def strongest_first(differences: pl.DataFrame) -> pl.DataFrame:
    """The rows that have a difference: the established first, then the surest, then the largest."""
    rows = differences.drop_nulls("difference")
    rank = pl.col("verdict").replace_strict({"established": 0, "practically none": 2}, default=1)
    return rows.sort(rank, "p", pl.col("difference").abs(), descending=[False, False, True], nulls_last=True)


def unit_of_difference(unit: str) -> str:
    """Shares in % differ by points."""
    return {"%": "points", "1": ""}.get(unit, unit)


def _verdicts(claims: Sequence[Claim], kinds: Sequence[str]) -> dict[tuple[str, str], str]:
    return {(one.about, one.where): one.verdict for one in reversed(claims) if one.kind in kinds}


def _beside(first: Side, second: Side, covered: set[str]) -> Iterator[dict[str, Any]]:
    """Claims of the kinds that have no difference, side by side."""
    sides: list[dict[tuple[str, ...], Claim]] = [
        {(one.kind, one.about, one.where, one.quantity, one.unit): one for one in side.claims}
        for side in (first, second)
    ]
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        if key[0] in covered:
            continue
        one, other = (side.get(key) for side in sides)
        nothing = dict.fromkeys(("difference", "low", "high", "p", "n", "inputs", "paired", "verdict", *_BEYOND))
        yield {
            "run": second.label,
            **dict(zip(("kind", "about", "where", "quantity", "unit"), key, strict=True)),
            "first": None if one is None else one.effect,
            "second": None if other is None else other.effect,
            **nothing,
            "first_verdict": None if one is None else one.verdict,
            "second_verdict": None if other is None else other.verdict,
        }
