"""The tables of `chiasm eval` beside the answers themselves, and of comparisons of models by what it measures."""

from chiasm.core.schema import Column, TableSchema
from chiasm.studies.align.tables import CORRELATION

_METRIC = Column("metric", "string", "Measure", "", "Name of the measure, such as vqa_accuracy, cider_d, chair_i.")
_SHOWN = Column("shown", "string", "Shown", "", "image, or blank: every image replaced by mid-grey, as a control.")


def _maybe(name: str, title: str, description: str) -> Column:
    return Column(name, "float", title, "", description, nullable=True)


METRICS = TableSchema(
    "metrics",
    (
        _METRIC,
        Column("type", "string", "Question type", "", "Group of examples; `all` is every one."),
        _SHOWN,
        _maybe("value", "Value", "A share of 1, or the measure's own scale; missing with nothing to divide by."),
        _maybe("low", "Lower", "Of the 95 % interval over inputs; missing where they are too few."),
        _maybe("high", "Upper", "Of the 95 % interval over inputs."),
        Column("n", "int", "Answers", "", "Answers that count: for precision those that say yes."),
    ),
)

SCORES = TableSchema(
    "scores",
    (
        Column("example_id", "string", "Example", "", "Identifier of the example in the data."),
        Column("type", "string", "Question type", "", "Group of the example."),
        _METRIC,
        _SHOWN,
        Column("part", "float", "Part", "", "What this answer adds to the upper half of the measure's ratio."),
        Column("whole", "float", "Whole", "", "What it adds to the lower half; the measure is the ratio of the sums."),
    ),
)

_TASK = Column("task", "string", "Task", "", "What was asked: qa, caption, or pope-MODE.")
_KIND = Column("kind", "string", "Kind", "", "performance, or hallucination.")

OUTCOME = TableSchema(
    "outcomes",
    (
        Column("model", "string", "Model", "", "Name of the model, checkpoint or variant."),
        _TASK,
        _METRIC,
        _KIND,
        _maybe("value", "Value", "A share of 1, or the measure's own scale; missing with nothing to divide by."),
        _maybe("low", "Lower", "Of the 95 % interval over inputs; missing where they are too few."),
        _maybe("high", "Upper", "Of the 95 % interval over inputs."),
        Column("n", "int", "Answers", "", "Answers that count."),
    ),
)

OUTCOME_CORRELATION = TableSchema(
    "outcome_correlation", (_TASK, _METRIC, _KIND, *(column for column in CORRELATION.columns))
)

EVALUATION = (METRICS, SCORES, OUTCOME, OUTCOME_CORRELATION)
