"""Which question types a span's states carry the answer of, and which two types differ most."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.claims_by_type import Chosen, claims_by_type
from chiasm.core.spans import PERCEPTUAL
from chiasm.results.example_columns import ERROR_SHARE, ExampleColumns
from chiasm.studies.patch.shares import POINTS, QUANTITY, shares

_FIRST: Final = "0"


def type_claims(
    effects: pl.DataFrame,
    own: ExampleColumns,
    recoveries: Sequence[Claim],
    controls: pl.DataFrame | None,
    least: float,
    seed: int,
) -> list[Claim]:
    """Each curve by question type at the deepest layer at which it is established, the least that can be said of it.

    Not where that is the first layer of all that is seen or heard: put in there it is the other run, in any type.
    `least`: the smallest share worth naming (points).
    """
    kinds = dict(effects.select("example_id", "type").unique("example_id").iter_rows())
    place = {(about, str(layer)): k for k, (about, layer) in enumerate(own.columns)}
    deepest = {one.about: one for one in recoveries if one.established}
    chosen = [
        Chosen(one, own.values[:, k], own.present[:, k], _controls_by_type(controls, own, k, one.control, kinds))
        for one in deepest.values()
        if not (one.where == _FIRST and one.about.partition(", ")[0] in PERCEPTUAL)
        for k in [place[one.about, one.where]]
    ]
    types = [kinds[example] for example in own.examples]
    common = {"quantity": QUANTITY, "unit": POINTS, "least": least, "error": ERROR_SHARE * least, "seed": seed}
    return claims_by_type(chosen, types, own.inputs, **common)


def _controls_by_type(
    controls: pl.DataFrame | None, own: ExampleColumns, k: int, name: str | None, kinds: Mapping[str, str]
) -> dict[str, float]:
    """The mean share (%) that the control called `name` has in column `k`, of the pairs of each type that have it."""
    if controls is None or name is None:
        return {}
    beside = own.part([k]).like(shares(controls.filter(pl.col("control") == name)))
    there = beside.present[:, 0]
    types = np.array([kinds[example] for example in beside.examples])
    return {kind: float(beside.values[there & (types == kind), 0].mean()) for kind in dict.fromkeys(types[there])}
