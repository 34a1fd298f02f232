"""What single heads do: each against 0 and its controls, and the strongest again on inputs that did not choose them.

Intervals and p-values of one kind hold over all heads, layers and cuts at once: of all heads by the extremes of one
bootstrap, of the few that were chosen by Bonferroni, since one whose values are skewed would widen all others'.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.flow.control_effects import Tests
from chiasm.studies.flow.controlled import Judging
from chiasm.studies.flow.sweep import QUANTITY, Sweep, sweep
from chiasm.studies.flow.tables import OTHER_HEADS, SIZE_MATCHED

CHOSEN = 5
"""The most heads of each cut that are chosen on one half of the inputs: those of the largest effects worth naming."""
MIN_INPUTS_TO_SPLIT = 16
"""Inputs from which on heads are chosen on one half and judged on the other: fewer than eight judge nothing."""

_NULLS = (SIZE_MATCHED, OTHER_HEADS, RANDOM_WEIGHTS)
_HELD_OUT = "head-held-out"
_FREE = "by any head at any layer"
_ON_OTHERS = "on inputs that did not choose the head"


def head_claims(tables: Mapping[str, pl.DataFrame], least: float, seed: int) -> list[Claim]:
    """The claims about single heads, from `heads` and, where they are there, `heads_controls` and `examples`.

    `least`: the smallest effect worth naming (nat). About: the cut and the head; where: the layer.
    """
    if "heads" not in tables or not tables["heads"].height:
        return []
    rows = _as_columns(with_inputs(tables["heads"], tables.get("examples")))
    recorded = tables.get("heads_controls")
    controls = _with_other_heads(rows, None if recorded is None else _as_columns(recorded))
    data = sweep(rows)
    every = _judging("head", QUANTITY, least, seed).claims(data, controls)
    return [*every, *_held_out(data, controls, least, seed)]


def cut_of(about: str) -> str:
    """The cut, as it was asked for, of what a claim about a head is about."""
    return about.rpartition(", ")[0]


def _as_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose cut names the head as well, in the window of its layer."""
    together = pl.col("cut").str.contains(r"heads=groups\b")
    name = pl.when(together).then(pl.lit("group")).otherwise(pl.lit("head"))
    return rows.with_columns(
        cut=pl.format("{}, {} {}", "cut", name, "head"), start=pl.col("layer"), stop=pl.col("layer") + 1, asked="cut"
    )


def _with_other_heads(rows: pl.DataFrame, recorded: pl.DataFrame | None) -> pl.DataFrame:
    """The controls, with the mean over the layer's other heads where these were changed one by one themselves."""
    drawn = [] if recorded is None else recorded.filter(control=OTHER_HEADS)["asked"].unique().to_list()
    layer = ("example_id", "asked", "layer")
    n = pl.len().over(layer)
    others = rows.filter(~pl.col("asked").is_in(drawn), n > 1).with_columns(
        *((pl.col(name).sum().over(layer) - pl.col(name)) / (n - 1) for name in ("logprob_clean", "logprob_cut")),
        control=pl.lit(OTHER_HEADS),
        sample=pl.lit(0, dtype=pl.Int64),
    )
    if recorded is None:
        return others
    return pl.concat([recorded, others.select(recorded.columns)], how="vertical_relaxed")


def _held_out(data: Sweep, controls: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """The heads of each cut that do most on every other input, judged on the others."""
    names = sorted(set(data.inputs))
    if len(names) < MIN_INPUTS_TO_SPLIT:
        return []
    choosing = np.isin(data.inputs, names[::2])
    present = data.present[choosing]
    n = present.sum(axis=0)
    means = np.where(n > 0, np.where(present, data.values[choosing], 0.0).sum(axis=0) / np.maximum(n, 1), 0.0)
    cuts = np.array([cut_of(column[0]) for column in data.columns])
    chosen: list[int] = []
    for cut in dict.fromkeys(cuts):
        own = np.flatnonzero(cuts == cut)
        # All of them would be no choice.
        most = own[np.argsort(-np.abs(means[own]), kind="stable")[: min(CHOSEN, len(own) - 1)]]
        # What is not worth naming here need not be judged there, where each head makes all intervals wider.
        chosen += most[np.abs(means[most]) >= least].tolist()
    judging = data.part(~choosing, chosen)
    if judging is None:
        return []
    tests = Tests(len(judging.columns))
    return _judging(_HELD_OUT, f"{QUANTITY}, {_ON_OTHERS}", least, seed).claims(judging, controls, tests=tests)


def _judging(kind: str, quantity: str, least: float, seed: int) -> Judging:
    # An untrained model has as many changes in which to go beyond such models: the bound holds for all of them.
    return Judging(kind, quantity, _FREE, _NULLS, cut_of, least, seed, together=True)
