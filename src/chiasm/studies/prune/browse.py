"""The examples of a pruning run one by one: what was answered under Wanda's masks of all types, level by level."""

import polars as pl

from chiasm.results.examples import Answered, Browsed, ShownExample, first_shown
from chiasm.studies.prune.scores import Level
from chiasm.studies.prune.tables import DENSE, POOLED


def browsed(pruned: pl.DataFrame, examples: pl.DataFrame) -> Browsed:
    """Examples that the untouched model answered."""
    questions = dict(examples.select("example_id", "question").iter_rows())
    wanda = (pl.col("mask") == "wanda") & (pl.col("calibration") == POOLED)
    own, total = first_shown(pruned.filter((pl.col("mask") == DENSE) | wanda))
    shown = []
    for (name,), rows in own.group_by(["example_id"], maintain_order=True):
        dense = next((row for row in rows.iter_rows(named=True) if row["mask"] == DENSE), None)
        if dense is None:
            continue
        masked = [row for row in rows.iter_rows(named=True) if row["mask"] != DENSE]
        answers = [Answered("untouched", dense["generated"], dense["correct"])]
        for row in masked:
            level = Level(row["sparsity"], row["pattern"], row["part"])
            answers.append(Answered(f"Wanda, {level}", row["generated"], row["correct"]))
        worst = min(masked, key=lambda row: row["logprob"], default=None)
        lost, under = None, ""
        if worst is not None:
            lost = dense["logprob"] - worst["logprob"]
            under = f"at {Level(worst['sparsity'], worst['pattern'], worst['part'])}"
        question = questions.get(name, "")
        shown.append(ShownExample(str(name), dense["type"], question, dense["answer"], tuple(answers), lost, under))
    return Browsed(shown, "most log-probability lost under Wanda", "nat", total=total)
