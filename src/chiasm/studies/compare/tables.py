"""The tables of `chiasm compare`."""

from chiasm.core.schema import Column, TableSchema, integer, number, text
from chiasm.studies.align.tables import SCORE
from chiasm.studies.eval.tables import METRIC, VALUE

RELATED = ("vqa_accuracy", "cider_d", "pope_f1", "chair_i", "chair_s")
"""The measures that are related to the score, fixed beforehand: with each more, one is likelier to fit by chance."""

SMALLEST = 0.1
"""Smallest correlation over models worth naming: one that explains 1 % of the variance of ranks."""

_MODEL = text("model", "Model", "Name of the model, checkpoint or variant.")
_TASK = text("task", "Task", "What was asked: qa, caption, or pope-MODE.")
_KIND = text("kind", "Kind", "performance, or hallucination.")


def _maybe(name: str, title: str, description: str) -> Column:
    return number(name, title, description, nullable=True)


OUTCOMES = TableSchema.of(
    "outcomes", _MODEL, _TASK, METRIC, _KIND, *VALUE, integer("n", "Answers", "Answers that count.")
)

COMPARE = TableSchema.of(
    "compare",
    _MODEL,
    *SCORE.columns,
    _maybe("accuracy", "Accuracy", "Share of the same questions answered right; missing where none has a label."),
    _maybe("accuracy_low", "Accuracy, lower", "Of the 95 % interval; questions on one image count together."),
    _maybe("accuracy_high", "Accuracy, upper", "Of the 95 % interval."),
)

CORRELATION = TableSchema.of(
    "correlation",
    *(c for c in SCORE.columns if c.name in ("name", "statistic", "a", "b")),
    _maybe("pearson", "Pearson", "Of score and accuracy over models; missing without spread."),
    _maybe("pearson_low", "Pearson, lower", "Of the 95 % interval; missing below four models."),
    _maybe("pearson_high", "Pearson, upper", "Of the 95 % interval."),
    _maybe("spearman", "Spearman", "The same of ranks."),
    _maybe("spearman_low", "Spearman, lower", "Of the 95 % interval; missing below four models."),
    _maybe("spearman_high", "Spearman, upper", "Of the 95 % interval."),
    _maybe("p", "p-value", "Two-sided, of Spearman, by permuting models."),
    _maybe("smallest", "Least p-value", "That so many models can give."),
    integer("models", "Models", "How many points the correlation rests on."),
)

OUTCOME_CORRELATION = TableSchema.of("outcome_correlation", _TASK, METRIC, _KIND, *CORRELATION.columns)

TABLES = (OUTCOMES, OUTCOME_CORRELATION, COMPARE, CORRELATION)
