"""What the strongest established cuts do by question type, and which two types differ most in each."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.claims_by_type import Chosen, claims_by_type
from chiasm.studies.flow.sweep import QUANTITY, Sweep, sweep

MOST: Final = 12
"""Established effects that are looked at by type: each takes a share of what may be claimed wrongly."""


def type_claims(
    data: Sweep, effects: Sequence[Claim], controls: pl.DataFrame | None, least: float, error: float, seed: int
) -> list[Claim]:
    """The strongest established effects by question type, and whether types differ there (see `claims_by_type`).

    At most `MOST`, the strongest first. `least`: the smallest effect worth naming, `error`: what a standard error
    counts as at least (nat).
    """
    established = sorted((one for one in effects if one.established), key=lambda one: -abs(one.effect))
    chosen = []
    for one in established[:MOST]:
        k = next(j for j in data.of_cut(one.about) if data.where(j) == one.where)
        beside = _controls_by_type(data, k, controls, one.control)
        chosen.append(Chosen(one, data.values[:, k], data.present[:, k], beside))
    common = {"quantity": QUANTITY, "unit": "nat", "least": least, "error": error, "seed": seed}
    return claims_by_type(chosen, data.types, data.inputs, **common)


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
