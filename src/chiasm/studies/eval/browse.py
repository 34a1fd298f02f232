"""The questions of an evaluation one by one: what was answered, and what without the image."""

import polars as pl

from chiasm.results.examples import Answered, Browsed, ShownExample, first_shown


def browsed(answers: pl.DataFrame, examples: pl.DataFrame, blind: pl.DataFrame | None, *, scored: bool) -> Browsed:
    """`scored`: answers are right or wrong; else they are texts that measures judge."""
    answers, total = first_shown(answers)
    without = {} if blind is None else {row["example_id"]: row for row in _of(blind, answers).iter_rows(named=True)}
    questions = dict(_of(examples, answers).select("example_id", "question").iter_rows())
    shown = []
    for row in answers.iter_rows(named=True):
        name = row["example_id"]
        given = [("the model", row), *([("image blanked", without[name])] if name in without else [])]
        said = tuple(Answered(by, one["generated"], one["correct"] if scored else None) for by, one in given)
        shown.append(ShownExample(name, row["type"], questions.get(name, ""), row["answer"], said))
    return Browsed(shown, wrong_first=True, total=total)


def _of(rows: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    return rows.join(answers.select("example_id"), on="example_id", how="semi", maintain_order="left")
