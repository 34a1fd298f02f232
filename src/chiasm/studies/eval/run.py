"""How many questions a model answers, and how many it answers without seeing anything."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image

from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.data.scoring import correct
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.runners import local
from chiasm.runners.base import Computed, Work
from chiasm.studies.common import example_row, for_preparing
from chiasm.studies.eval.metrics import write_metrics
from chiasm.studies.eval.spec import EvalSpec

_GREY = (128, 128, 128)


class Asked(NamedTuple):
    """An example ready to be answered, and the same with its image blanked."""

    example: Example
    seen: Encoded
    blind: Encoded | None


class EvalWork(Work[Asked]):
    """Greedy answers of `view`, and whether they equal the label; what metrics say of them is told in the end."""

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
        frames = {"examples": [example_row(item.example) for item in prepared]}
        frames["eval"] = self._rows(prepared, [item.seen for item in prepared])
        if self.spec.blind:
            frames["blind"] = self._rows(prepared, [item.blind for item in prepared if item.blind is not None])
        return Computed({name: rows for name, rows in frames.items() if rows}, kept=len(prepared))

    def _rows(self, prepared: Sequence[Asked], encoded: Sequence[Encoded]) -> list[dict[str, Any]]:
        answers = generate(self.view, encoded, self.spec.max_new_tokens)
        return [
            {
                "example_id": item.example.id,
                "type": item.example.type,
                "answer": (label := label_of(item.example)),
                "generated": answer.text,
                "correct": correct(answer.text, label, self.spec.relaxed),
            }
            for item, answer in zip(prepared, answers, strict=True)
        ]


def label_of(example: Example) -> str:
    """The labelled answer, or the first of the captions where a description is asked for."""
    return example.answer or next(iter(example.captions), "")


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
    if "eval" in directory.tables():
        write_metrics(spec, examples, directory)
    directory.finish()
