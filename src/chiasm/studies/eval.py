"""How many questions a model answers, and how many it answers without seeing anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.data.scoring import correct
from chiasm.models.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.runners import local
from chiasm.runners.base import Computed, Work
from chiasm.studies.common import for_preparing

_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSpec:
    """One run of `chiasm eval`. `blind`: also answer with every image replaced by mid-grey of its size."""

    model: str
    data: str
    limit: int | None = None
    split: str = "heldout"
    blind: bool = False
    relaxed: bool = False
    instruction: str = DEFAULT_INSTRUCTION
    max_new_tokens: int = 32
    seed: int = 0
    unit: int = 16

    def __post_init__(self) -> None:
        for name, value in (("batch-size", self.unit), ("max-new-tokens", self.max_new_tokens)):
            if value < 1:
                raise ChiasmError(f"--{name} {value}", "the least is 1", "Give a larger number")


class Asked(NamedTuple):
    """An example ready to be answered, and the same with its image blanked."""

    example: Example
    seen: Encoded
    blind: Encoded | None


class EvalWork(Work[Asked]):
    """Greedy answers of `view`, scored by equality with the label."""

    def __init__(self, spec: EvalSpec, view: ModelView) -> None:
        self.spec, self.view = spec, view
        self._preparing = for_preparing(view)

    def prepare(self, index: int, example: Example) -> Asked:
        seen = self._preparing.encode(example, instruction=self.spec.instruction)
        blind = None
        if self.spec.blind:
            blind = self._preparing.encode(blanked(example), instruction=self.spec.instruction)
        return Asked(example, seen, blind)

    def compute(self, prepared: Sequence[Asked]) -> Computed:
        frames = {"eval": self._rows(prepared, [item.seen for item in prepared])}
        if self.spec.blind:
            frames["blind"] = self._rows(prepared, [item.blind for item in prepared if item.blind is not None])
        return Computed({name: rows for name, rows in frames.items() if rows}, kept=len(prepared))

    def _rows(self, prepared: Sequence[Asked], encoded: Sequence[Encoded]) -> list[dict[str, Any]]:
        answers = generate(self.view, encoded, self.spec.max_new_tokens)
        return [
            {
                "example_id": item.example.id,
                "type": item.example.type,
                "answer": item.example.answer,
                "generated": answer.text,
                "correct": correct(answer.text, item.example.answer, self.spec.relaxed),
            }
            for item, answer in zip(prepared, answers, strict=True)
        ]


def blanked(example: Example) -> Example:
    """The example with mid-grey in place of every image; sizes stay, so the tokens are as many.

    **Errors:** `ExampleError` for an image that cannot be read.
    """
    sizes = [load_image(image).size for image in example.images]
    return replace(example, images=tuple(Image.new("RGB", size, _GREY) for size in sizes))


def run_eval(spec: EvalSpec, view: ModelView, examples: Sequence[Example], directory: RunDirectory) -> None:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again.

    **Errors:** `ChiasmError` if no example is left.
    """
    local.run(EvalWork(spec, view), examples, directory, spec.unit, "eval")
    directory.finish()
