"""Whether the alignment score goes with accuracy over models, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.statistics.correlation import MIN_POINTS
from chiasm.core.statistics.intervals import holm
from chiasm.results.findings import Finding
from chiasm.results.wording import estimate

ENOUGH = 8
"""With fewer models figures and sentences say that they are too few."""


def compare_findings(rows: pl.DataFrame, related: pl.DataFrame, outcomes: pl.DataFrame | None = None) -> list[Finding]:
    """One finding per score and statistic, and what the number of models allows to say. `outcomes` have the numbers
    of questions."""
    models = rows["model"].n_unique()
    found = []
    for row in _corrected(related.filter(pl.col("models") >= MIN_POINTS)):
        name = f"{row['name']} ({row['statistic'].replace('_', ' ')})"
        if row["spearman"] is None:
            found.append(Finding(f"{name} or accuracy is the same for all {models} models.", 10.0))
            continue
        found.append(_relation(row, name, "accuracy", 18.0 if row["statistic"] == "mean_token" else 0.0))
    if models < MIN_POINTS:
        found.append(Finding(f"n = {models} models cannot show a relation; {MIN_POINTS} give an interval.", 95.0))
    elif models < ENOUGH:
        smallest = related["smallest"].drop_nulls()
        least = f": the least p-value that they can give is {smallest.min():.2g}" if len(smallest) else ""
        text = (
            f"n = {models} models are too few to say much{least}, before any correction for what is looked at together."
        )
        found.append(Finding(text, 95.0))
    known = rows.filter(pl.col("accuracy").is_not_null()).unique("model", keep="first", maintain_order=True)
    by = known.sort("accuracy", maintain_order=True)
    if by.height:
        worst, best = by.row(0, named=True), by.row(-1, named=True)
        answered = None if outcomes is None else outcomes.filter(task="qa", metric="accuracy")
        n = {} if answered is None else dict(answered.select("model", "n").iter_rows())
        low, high = (f"{accuracy_of(row, n.get(row['model']))} in {row['model']}" for row in (worst, best))
        found.append(Finding(f"Accuracy reaches from {low} to {high}.", 40.0))
    else:
        found.append(Finding("The examples have no labels, so there is no accuracy; see the other measures.", 45.0))
    return sorted(found, key=lambda finding: -finding.strength)


def accuracy_of(row: Mapping[str, Any], n: int | None = None) -> str:
    """The accuracy of a model with its interval."""
    return estimate(row["accuracy"], row["accuracy_low"], row["accuracy_high"], n, unit="%", scale=100.0)


def outcome_findings(related: pl.DataFrame) -> list[Finding]:
    """Whether the score (mean token) goes with each other outcome, above all with what models make up."""
    found = []
    enough = (pl.col("statistic") == "mean_token") & (pl.col("models") >= MIN_POINTS)
    for row in _corrected(related.filter(enough)):
        metric = ANSWER_METRICS[row["metric"]]
        direction = "more is better" if metric.more_is_better else "less is better"
        what = f"{metric.title} ({row['task']}; {direction})"
        if row["spearman"] is None:
            found.append(Finding(f"{row['name']} or {what} is the same for all {row['models']} models.", 9.0))
            continue
        found.append(_relation(row, row["name"], what, 15.0 if row["kind"] == "hallucination" else 0.0))
    return found


def _corrected(related: pl.DataFrame) -> Iterator[dict]:
    """Every row with `p_holm`, corrected for all `tests` that are looked at together."""
    p = related["p"].to_numpy()
    tests = int(np.isfinite(p).sum())
    corrected = np.full(len(p), np.nan)
    corrected[np.isfinite(p)] = holm(p[np.isfinite(p)]) if tests else []
    for row, value in zip(related.iter_rows(named=True), corrected, strict=True):
        yield row | {"p_holm": float(value), "tests": tests}


def _relation(row: dict, name: str, what: str, weight: float) -> Finding:
    """Whether `name` goes with `what`; `weight` is added to the strength."""
    settled = row["p_holm"] <= 0.05
    how = "goes with" if row["spearman"] > 0 else "goes against"
    relation = how if settled else f"is not shown to go with or against (its sign: {how})"
    bounds, missing = (row["pearson_low"], row["pearson_high"]), "no interval: in perfect order"
    text = (
        f"{name} {relation} {what} over n = {row['models']} models: Spearman {row['spearman']:.2f} "
        f"(p = {row['p']:.2g}; {row['p_holm']:.2g} corrected for {row['tests']} of them), Pearson "
        f"{estimate(row['pearson'], *bounds, digits=2, missing=missing)}."
    )
    return Finding(text, 50.0 + 30.0 * settled + 5.0 * abs(row["spearman"]) + weight)
