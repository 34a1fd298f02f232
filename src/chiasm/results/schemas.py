"""What every study's tables share. Other tools read them by these names: a column may be added, none renamed."""

from chiasm.core.schema import Column, TableSchema, number, text

EXAMPLE = text("example_id", "Example", "Identifier of the example in the data.")
TYPE = text("type", "Question type", "Group of the example that results are averaged in.")
EXAMPLES = TableSchema.of(
    "examples",
    EXAMPLE,
    TYPE,
    text("question", "Question", "As asked, without the instruction."),
    text("answer", "Answer", "The labelled answer."),
    text(
        "input",
        "Input",
        "Which image (video, sound) the example asks about; examples with the same one are resampled together.",
    ),
)

CONTROL = text("control", "Control", "twin: a model of the same shape with random weights.")
RANDOM_WEIGHTS = "twin"
"""In the column `control`: the same in a model of the same shape with random weights."""


def corners(shown: str = "image") -> tuple[Column, ...]:
    """Columns of a patch's place in what is `shown`; missing for tokens that have none."""
    names = {"x0": "Left", "y0": "Top", "x1": "Right", "y1": "Bottom"}
    where = f"Of the patch, in the original {shown}."
    return tuple(number(name, title, where, unit="px", nullable=True) for name, title in names.items())
