"""What one run of `chiasm eval` was asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.metrics import check_names
from chiasm.data.metrics.choice import describes
from chiasm.data.tasks import task_of
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION

ANSWER_TOKENS, DESCRIPTION_TOKENS = 32, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSpec:
    """One run of `chiasm eval`. `blind`: also answer with every image replaced by mid-grey of its size.

    `task`: see `chiasm.data.tasks`. `metric`: none means those that fit the data. `objects`: the list for CHAIR.
    """

    model: str
    data: str
    limit: int | None = None
    split: str = "heldout"
    task: str = "qa"
    metric: tuple[str, ...] = ()
    objects: str | None = None
    blind: bool = False
    relaxed: bool = False
    instruction: str = DEFAULT_INSTRUCTION
    max_new_tokens: int = ANSWER_TOKENS
    seed: int = 0
    unit: int = 16

    def __post_init__(self) -> None:
        for name, value in (("batch-size", self.unit), ("max-new-tokens", self.max_new_tokens)):
            if value < 1:
                raise ChiasmError(f"--{name} {value}", "the least is 1", "Give a larger number")
        task_of(self.task)
        check_names(self.metric)


def asked_as(
    examples: Sequence[Example], instruction: str | None = None, max_new_tokens: int | None = None
) -> tuple[str, int]:
    """The instruction and the longest answer where none are given: descriptions are neither one word nor short."""
    long = describes(examples)
    default = "" if long else DEFAULT_INSTRUCTION
    most = DESCRIPTION_TOKENS if long else ANSWER_TOKENS
    return default if instruction is None else instruction, most if max_new_tokens is None else max_new_tokens
