"""Differences between runs beyond their controls: of effects from which each run's own control is taken off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from chiasm.core.claims import Verdict, judged, known
from chiasm.core.statistics.between import Compared, Sample, difference_bands
from chiasm.results.values import ExampleValues

Column = tuple[str, str]
_ENOUGH = 2
"""A control counts where it stands beside one in so many of the examples: which have one is no accident."""


@final
@dataclass(frozen=True, slots=True)
class Beyond:
    """A difference of effects, less that of one `control`."""

    control: str
    difference: float
    low: float
    high: float
    p: float
    n: int
    verdict: Verdict


def differences_beyond(
    first: ExampleValues,
    others: Sequence[tuple[ExampleValues, Sequence[Column], Sequence[str], Compared]],
    smallest: float,
    *,
    seed: int = 0,
) -> list[dict[Column, Beyond]]:
    """Of every other run, by column, the difference beyond the control that comes nearest to explaining it.

    `others`: the values of each, the columns that it has in common with the `first`, the examples compared one by one
    (none where they are two samples), and those samples. Columns without a control that both have are not among them.
    Intervals and p hold over all controls and columns of all runs at once. Where a run has several controls, the
    difference is established only if it is beyond each of them, in its own direction.
    """
    asked = [
        (place, control, columns, compared)
        for place, (second, shown, examples, plain) in enumerate(others)
        for control in first.controls
        if control in second.controls
        for columns, compared in _compared(first, second, shown, examples, plain, control)
    ]
    bands = difference_bands([one for *_, one in asked], smallest_error=first.error, seed=seed)
    found: list[dict[Column, list[Beyond]]] = [{} for _ in others]
    for (place, control, columns, compared), own in zip(asked, bands, strict=True):
        behind = compared.inputs_behind
        for k, column in enumerate(columns):
            mean, low, high, p = (float(values[k]) for values in (own.mean, own.low, own.high, own.p))
            verdict = judged(mean, low, high, smallest=smallest, p=known(p), inputs=behind[k])
            found[place].setdefault(column, []).append(Beyond(control, mean, low, high, p, compared.n[k], verdict))
    plain = [dict(zip(columns, one.second.mean - one.first.mean, strict=True)) for _, columns, _, one in others]
    return [
        {column: _nearest(beside, float(of[column])) for column, beside in own.items()}
        for own, of in zip(found, plain, strict=True)
    ]


def missing_controls(first: ExampleValues, second: ExampleValues, names: tuple[str, str]) -> list[str]:
    """Why nothing can be taken off, or one control less than both have; by what stands in the way.

    `names`: what the two runs are called.
    """
    reasons = []
    if not first.controls.keys() & second.controls.keys():
        has = [
            f"{name} has {', '.join(one.controls) or 'none'}" for name, one in zip(names, (first, second), strict=True)
        ]
        reasons.append(f"both would need the same control of each example, and {' and '.join(has)}")
    both = first.other_controls.keys() & second.other_controls.keys()
    reasons += [f"{name}: {first.other_controls[name]}" for name in sorted(both)]
    return reasons


def _compared(
    first: ExampleValues,
    second: ExampleValues,
    columns: Sequence[Column],
    examples: Sequence[str],
    plain: Compared,
    control: str,
) -> Iterator[tuple[list[Column], Compared]]:
    """The two runs with a control taken off, in the columns in which enough examples have it; nothing for none."""
    own, there = first.of(columns, examples or None, beyond=control)
    beside, there_too = second.of(columns, examples or None, beyond=control)
    if examples:
        there = there_too = there & there_too
    counts = zip(there.sum(axis=0), there_too.sum(axis=0), plain.first.n, plain.second.n, strict=True)
    chosen = [k for k, (a, b, n, m) in enumerate(counts) if a and b and _ENOUGH * a >= n and _ENOUGH * b >= m]
    if chosen:
        sides = (
            Sample(one.inputs, values[:, chosen], present[:, chosen])
            for one, values, present in ((plain.first, own, there), (plain.second, beside, there_too))
        )
        yield [columns[k] for k in chosen], Compared(*sides, paired=plain.paired)


def _nearest(beside: Sequence[Beyond], difference: float) -> Beyond:
    """Of several controls the one that the difference is least surely beyond."""

    def beyond(one: Beyond) -> bool:
        return one.verdict == "established" and bool(np.sign(one.difference) == np.sign(difference))

    worst = max(beside, key=lambda one: (not beyond(one), one.p if not np.isnan(one.p) else 1.0))
    if worst.verdict == "established" and not beyond(worst):
        return Beyond(worst.control, worst.difference, worst.low, worst.high, worst.p, worst.n, "not established")
    return worst
