"""What other projectors do in the model's place: each of them, one against another, and whether size matters."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, known
from chiasm.core.statistics.bands import ALPHA
from chiasm.core.statistics.correlation import correlate
from chiasm.results.series import in_order
from chiasm.studies.project.judging import (
    GUESSING,
    MACRO,
    MACRO_LESS,
    Gap,
    Level,
    class_count,
    gap_claims,
    guessed,
    level_claims,
)
from chiasm.studies.project.scores import Runs, paired
from chiasm.studies.project.tables import OWN

_MIN_TREND = 6
"""Of fewer projectors no rank correlation could be told from chance."""


def capacity_claims(aligned: pl.DataFrame, predictions: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """For every domain and setting in which other projectors were tuned; the model's own stands beside them."""
    levels, pairs, trends = [], [], []
    parameters = dict(aligned.select("projector", "parameters").iter_rows())
    others = predictions.filter(pl.col("projector") != OWN).select("domain", "setting").unique(maintain_order=True)
    for domain, setting in others.iter_rows():
        rows = predictions.filter(domain=domain, setting=setting)
        classes = class_count(predictions.filter(domain=domain), "parsed", "constrained")
        runs = {name: run for name in in_order(rows, "projector") if (run := Runs.of(rows.filter(projector=name)))}
        where = f"{domain}, {setting}"
        for name, run in runs.items():
            levels.append(Level("capacity", f"{where}, {name}", MACRO, run.macro_f1, GUESSING, guessed(run, classes)))
        for pair in combinations(runs, 2):
            one, other = sorted(pair, key=lambda name: -runs[name].macro_f1.mean)
            if runs[one].answers.keys() & runs[other].answers.keys():
                gap, level = paired(runs[one], runs[other]), runs[other].macro_f1.mean
                pairs.append(Gap("capacities", f"{where}, {one} against {other}", MACRO_LESS, gap, other, level))
        sizes = {name: run.macro_f1.mean for name, run in runs.items() if name != OWN and name in parameters}
        trends.append(
            (where, [parameters[name] for name in sizes], list(sizes.values()), rows["example_id"].n_unique())
        )
    found = level_claims(levels, least) + gap_claims(pairs, least)
    return found + [one for trend in trends if (one := _trend(*trend, tests=len(trends), seed=seed)) is not None]


def _trend(
    where: str, sizes: Sequence[float], scores: Sequence[float], inputs: int, *, tests: int, seed: int
) -> Claim | None:
    if len(sizes) < _MIN_TREND or len(set(sizes)) < 2 or len(set(scores)) < 2:
        return None
    rank = correlate(np.array(sizes, dtype=np.float64), np.array(scores), seed=seed)
    p = min(1.0, tests * rank.p)
    return Claim(
        kind="trend",
        about=where,
        quantity=f"rank correlation of a projector's parameters and its macro-F1, {len(sizes)} projectors",
        unit="1",
        effect=rank.spearman,
        low=known(rank.spearman_low),
        high=known(rank.spearman_high),
        p=p,
        n=len(sizes),
        inputs=inputs,
        # Projectors of one kind are no independent draws, and size is not all they differ in.
        verdict="uncontrolled"
        if p <= ALPHA and (rank.spearman_low > 0 or rank.spearman_high < 0)
        else "not established",
    )
