"""What every study's tables share. Other tools read them by these names: a column may be added, none renamed."""

from chiasm.core.schema import Column, TableSchema

EXAMPLE = Column("example_id", "string", "Example", "", "Identifier of the example in the data.")
TYPE = Column("type", "string", "Question type", "", "Group of the example that results are averaged in.")
EXAMPLES = TableSchema.of(
    "examples",
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
)

CONTROL = Column("control", "string", "Control", "", "twin: a model of the same shape with random weights.")
RANDOM_WEIGHTS = "twin"
"""In the column `control`: the same in a model of the same shape with random weights."""


def corners(shown: str = "image") -> tuple[Column, ...]:
    """Columns of a patch's place in what is `shown`; missing for tokens that have none."""
    names = {"x0": "Left", "y0": "Top", "x1": "Right", "y1": "Bottom"}
    where = f"Of the patch, in the original {shown}."
    return tuple(Column(name, "float", title, "px", where, nullable=True) for name, title in names.items())
