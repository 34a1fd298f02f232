"""What is known of an example before it is computed."""

from typing import NamedTuple

from chiasm.core.example import Example
from chiasm.models.encoded import Encoded
from chiasm.studies.flow.plan import ExamplePlan


class FlowExample(NamedTuple):
    """An example ready to compute. `prompt` has no answer behind it; `swapped` shows or plays another example's input.

    `blank`: the cuts of what is perceived, on a blank image. `forms`: the first token of each written form of the
    answer. `skipped`: (example, what it does not have). `raised`: encoded to be computed in float32, where rounding is
    measured.
    """

    example: Example
    prompt: Encoded
    plan: ExamplePlan
    baseline: ExamplePlan | None
    swapped: Encoded | None
    blank: ExamplePlan | None
    forms: dict[str, int]
    forms_baseline: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    raised: Encoded | None = None


class Unanswered(NamedTuple):
    """An example, by its place in the run, whose answer has to be known before its cuts can be planned."""

    index: int
    example: Example
    prompt: Encoded
