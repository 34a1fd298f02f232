"""The tables of `chiasm paper`: those of an alignment run, of several models at once."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.studies.align.tables import DRIFT, INSIDE, MAP, NORMS, OVERLAP, PARTS, SCORE, SIMILARITY, VOCABULARY

TOGETHER = "together"
"""Stands for the model in rows over several models that share a decoder; spans then carry the model: `image [tiny]`."""

TOGETHER_BASELINES = "together, random weights"
"""Stands for the baselines of those models, read together; spans carry the names of the models they stand beside."""

_MODEL = text(
    "model",
    "Model",
    "Name of the model; `together`: models of one decoder, put together, and the same of their baselines.",
)

MODELS = TableSchema.of(
    "paper_models",
    _MODEL,
    text("data", "Data", "What it was asked about."),
    text("decoder", "Decoder", "Hash of the decoder's weights: equal where models share it."),
    text("stem", "Checkpoint of", "For `NAME-STEPS` the name, otherwise empty."),
    integer("step", "Step", "For `NAME-STEPS` the steps.", nullable=True),
    number("accuracy", "Accuracy", "Share of questions answered right."),
    number(
        "accuracy_low", "Accuracy, lower", "Of the 95 % interval; questions on one input count together.", nullable=True
    ),
    number("accuracy_high", "Accuracy, upper", "Of the 95 % interval.", nullable=True),
    integer("n", "Examples", "How many questions."),
    flag("baseline", "Baseline", "Whether it has random weights."),
)


def _of_models(schema: TableSchema) -> TableSchema:
    return TableSchema.of(f"paper_{schema.name}", _MODEL, *schema.columns)


MEASURED = tuple(_of_models(s) for s in (NORMS, DRIFT, SIMILARITY, INSIDE, VOCABULARY, MAP, OVERLAP, SCORE, PARTS))
TASKS = TableSchema.of("paper_overlap_tasks", _MODEL, *OVERLAP.columns)
TABLES = (MODELS, *MEASURED, TASKS)
