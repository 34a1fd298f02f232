"""What every study's tables share. Other tools read them by these names: a column may be added, none renamed."""

from chiasm.core.schema import Column, TableSchema

EXAMPLE = Column("example_id", "string", "Example", "", "Identifier of the example in the data.")
TYPE = Column("type", "string", "Question type", "", "Group of the example that results are averaged in.")
EXAMPLES = TableSchema(
    "examples",
    (
        EXAMPLE,
        TYPE,
        Column("question", "string", "Question", "", "As asked, without the instruction."),
        Column("answer", "string", "Answer", "", "The labelled answer."),
        Column(
            "input",
            "string",
            "Input",
            "",
            "Which image (video, sound) the example asks about; examples with the same one are resampled together.",
        ),
    ),
)

RANDOM_WEIGHTS = "twin"
"""In the column `control`: the same in a model of the same shape with random weights."""
