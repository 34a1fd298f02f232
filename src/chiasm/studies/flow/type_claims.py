"""What the strongest cut does by question type, and which two types differ most."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from chiasm.core.claims import MIN_INPUTS, Claim, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.studies.flow.sweep import QUANTITY, Sweep, sweep


def type_claims(
    data: Sweep, effects: Sequence[Claim], controls: pl.DataFrame | None, least: float, error: float, seed: int
) -> list[Claim]:
    """The strongest cut by question type at its peak, and whether types differ there; whole inputs are drawn.

    Beside each type stands the cut's control on the examples of that type. `least`: the smallest effect worth naming,
    `error`: what a standard error counts as at least (nat).
    """
    strongest = max((one for one in effects if one.established), key=lambda one: abs(one.effect), default=None)
    if strongest is None:
        return []
    k = next(j for j in data.of_cut(strongest.about) if data.where(j) == strongest.where)
    here = data.present[:, k]
    types, inputs = np.array(data.types), np.array(data.inputs)
    names = [name for name in dict.fromkeys(data.types) if len(set(inputs[here & (types == name)])) >= MIN_INPUTS]
    if len(names) < 2:
        return []
    rows = np.flatnonzero(here & np.isin(types, names))
    present = np.stack([types[rows] == name for name in names], axis=1)
    values = np.repeat(data.values[rows, k][:, None], len(names), axis=1)
    clusters = list(inputs[rows])
    means = mean_bands(values, clusters=clusters, present=present, smallest_error=error, seed=seed)
    beside = _controls_by_type(data, k, controls, strongest.control)
    found = []
    for j, name in enumerate(names):
        effect, low, high, p = (float(x[j]) for x in (means.mean, means.low, means.high, means.p))
        null, behind = beside.get(name), len(set(inputs[rows][present[:, j]]))
        found.append(
            Claim(
                kind="type",
                about=f"{strongest.about}, {name}",
                where=strongest.where,
                quantity=QUANTITY,
                unit="nat",
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control=None if null is None else strongest.control,
                control_effect=null,
                n=int(means.n[j]),
                inputs=behind,
                # The test against the control is that of all types taken together.
                verdict=judged(
                    effect,
                    low,
                    high,
                    smallest=least,
                    p=p,
                    controlled=None if null is None else abs(effect) > max(null * float(np.sign(effect)), 0.0),
                    inputs=behind,
                ),
            )
        )
    pairs = list(combinations(range(len(names)), 2))
    contrasts = np.zeros((len(pairs), len(names)))
    for q, (a, b) in enumerate(pairs):
        contrasts[q, a], contrasts[q, b] = 1, -1
    differ = mean_bands(
        values, clusters=clusters, present=present, contrasts=contrasts, smallest_error=error, seed=seed
    )
    # The pair whose difference is clearest; the interval allows for having picked it among all pairs.
    q = int(np.argmin(np.where(np.isnan(differ.p), 1.0, differ.p) - 1e-9 * np.abs(differ.mean)))
    a, b = pairs[q]
    if abs(means.mean[a]) < abs(means.mean[b]):
        a, b = b, a
    sign = 1.0 if (a, b) == pairs[q] else -1.0
    low, high = sorted((sign * float(differ.low[q]), sign * float(differ.high[q])))
    effect, p = sign * float(differ.mean[q]), float(differ.p[q])
    behind = len(set(inputs[rows][present[:, [a, b]].any(axis=1)]))
    found.append(
        Claim(
            kind="types",
            about=f"{strongest.about}, {names[a]} against {names[b]}",
            where=strongest.where,
            quantity=f"difference of the {QUANTITY}",
            unit="nat",
            effect=effect,
            low=known(low),
            high=known(high),
            p=known(p),
            control=names[b],
            control_effect=float(means.mean[b]),
            n=int(means.n[a] + means.n[b]),
            inputs=behind,
            verdict=judged(effect, low, high, smallest=least, p=p, inputs=behind),
        )
    )
    return found


def _controls_by_type(data: Sweep, k: int, controls: pl.DataFrame | None, name: str | None) -> dict[str, float]:
    """The mean effect (nat) of the control called `name` in column `k`, of the examples of each type that have it."""
    if controls is None or name is None:
        return {}
    rows = controls.filter(pl.col("control") == name, pl.col("cut") == data.columns[k][0])
    rows = rows.filter(pl.col("example_id").is_in(list(data.examples)))
    if not rows.height:
        return {}
    one = sweep(rows, [data.columns[k]])
    there, types = one.present[:, 0], np.array(one.types)
    return {kind: float(one.values[there & (types == kind), 0].mean()) for kind in dict.fromkeys(types[there])}
