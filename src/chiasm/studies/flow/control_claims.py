"""Effects judged beside their controls: of cuts and of single heads alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from chiasm.core.claims import Claim
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import Bands
from chiasm.studies.flow.control_effects import ControlEffects, NullEffect
from chiasm.studies.flow.sweep import Sweep


class Judged(NamedTuple):
    """The claim of one effect, what each control says of it, and the control that comes nearest to it, on its side of
    0 (None: no control stands beside enough of the examples)."""

    claim: Claim
    nulls: tuple[NullEffect, ...]
    nearest: NullEffect | None


def judged_beside(
    data: Sweep, bands: Bands, beside: Sequence[ControlEffects], *, kind: str, quantity: str, least: float
) -> list[Judged]:
    """Every column of `data`, whose means are `bands`: established where it goes beyond all controls beside it.

    `least`: the smallest effect worth naming (nat).
    """
    found = []
    for k, ((about, *_), where) in enumerate(zip(data.columns, data.places(), strict=True)):
        effect = float(bands.mean[k])
        nulls = tuple(one.at(k, effect) for one in beside if one.counts(k, int(bands.n[k])))
        nearest = max(nulls, key=lambda one: (not one.beyond, np.sign(effect) * one.mean), default=None)
        claim = column_claim(
            bands,
            k,
            kind=kind,
            about=about,
            where=where,
            quantity=quantity,
            unit="nat",
            smallest=least,
            inputs=len(set(np.array(data.inputs)[data.present[:, k]])),
            controlled=None if nearest is None else all(one.beyond for one in nulls),
            control=None if nearest is None else nearest.name,
            control_effect=None if nearest is None else nearest.mean,
        )
        found.append(Judged(claim, nulls, nearest))
    return found


def difference_claim(effect: Claim, control: NullEffect, kind: str) -> Claim:
    """The difference of an effect to a control: a condition of the effect, which is what is established or not."""
    return control.claim(effect, kind, f"{effect.quantity}, less that of the control")


def beyond_claims(effect: Claim, control: NullEffect, *, of: str = "", within: str = "at any layer") -> list[Claim]:
    """The difference of an effect to its control, and how far one more random model may go, where that is the control.

    `of`: what their kinds begin with; `within`: where such a model was free to do the most.
    """
    difference = difference_claim(effect, control, f"{of}beyond")
    if control.reach is None:
        return [difference]
    reach = replace(
        difference,
        kind=f"{of}reach",
        quantity=f"size of the largest change {within} that one more random model may show, 95 % bound",
        effect=control.reach,
        low=None,
        high=None,
        p=None,
        n=control.models,
        inputs=None,
        verdict="not established",
    )
    return [difference, reach]
