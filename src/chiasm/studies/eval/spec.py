"""What an evaluation was asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from chiasm.core.options import Section, option
from chiasm.data.tasks import Task
from chiasm.studies.eval.tables import SMALLEST
from chiasm.studies.options import ModelSpec

MetricName = Literal["exact", "vqa", "cider", "pope", "chair"]


@dataclass(frozen=True, kw_only=True)
class EvalSpec(ModelSpec):
    """How well does the model answer, by type, and how well without seeing the image?

    Greedy answers, measured as their data are: right when equal to the label (stripped, case ignored), VQA accuracy
    where there are several annotators, CIDEr-D and CHAIR for descriptions, POPE for yes and no. Writes tables `eval`,
    `metrics` and `scores`.

        chiasm eval tiny --blind
        chiasm eval tiny --task caption
        chiasm eval tiny --task pope-adversarial
        chiasm eval llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 200
    """

    auto_batch_size: ClassVar[int] = 16

    task: Task = option(
        "qa",
        "The data's own questions, or descriptions, or whether objects are there (POPE, from boxes).",
        common=True,
    )
    metrics: Sequence[MetricName] = option(
        (),
        "What is measured of the answers; repeat it for several. Default: what fits them.",
        common=True,
        formerly=("metric",),
    )
    objects: str | Path | None = option(
        None,
        "Objects for CHAIR, a file with one a line, then synonyms. Default: the names of the boxes; of `scenes` its "
        "shapes.",
        typed_as=str | None,
    )
    blind: bool = option(
        False, "Also answer with every image replaced by mid-grey of its size, as a control.", common=True
    )
    smallest_effect: float = option(
        SMALLEST, "Smallest difference worth naming, in points; of CIDEr-D in tenths.", at_least=0, below=100
    )
    relaxed: bool = option(False, "Forgive a full stop at the end of an answer, in the column `correct`.")
    instruction: str | None = option(  # pyright: ignore[reportIncompatibleVariableOverride]
        None,
        "Text after the question; empty for none. Default: the papers' single word or phrase, for descriptions none.",
        section=Section.EXAMPLES,
    )
    max_new_tokens: int | None = option(
        None, "Longest answer, in tokens. Default: 32, for descriptions 128.", at_least=1, common=True
    )

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    def title(self) -> tuple[str, ...]:
        return (*(() if self.task == "qa" else (self.task,)), *super().title())
