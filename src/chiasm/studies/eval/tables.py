"""The tables of `chiasm eval`: the answers themselves, and what is measured of them."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import EXAMPLE, EXAMPLES, TYPE

SMALLEST = 2.0
"""The smallest difference worth naming: points of accuracy, or hundredths of the range of a measure."""

METRIC = text("metric", "Measure", "Name of the measure, such as vqa_accuracy, cider_d, chair_i.")
_SHOWN = text("shown", "Shown", "image, or blank: every image replaced by mid-grey, as a control.")
_VALUES = {
    "value": ("Value", "A share of 1, or the measure's own scale; missing with nothing to divide by."),
    "low": ("Lower", "Of the 95 % interval over inputs; missing where they are too few."),
    "high": ("Upper", "Of the 95 % interval over inputs."),
}
VALUE = tuple(number(name, title, text, nullable=True) for name, (title, text) in _VALUES.items())

EVAL = TableSchema.of(
    "eval",
    EXAMPLE,
    TYPE,
    text("answer", "Answer", "The labelled answer."),
    text("generated", "Generated", "The model's greedy answer."),
    flag("correct", "Correct", "Equal after stripping and lower-casing."),
)

BLIND = TableSchema("blind", EVAL.columns)  # the same questions, every image replaced by mid-grey

METRICS = TableSchema.of(
    "metrics",
    METRIC,
    text("type", "Question type", "Group of examples; `all` is every one."),
    _SHOWN,
    *VALUE,
    integer("n", "Answers", "Answers that count: for precision those that say yes."),
)

SCORES = TableSchema.of(
    "scores",
    EXAMPLE,
    TYPE,
    METRIC,
    _SHOWN,
    number("part", "Part", "What this answer adds to the upper half of the measure's ratio."),
    number("whole", "Whole", "What it adds to the lower half; the measure is the ratio of the sums."),
)

TABLES = (EXAMPLES, EVAL, BLIND, METRICS, SCORES)
