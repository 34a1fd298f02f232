"""All tables of `chiasm align`. Other tools read them by these names: adding a column is possible, renaming is not."""

from chiasm.core.schema import Column, TableSchema
from chiasm.studies.align.measured import EXTENTS, MEASURED, OVERLAP_RELEASED, SCORE
from chiasm.studies.paper.tables import PAPER


def _maybe(name: str, title: str, description: str) -> Column:
    return Column(name, "float", title, "", description, nullable=True)


COMPARE = TableSchema(
    "compare",
    (
        Column("model", "string", "Model", "", "Name of the model, checkpoint or variant."),
        *SCORE.columns,
        _maybe("accuracy", "Accuracy", "Share of the same questions answered right; missing where none has a label."),
        _maybe("accuracy_low", "Accuracy, lower", "Of the 95 % interval; questions on one picture count together."),
        _maybe("accuracy_high", "Accuracy, upper", "Of the 95 % interval."),
    ),
)


CORRELATION = TableSchema(
    "correlation",
    (
        *(c for c in SCORE.columns if c.name in ("name", "statistic", "a", "b")),
        _maybe("pearson", "Pearson", "Of score and accuracy over models; missing without spread."),
        _maybe("pearson_low", "Pearson, lower", "Of the 95 % interval; missing below four models."),
        _maybe("pearson_high", "Pearson, upper", "Of the 95 % interval."),
        _maybe("spearman", "Spearman", "The same of ranks."),
        _maybe("spearman_low", "Spearman, lower", "Of the 95 % interval; missing below four models."),
        _maybe("spearman_high", "Spearman, upper", "Of the 95 % interval."),
        _maybe("p", "p-value", "Two-sided, of Spearman, by permuting models."),
        _maybe("smallest", "Least p-value", "That so many models can give."),
        Column("models", "int", "Models", "", "How many points the correlation rests on."),
    ),
)

_CONTROL = Column(
    "control",
    "string",
    "Control",
    "",
    "noise: random tokens for the image; twin: random weights; apart: no attention between them.",
)
ALIGN = (
    *PAPER,
    EXTENTS,
    COMPARE,
    CORRELATION,
    *MEASURED,
    OVERLAP_RELEASED,
    *(s.plus(f"{s.name}_controls", _CONTROL) for s in MEASURED),
)
NOISE_TOKENS = "noise"
APART = "apart"
