"""What single heads do: each against 0 and its controls, and the strongest again on inputs that did not choose them.

Intervals and p-values of one kind hold over all heads, layers and cuts at once: of all heads by the extremes of one
bootstrap, of the few that were chosen by Bonferroni, since one whose values are skewed would widen all others'.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, Verdict, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.flow.control_effects import NullEffect, Tests, control_effects
from chiasm.studies.flow.sweep import QUANTITY, Sweep, sweep
from chiasm.studies.flow.tables import ERROR_SHARE, OTHER_HEADS, SIZE_MATCHED

CHOSEN = 5
"""The most heads of each cut that are chosen on one half of the inputs: those of the largest effects worth naming."""
MIN_INPUTS_TO_SPLIT = 16
"""Inputs from which on heads are chosen on one half and judged on the other: fewer than eight judge nothing."""

_NULLS = (SIZE_MATCHED, OTHER_HEADS, RANDOM_WEIGHTS)
_HELD_OUT = "head-held-out"
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
    return [*_judged("head", QUANTITY, data, controls, least, seed), *_held_out(data, controls, least, seed)]


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
    return [] if judging is None else _judged(_HELD_OUT, f"{QUANTITY}, {_ON_OTHERS}", judging, controls, least, seed)


def _judged(kind: str, quantity: str, data: Sweep, controls: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """The effect of every head; of those that differ from 0 also the difference to the control that comes nearest."""
    error = ERROR_SHARE * least
    tests = Tests(len(data.columns)) if kind == _HELD_OUT else None
    how = {} if tests is None else tests.options
    bands = mean_bands(data.values, clusters=data.inputs, present=data.present, smallest_error=error, seed=seed, **how)
    beside = [control_effects(data, controls, name, error, seed, within=cut_of, tests=tests) for name in _NULLS]
    found: list[Claim] = []
    for k, (about, layer, *_) in enumerate(data.columns):
        effect, low, high, p = (float(values[k]) for values in (bands.mean, bands.low, bands.high, bands.p))
        nulls = [one.at(k, effect) for one in beside if one.counts(k, int(bands.n[k]))]
        inputs = len(set(np.array(data.inputs)[data.present[:, k]]))
        # The control that comes nearest to the effect, on its side of 0.
        worst = max(nulls, key=lambda one: (not one.beyond, np.sign(effect) * one.effect), default=None)
        controlled = None if worst is None else all(one.beyond for one in nulls)
        own = Claim(
            kind=kind,
            about=about,
            where=str(layer),
            quantity=quantity,
            unit="nat",
            effect=effect,
            low=known(low),
            high=known(high),
            p=known(p),
            control=None if worst is None else worst.name,
            control_effect=None if worst is None else worst.effect,
            n=int(bands.n[k]),
            inputs=inputs,
            verdict=judged(effect, low, high, smallest=least, p=known(p), controlled=controlled, inputs=inputs),
        )
        found.append(own)
        if worst is not None and (kind == _HELD_OUT or low > 0 or high < 0):
            found += _beyond(own, worst)
    return found


def _beyond(effect: Claim, control: NullEffect) -> list[Claim]:
    """The difference of an effect to its control, and how far one more random model may go, where that is the control.

    Both are conditions of the effect: it is the effect that is established or not.
    """
    verdict: Verdict = "established" if effect.established else "not established"
    difference = replace(
        effect,
        kind=f"{effect.kind}-beyond",
        quantity=f"{effect.quantity}, less that of the control",
        effect=control.difference,
        low=known(control.low),
        high=known(control.high),
        p=known(control.p),
        control=control.name,
        control_effect=control.effect,
        n=control.n,
        inputs=control.inputs,
        verdict=verdict,
    )
    if control.reach is None:
        return [difference]
    reach = replace(
        difference,
        kind=f"{effect.kind}-reach",
        quantity="size of the largest change by any head at any layer that one more random model may show, 95 % bound",
        effect=control.reach,
        low=None,
        high=None,
        p=None,
        n=control.models,
        inputs=None,
        verdict="not established",
    )
    return [difference, reach]
