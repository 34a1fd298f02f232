"""Effects by question type, and which two types differ most: of one effect, or of several that hold at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from chiasm.core.claims import MIN_INPUTS, Claim
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import Bands, mean_bands


class Chosen(NamedTuple):
    """An effect that is looked at by type: its claim over all types together, the values behind it by example, who has
    one, and the mean of the claim's control among the examples of each type."""

    claim: Claim
    values: Float[np.ndarray, " n"]
    present: Bool[np.ndarray, " n"]
    controls: Mapping[str, float]


class _Columns(NamedTuple):
    """The types with enough inputs of every chosen effect: one column each, of the examples in `rows`."""

    of: tuple[tuple[int, str], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]
    inputs: tuple[str, ...]

    def behind(self, columns: Sequence[int]) -> int:
        """Different inputs behind some of the columns."""
        return len(set(np.array(self.inputs)[self.present[:, list(columns)].any(axis=1)]))


def claims_by_type(
    chosen: Sequence[Chosen],
    types: Sequence[str],
    inputs: Sequence[str],
    *,
    quantity: str,
    unit: str,
    least: float,
    error: float,
    seed: int,
) -> list[Claim]:
    """Of every effect that two types or more have enough inputs of: the effect by type, and the clearest difference.

    Whole inputs are drawn; intervals and p-values hold for all types of all effects at once, and those of differences
    for all pairs of types of all effects, since a pair is picked among them. Beside each type stands the effect's
    control on the examples of that type; the test against it is that of all types taken together. `least`: the smallest
    effect worth naming, `error`: what a standard error counts as at least (in `unit`).
    """
    columns = _columns(chosen, np.array(types), np.array(inputs))
    if columns is None:
        return []
    how = {"clusters": list(columns.inputs), "present": columns.present, "smallest_error": error, "seed": seed}
    means = mean_bands(columns.values, **how)
    pairs = [(a, b) for a, b in combinations(range(len(columns.of)), 2) if columns.of[a][0] == columns.of[b][0]]
    contrasts = np.zeros((len(pairs), len(columns.of)))
    for q, (a, b) in enumerate(pairs):
        contrasts[q, a], contrasts[q, b] = 1, -1
    differ = mean_bands(columns.values, contrasts=contrasts, **how)
    found = []
    for index, one in enumerate(chosen):
        own = [j for j, (of, _) in enumerate(columns.of) if of == index]
        found += [_of_type(one, columns, means, j, quantity, unit, least) for j in own]
        mine = [q for q, (a, _) in enumerate(pairs) if a in own]
        if mine:
            found.append(_differing(one.claim, columns, means, differ, pairs, mine, quantity, unit, least))
    return found


def _columns(chosen: Sequence[Chosen], types: np.ndarray, inputs: np.ndarray) -> _Columns | None:
    of, values, present = [], [], []
    for index, one in enumerate(chosen):
        enough = [
            name
            for name in dict.fromkeys(types.tolist())
            if len(set(inputs[one.present & (types == name)])) >= MIN_INPUTS
        ]
        for name in enough if len(enough) > 1 else []:
            of.append((index, name))
            values.append(one.values)
            present.append(one.present & (types == name))
    if not of:
        return None
    there = np.stack(present, axis=1)
    rows = np.flatnonzero(there.any(axis=1))
    return _Columns(tuple(of), np.stack(values, axis=1)[rows], there[rows], tuple(inputs[rows].tolist()))


def _of_type(one: Chosen, columns: _Columns, means: Bands, j: int, quantity: str, unit: str, least: float) -> Claim:
    name = columns.of[j][1]
    null, effect = one.controls.get(name), float(means.mean[j])
    return column_claim(
        means,
        j,
        kind="type",
        about=f"{one.claim.about}, {name}",
        where=one.claim.where,
        quantity=quantity,
        unit=unit,
        smallest=least,
        inputs=columns.behind([j]),
        controlled=None if null is None else abs(effect) > max(null * float(np.sign(effect)), 0.0),
        control=None if null is None else one.claim.control,
        control_effect=null,
    )


def _differing(
    claim: Claim,
    columns: _Columns,
    means: Bands,
    differ: Bands,
    pairs: Sequence[tuple[int, int]],
    mine: Sequence[int],
    quantity: str,
    unit: str,
    least: float,
) -> Claim:
    """The pair of one effect whose difference is clearest, the type of the larger effect first."""
    p = np.where(np.isnan(differ.p), 1.0, differ.p) - 1e-9 * np.abs(differ.mean)
    q = min(mine, key=lambda one: p[one])
    a, b = pairs[q]
    turned = abs(means.mean[a]) < abs(means.mean[b])
    if turned:
        a, b = b, a
        differ = replace(differ, mean=-differ.mean, low=-differ.high, high=-differ.low)
    behind = columns.behind([a, b])
    one = column_claim(
        differ,
        q,
        kind="types",
        about=f"{claim.about}, {columns.of[a][1]} against {columns.of[b][1]}",
        where=claim.where,
        quantity=f"difference of the {quantity}",
        unit=unit,
        smallest=least,
        inputs=behind,
        controlled=True,
        control=columns.of[b][1],
        control_effect=float(means.mean[b]),
    )
    return replace(one, n=int(means.n[a] + means.n[b]))
