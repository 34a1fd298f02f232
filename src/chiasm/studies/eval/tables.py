"""The tables of `chiasm eval`: the answers themselves, and what is measured of them."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import EXAMPLE, EXAMPLES, TYPE

METRIC = Column("metric", "string", "Measure", "", "Name of the measure, such as vqa_accuracy, cider_d, chair_i.")
_SHOWN = Column("shown", "string", "Shown", "", "image, or blank: every image replaced by mid-grey, as a control.")
_VALUES = {
    "value": ("Value", "A share of 1, or the measure's own scale; missing with nothing to divide by."),
    "low": ("Lower", "Of the 95 % interval over inputs; missing where they are too few."),
    "high": ("Upper", "Of the 95 % interval over inputs."),
}
VALUE = tuple(Column(name, "float", title, "", text, nullable=True) for name, (title, text) in _VALUES.items())

EVAL = TableSchema(
    "eval",
    (
        EXAMPLE,
        TYPE,
        Column("answer", "string", "Answer", "", "The labelled answer."),
        Column("generated", "string", "Generated", "", "The model's greedy answer."),
        Column("correct", "bool", "Correct", "", "Equal after stripping and lower-casing."),
    ),
)

BLIND = TableSchema("blind", EVAL.columns)  # the same questions, every image replaced by mid-grey

METRICS = TableSchema(
    "metrics",
    (
        METRIC,
        Column("type", "string", "Question type", "", "Group of examples; `all` is every one."),
        _SHOWN,
        *VALUE,
        Column("n", "int", "Answers", "", "Answers that count: for precision those that say yes."),
    ),
)

SCORES = TableSchema(
    "scores",
    (
        EXAMPLE,
        TYPE,
        METRIC,
        _SHOWN,
        Column("part", "float", "Part", "", "What this answer adds to the upper half of the measure's ratio."),
        Column("whole", "float", "Whole", "", "What it adds to the lower half; the measure is the ratio of the sums."),
    ),
)

TABLES = (EXAMPLES, EVAL, BLIND, METRICS, SCORES)
