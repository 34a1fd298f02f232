"""What all studies share: which executor computes, what data is, and which examples count as answered."""

import copy
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example, input_key
from chiasm.models.executors.jobs import Executor
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

ExecutorName = Literal["lockstep", "reference"]


def executor_of(name: str, memory: int | None, batch_size: int) -> Executor:
    """The executor called `name`. `memory`: bytes above the clean pass that lockstep may use (None: no bound).

    **Errors:** `ChiasmError` for another name.
    """
    match name:
        case "lockstep":
            return LockstepExecutor(memory=memory, batch_size=batch_size)
        case "reference":
            return ReferenceExecutor(reuse_vision=True)
    raise ChiasmError(f"the executor `{name}`", "there are lockstep and reference", "Name one of those")


def for_preparing(view: ModelView) -> ModelView:
    """The same model with a processor of its own: tokenizers may not be used by two threads at once."""
    other = copy.copy(view)
    other.processor = copy.deepcopy(view.processor)
    return other


def example_row(example: Example) -> dict[str, str]:
    """The row of the table `examples`, which says who asks about the same input."""
    return {
        "example_id": example.id,
        "type": example.type,
        "question": example.question,
        "answer": example.answer,
        "input": input_key(example),
    }


def data_facts(name: str, examples: Sequence[Example]) -> dict[str, Any]:
    """The name and the number of the examples, and a hash of their texts: a resumed run must have the same."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.id, example.question, example.answer, example.options)).encode())
    return {"name": name, "examples": len(examples), "hash": digest.hexdigest()[:16]}
