"""What figures and tables show of settings, references and projectors: levels with intervals over images and seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.statistics.intervals import Estimate
from chiasm.results.series import in_order
from chiasm.studies.project.choice import named
from chiasm.studies.project.scores import score_of
from chiasm.studies.project.tables import OWN


def best_setting(tuning: pl.DataFrame) -> str:
    """The setting whose macro-F1 is highest, meaned over seeds."""
    means = tuning.group_by("setting", maintain_order=True).agg(pl.col("macro_f1").mean()).sort("macro_f1")
    return means["setting"][-1]


def reference_mean(references: pl.DataFrame | None, domain: str, reference: str) -> float | None:
    """Macro-F1 of what needs no language model, over seeds; None where it was not measured."""
    rows = None if references is None else references.filter(domain=domain, reference=reference)["macro_f1"]
    return None if rows is None or not len(rows) else float(rows.mean())  # type: ignore[arg-type]


def claimed(claims: Sequence[Claim], kind: str, *about: str) -> Estimate | None:
    """What a claim says, as figures and tables draw it; None where there is no such claim."""
    one = named(claims, kind, *about)
    if one is None:
        return None
    low, high = (math.nan if bound is None else bound for bound in (one.low, one.high))
    return Estimate(np.array(one.effect), np.array(low), np.array(high), one.n)


def shown_score(claims: Sequence[Claim], predictions: pl.DataFrame, domain: str, setting: str) -> Estimate | None:
    """Macro-F1 of a setting with the interval of its claim; without claims with one of its own."""
    return claimed(claims, "score", domain, setting) or score_of(predictions, domain, setting)


class Capacity(NamedTuple):
    """One projector under one setting. `parameters`: that it learns; `score`: macro-F1 of free answers."""

    projector: str
    parameters: int
    tokens: int
    score: Estimate


def capacities(
    aligned: pl.DataFrame, predictions: pl.DataFrame, domain: str, setting: str, claims: Sequence[Claim] = ()
) -> list[Capacity]:
    """Every projector that was tuned in this setting on this domain, the smallest first."""
    found = []
    for name in in_order(aligned, "projector"):
        score = claimed(claims, "capacity", domain, setting, name) or score_of(predictions, domain, setting, name)
        if score is not None:
            own = aligned.filter(projector=name)
            found.append(Capacity(name, own["parameters"][0], own["tokens"][0], score))
    return sorted(found, key=lambda one: (one.parameters, one.projector))


def swept(tuning: pl.DataFrame) -> list[tuple[str, str]]:
    """The domains and settings in which other projectors were tuned."""
    others = tuning.filter(pl.col("projector") != OWN)
    return others.select("domain", "setting").unique(maintain_order=True).rows()
