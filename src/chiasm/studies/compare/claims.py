"""What a comparison of models says: how well each answers, and whether the alignment score goes with it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.correlation import Relation, relations
from chiasm.studies.compare.tables import RELATED, SMALLEST

MEAN_TOKEN = "mean_token"
ACCURACY = "accuracy"
QUANTITY = "Spearman's correlation over models"


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm compare`, from its tables alone: `compare`, and `outcomes` where it is there.

    Every correlation is uncontrolled, since models that differ in score differ in more. Intervals and p-values hold
    for all scores against accuracy at once, and for both scores (mean token) against all other outcomes at once; that
    models share weights, data or training is left out of account.

    `smallest`: the smallest correlation worth naming.
    """
    scores, outcomes = tables["compare"], tables.get("outcomes")
    least = SMALLEST if smallest is None else smallest
    answered = None if outcomes is None else outcomes.filter(task="qa", metric="accuracy")
    asked = {} if answered is None else dict(answered.select("model", "n").iter_rows())
    models = scores.unique("model", keep="first", maintain_order=True).filter(pl.col("accuracy").is_not_null())
    found = [accuracy_claim(row, row["model"], asked.get(row["model"])) for row in models.iter_rows(named=True)]
    found += [_score(row) for row in scores.filter(statistic=MEAN_TOKEN).iter_rows(named=True)]
    right = {row["model"]: row["accuracy"] for row in models.iter_rows(named=True)}
    found += _related("relation", scores, {ACCURACY: right}, least, seed)
    if outcomes is not None:
        chosen = outcomes.filter(pl.col("metric").is_in(RELATED), pl.col("value").is_not_null())
        measured = {
            f"{metric} ({task})": dict(rows.select("model", "value").iter_rows())
            for (task, metric), rows in chosen.group_by(["task", "metric"], maintain_order=True)
        }
        found += _related("outcome", scores.filter(statistic=MEAN_TOKEN), measured, least, seed)
    return found


def accuracy_claim(row: Mapping, model: str, n: int | None) -> Claim:
    """The share of right answers of one model: a level, which is compared with nothing."""
    low, high = row["accuracy_low"], row["accuracy_high"]
    return Claim(
        kind=ACCURACY,
        about=model,
        quantity="share of right answers",
        unit="%",
        effect=100 * row["accuracy"],
        low=None if low is None else 100 * low,
        high=None if high is None else 100 * high,
        n=row["n"] if n is None else n,
        verdict=judged(
            100 * row["accuracy"], low, high, smallest=0.0, inputs=row["n"] if n is None else n, controlled=None
        ),
    )


def _score(row: Mapping) -> Claim:
    """The score of one model: a level, which is compared with nothing."""
    return Claim(
        kind="score",
        about=f"{row['name']} of {row['a']} and {row['b']} in {row['model']}",
        quantity="alignment score",
        unit="1",
        effect=row["value"],
        low=row["low"],
        high=row["high"],
        n=row["n"],
        verdict=judged(row["value"], row["low"], row["high"], smallest=0.0, inputs=row["n"], controlled=None),
    )


def _related(
    kind: str, scores: pl.DataFrame, outcomes: Mapping[str, Mapping[str, float]], least: float, seed: int
) -> list[Claim]:
    columns = scores.select("name", "statistic", "a", "b").unique(maintain_order=True).rows()
    models = list(dict.fromkeys(scores["model"]))
    about = ("model", "name", "statistic", "a", "b")
    values = {tuple(row[key] for key in about): row["value"] for row in scores.to_dicts()}
    whole = [model for model in models if all((model, *column) in values for column in columns)]
    pairs = [
        (f"{name} ({statistic.replace('_', ' ')}) of {a} and {b} with {outcome}", i, j)
        for j, outcome in enumerate(outcomes)
        for i, (name, statistic, a, b) in enumerate(columns)
    ]
    if not pairs or len(whole) < 2:
        return []
    x = np.array([[values[model, *column] for column in columns] for model in whole])
    y = np.array([[of.get(model, math.nan) for of in outcomes.values()] for model in whole])
    found = relations(x, y, [(i, j) for _, i, j in pairs], seed=seed)
    power = power_claim("power", kind, found)
    return power + [relation_claim(kind, about, one, least) for (about, _, _), one in zip(pairs, found, strict=True)]


def relation_claim(kind: str, about: str, one: Relation, least: float) -> Claim:
    """A correlation over models; NaN where one of the two does not vary, which no claim can hold, counts as 0."""
    value, p = one.spearman, known(one.p)
    return Claim(
        kind=kind,
        about=about,
        quantity=QUANTITY if not math.isnan(value) else f"{QUANTITY}, none: no spread",
        unit="1",
        effect=0.0 if math.isnan(value) else value,
        low=known(one.low),
        high=known(one.high),
        p=p,
        n=one.n,
        verdict=judged(value, one.low, one.high, smallest=least, inputs=None, p=p, controlled=None),
    )


def power_claim(kind: str, about: str, found: Sequence[Relation]) -> list[Claim]:
    """The least p-value that so many models can give, looked at together; 1 where nothing can be tested."""
    if not found:
        return []
    return [
        Claim(
            kind=kind,
            about=about,
            quantity="least p-value that so many models can give",
            unit="1",
            effect=min((one.smallest for one in found if not math.isnan(one.smallest)), default=1.0),
            n=max(one.n for one in found),
            verdict="not established",
        )
    ]
