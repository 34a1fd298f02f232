"""The tables of `chiasm paper`: those of an alignment run, of several models at once."""

from chiasm.core.schema import Column, TableSchema
from chiasm.studies.align.tables import DRIFT, INSIDE, MAP, NORMS, OVERLAP, SCORE, SIMILARITY, VOCABULARY

TOGETHER = "together"
"""Stands for the model in rows over several models that share a decoder; spans then carry the model: `image [tiny]`."""

TOGETHER_BASELINES = "together, random weights"
"""Stands for the baselines of those models, read together; spans carry the names of the models they stand beside."""

_MODEL = Column(
    "model",
    "string",
    "Model",
    "",
    "Name of the model; `together`: models of one decoder, put together, and the same of their baselines.",
)

MODELS = TableSchema(
    "paper_models",
    (
        _MODEL,
        Column("data", "string", "Data", "", "What it was asked about."),
        Column("decoder", "string", "Decoder", "", "Hash of the decoder's weights: equal where models share it."),
        Column("stem", "string", "Checkpoint of", "", "For `NAME-STEPS` the name, otherwise empty."),
        Column("step", "int", "Step", "", "For `NAME-STEPS` the steps.", nullable=True),
        Column("accuracy", "float", "Accuracy", "", "Share of questions answered right."),
        Column("accuracy_low", "float", "Accuracy, lower", "", "Of Wilson's 95 % interval."),
        Column("accuracy_high", "float", "Accuracy, upper", "", "Of Wilson's 95 % interval."),
        Column("n", "int", "Examples", "", "How many questions."),
    ),
)


def _of_models(schema: TableSchema) -> TableSchema:
    return TableSchema(f"paper_{schema.name}", (_MODEL, *schema.columns))


MEASURED = tuple(_of_models(s) for s in (NORMS, DRIFT, SIMILARITY, INSIDE, VOCABULARY, MAP, OVERLAP, SCORE))
TASKS = TableSchema("paper_overlap_tasks", (_MODEL, *OVERLAP.columns))
TABLES = (MODELS, *MEASURED, TASKS)
