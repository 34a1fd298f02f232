"""Other projectors: how far each gets by its size and kind, as rows, a figure's numbers and a sentence."""

from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.correlation import correlate
from chiasm.core.statistics.intervals import Estimate
from chiasm.results.findings import Finding
from chiasm.studies.project.scores import pooled
from chiasm.studies.project.tables import OWN


class Capacity(NamedTuple):
    """One projector under one setting. `parameters`: that it learns; `score`: macro-F1 of free answers."""

    projector: str
    parameters: int
    tokens: int
    loss: float | None
    score: Estimate


def capacities(aligned: pl.DataFrame, predictions: pl.DataFrame, domain: str, setting: str) -> list[Capacity]:
    """Every projector that was tuned in this setting on this domain, the smallest first."""
    found = []
    for name in aligned["projector"].unique(maintain_order=True):
        score = pooled(predictions, domain, setting, name)
        if score is not None:
            own = aligned.filter(projector=name)
            loss = own["loss"].mean()
            told = None if loss is None else float(loss)  # type: ignore[arg-type]
            found.append(Capacity(name, own["parameters"][0], own["tokens"][0], told, score))
    return sorted(found, key=lambda one: (one.parameters, one.projector))


def swept(tuning: pl.DataFrame) -> list[tuple[str, str]]:
    """The domains and settings in which other projectors were tuned."""
    others = tuning.filter(pl.col("projector") != OWN)
    return others.select("domain", "setting").unique(maintain_order=True).rows()


def capacity_findings(tuning: pl.DataFrame, predictions: pl.DataFrame, aligned: pl.DataFrame | None) -> list[Finding]:
    """Which projector gets furthest, and whether larger ones do: a sentence for every domain and setting."""
    found = []
    for domain, setting in swept(tuning) if aligned is not None else ():
        assert aligned is not None
        rows = capacities(aligned, predictions, domain, setting)
        others = [one for one in rows if one.projector != OWN]
        best = max(others, key=lambda one: float(one.score.mean))
        own = next((one for one in rows if one.projector == OWN), None)
        text = (
            f"Of {len(others)} other projectors under {setting} on {domain}, `{best.projector}` "
            f"({best.parameters:,} parameters, {best.tokens} image tokens) gets furthest: macro-F1 {_told(best.score)}"
        )
        if own is not None:
            text += f"; the model's own ({own.parameters:,}, {own.tokens}) gets {_told(own.score)}"
        found.append(Finding(f"{text}{_trend(others)}; n = {best.score.n} pictures.", 45.0))
    return found


def _trend(others: list[Capacity]) -> str:
    """Rank correlation of size and score; below six projectors nothing could be told from chance."""
    if len(others) < 6:
        return ""
    sizes, scores = ([float(v) for v in values] for values in zip(*((o.parameters, o.score.mean) for o in others)))
    if len(set(sizes)) < 2 or len(set(scores)) < 2:
        return ""
    rank = correlate(np.array(sizes), np.array(scores))
    between = f"{rank.spearman_low:+.2f} to {rank.spearman_high:+.2f}, p = {rank.p:.2f}"
    return f"; rank correlation of size and macro-F1 over the {len(others)}: {rank.spearman:+.2f} ({between})"


def _told(score: Estimate) -> str:
    return f"{score.mean:.3f} ({score.low:.3f} to {score.high:.3f})"
