"""What an evaluation found, in words: right answers beside guessing, and other measures beside the blind control."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.statistics.intervals import mean_interval
from chiasm.results.findings import Finding
from chiasm.results.series import in_order, inputs_of, majority, of_type, right_share
from chiasm.results.wording import estimate, metric_format, percent, share

_ONE_INPUT = "no interval from questions on one input"


def eval_findings(answers: pl.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Three findings on accuracy: overall against guessing, the best type, the worst type.

    Against guessing, question by question: the most frequent answer of a type is known from the same labels, which
    favours guessing.
    """
    frequent = (
        answers.group_by("type", "answer")
        .len()
        .sort("len", "answer", descending=[True, False])
        .unique("type", keep="first")
    )
    guessed = answers.join(frequent.select("type", guessed="answer"), on="type", maintain_order="left")
    gained = guessed.select(pl.col("correct").cast(pl.Float64) - (pl.col("answer") == pl.col("guessed")))
    lead = mean_interval(gained.to_series().to_numpy(), clusters=inputs_of(answers), seed=seed)
    beats = "above" if lead.low > 0 else "not significantly above"
    text = (
        f"{share(right_share(answers), missing=_ONE_INPUT)} of {answers.height} questions are answered correctly, "
        f"{beats} the {percent(majority(answers))} of always giving the most frequent answer of the type."
    )
    found = [Finding(text, 100.0)]
    by_type = {name: right_share(of_type(answers, name)) for name in in_order(answers, "type")}
    ranked = sorted(by_type, key=lambda name: float(by_type[name].mean))
    for strength, word, name in ((50.0, "best", ranked[-1]), (49.0, "worst", ranked[0])):
        rows = of_type(answers, name)
        text = (
            f"The model is {word} at {name}: {share(by_type[name], missing=_ONE_INPUT)} of {rows.height} right, where "
            f"the most frequent answer would reach {percent(majority(rows))}."
        )
        found.append(Finding(text, strength))
    return found


def metric_findings(metrics: pl.DataFrame, answers: pl.DataFrame) -> list[Finding]:
    """One finding per measure over all examples, in the order of the table, beside what a blind model reaches.

    Measures that only describe (lengths, the share of yes) stand beside those that they explain.
    """
    found = []
    rows = metrics.filter(type="all", shown="image")
    blank = metrics.filter(type="all", shown="blank")
    for place, row in enumerate(rows.iter_rows(named=True)):
        name = row["metric"]
        metric = ANSWER_METRICS[name]
        if metric.kind == "description" or name == "accuracy":
            continue
        parts = [f"{metric.title[0].upper()}{metric.title[1:]} {_value(row)}"]
        parts += [f"with the image blanked {_value(one)}" for one in blank.filter(metric=name).iter_rows(named=True)]
        context = _context(name, rows, answers)
        found.append(Finding("; ".join([*parts, *([context] if context else [])]) + ".", 90.0 - place))
    return found


def _value(row: Mapping[str, Any]) -> str:
    """The value with its interval, or why there is none."""
    if row["value"] is None:
        return "has nothing to divide by"
    options = metric_format(ANSWER_METRICS[row["metric"]])
    return estimate(row["value"], row["low"], row["high"], row["n"], missing="too few for an interval", **options)


def _context(name: str, rows: pl.DataFrame, answers: pl.DataFrame) -> str:
    """What the number has to be read beside: always saying yes, or how many words the texts have."""
    if name == "pope_f1":
        share_of_yes = float((answers["answer"].str.to_lowercase() == "yes").mean() or 0)
        yes, unclear = (float(rows.filter(metric=other)["value"][0]) for other in ("pope_yes_share", "pope_unclear"))
        neither = f", {percent(unclear, 1)} say neither yes nor no and count as yes" if unclear > 0 else ""
        best = 2 * share_of_yes / (1 + share_of_yes)
        return f"always yes would reach {percent(best, 1)}, and {percent(yes, 1)} of answers are yes{neither}"
    words = rows.filter(metric="caption_words")
    if name in ("chair_i", "chair_s", "cider_d") and words.height:
        return f"at {words['value'][0]:.1f} words a text"
    return ""
