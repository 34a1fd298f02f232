"""What figures and tables show of settings, references and projectors: levels with intervals over images and seeds."""

from typing import NamedTuple

import polars as pl

from chiasm.core.statistics.intervals import Estimate
from chiasm.results.series import in_order
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


class Capacity(NamedTuple):
    """One projector under one setting. `parameters`: that it learns; `score`: macro-F1 of free answers."""

    projector: str
    parameters: int
    tokens: int
    score: Estimate


def capacities(aligned: pl.DataFrame, predictions: pl.DataFrame, domain: str, setting: str) -> list[Capacity]:
    """Every projector that was tuned in this setting on this domain, the smallest first."""
    found = []
    for name in in_order(aligned, "projector"):
        score = score_of(predictions, domain, setting, name)
        if score is not None:
            own = aligned.filter(projector=name)
            found.append(Capacity(name, own["parameters"][0], own["tokens"][0], score))
    return sorted(found, key=lambda one: (one.parameters, one.projector))


def swept(tuning: pl.DataFrame) -> list[tuple[str, str]]:
    """The domains and settings in which other projectors were tuned."""
    others = tuning.filter(pl.col("projector") != OWN)
    return others.select("domain", "setting").unique(maintain_order=True).rows()
