"""The examples of a skipping run one by one: what was answered under each plan that changes the answer."""

import polars as pl

from chiasm.results.examples import Answered, Browsed, ShownExample, first_shown
from chiasm.studies.skip.tables import CONTROLS, NONE


def browsed(verdicts: pl.DataFrame, examples: pl.DataFrame) -> Browsed:
    """Examples that were answered under every plan; controls are left out."""
    questions = dict(examples.select("example_id", "question").iter_rows())
    own, total = first_shown(verdicts.filter(~pl.col("kind").is_in(CONTROLS)))
    shown = []
    for (name,), rows in own.group_by(["example_id"], maintain_order=True):
        plain = next((row for row in rows.iter_rows(named=True) if row["plan"] == NONE), None)
        if plain is None:
            continue
        others = [row for row in rows.iter_rows(named=True) if row["plan"] != NONE]
        changed = [row for row in others if row["generated"] != plain["generated"]]
        answers = [Answered("the plain model", plain["generated"], plain["correct"])]
        answers += [Answered(f"under {row['plan']}", row["generated"], row["correct"]) for row in changed]
        worst = min(others, key=lambda row: row["logprob"], default=None)
        lost, under = (None, "") if worst is None else (plain["logprob"] - worst["logprob"], f"under {worst['plan']}")
        question = questions.get(name, "")
        shown.append(ShownExample(str(name), plain["type"], question, plain["answer"], tuple(answers), lost, under))
    return Browsed(shown, "most log-probability lost under any one plan", "nat", total=total)
