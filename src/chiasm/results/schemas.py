"""What every study's tables share. Other tools read them by these names: a column may be added, none renamed."""

from chiasm.core.schema import Column, TableSchema, integer, number, text

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

FAILURES = TableSchema.of(
    "failures",
    text("example_id", "Example", "Identifier of the example in the data."),
    text("outcome", "Outcome", "failed: could not be used; left out: not wanted; skipped: a part of one that is kept."),
    text("reason", "Reason", "Why."),
)
"""What became of the examples that gave no rows, or not all of them."""

CONTROL = text("control", "Control", "twin: a model of the same shape with random weights.")
RANDOM_WEIGHTS = "twin"
"""In the column `control`: the same in a model of the same shape with random weights."""


def corners(shown: str = "image") -> tuple[Column, ...]:
    """Columns of a patch's place in what is `shown`; missing for tokens that have none."""
    names = {"x0": "Left", "y0": "Top", "x1": "Right", "y1": "Bottom"}
    where = f"Of the patch, in the original {shown}."
    return tuple(number(name, title, where, unit="px", nullable=True) for name, title in names.items())


class MissingTableError(KeyError):
    """A table without which nothing can be said is not there; its name is the argument."""


CLAIMS = TableSchema.of(
    "claims",
    text("claim", "Claim", "Short name: the question it answers, and a number."),
    text("about", "About", "The cut, span, plan, setting ... that is meant."),
    text("where", "Where", "Layers, or `all`."),
    text("quantity", "Quantity", "What was estimated."),
    text("unit", "Unit", "Of effect, low, high and control_effect."),
    number("effect", "Effect", "The estimate."),
    number(
        "low", "Low", "Lower end of the 95 % interval; over all claims with one corrected p at once.", nullable=True
    ),
    number("high", "High", "Upper end of the 95 % interval.", nullable=True),
    number(
        "p",
        "p",
        "That of the interval beside it, mostly against 0; corrected over the claims of its kind; missing where none "
        "was tested. Differences to controls are rows of their own, and a verdict may rest on both.",
        nullable=True,
    ),
    text("control", "Control", "What the effect must go beyond; missing where there is none.", nullable=True),
    number("control_effect", "Effect of the control", "The same quantity of the control.", nullable=True),
    integer("n", "n", "Examples."),
    integer("inputs", "Inputs", "Different inputs that the examples ask about.", nullable=True),
    text(
        "verdict",
        "Verdict",
        "established: the interval leaves out 0, the effect is worth naming and goes beyond its control; practically "
        "none: the interval lies inside the smallest effect worth naming; uncontrolled: established but for a control.",
    ),
)
