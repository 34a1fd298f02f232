"""What a run over several models, for the published figures, was asked to do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

from chiasm.core.errors import ChiasmError
from chiasm.core.options import example_option, option
from chiasm.studies.align.spec import check_spans, spans_option
from chiasm.studies.align.tables import SMALLEST
from chiasm.studies.options import (
    Data,
    ExamplesSpec,
    Model,
    data_name,
    examples_option,
    model_name,
    studied_option,
)
from chiasm.tiny.registry import world

_CHECKPOINT = re.compile(r"(.+)-(\d+)")


@dataclass(frozen=True)
class PaperSpec(ExamplesSpec):
    """The figures of the alignment paper for your models: is what it shows of large models true of yours?

    Figures 2, 3, 7, 8, 9, 13 and 22 of Shukor & Cord 2024, in their layout. Names that end in a number
    (`checkpoint-500`) are checkpoints of what stands before it. Models whose decoders are equal are also read
    together, across their data. One model is in memory at a time.

    All embedded models, each asked about the world of its own modality:

        chiasm paper

    Your model and its checkpoints, on your data:

        chiasm paper my-model my-model-500 my-model-1000 --data my.jsonl

    Source: Shukor & Cord 2024 (arXiv 2405.16700). Assumption: see the notes of the report.
    """

    models: Sequence[Model] | None = studied_option(
        None, "`tiny`, hub ids, or directories written by `save_pretrained`. Default: all embedded models."
    )
    data: Data | None = examples_option("the embedded world of each model's modality.")
    _: KW_ONLY
    baselines: Sequence[Model] | None = option(
        None,
        "Those of the models that have random weights; repeat it. The one asked about the same data stands beside a "
        "model. Default: the embedded ones, as far as they are among the models.",
        common=True,
        recorded=model_name,
        typed_as=tuple[str, ...],
        formerly=("twin",),
        alias=("twin",),
    )
    limit: int | None = example_option(
        None,
        "Use the first so many examples of each source. Default: all (of `scenes`, which has no end: 60).",
        common=True,
        at_least=1,
    )
    spans: Sequence[str] = spans_option()
    smallest_effect: float = option(SMALLEST, "Smallest difference of cosines or overlaps worth naming.", below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        names, baselines = self.names, self.baseline_names
        if self.models is not None and (not names or len(set(names)) < len(names)):
            found = f"{', '.join(names) or 'none'} given"
            raise ChiasmError("draw the published figures", found, "Name models, each once")
        if self.models is not None and baselines and not set(baselines) < set(names):
            found = f"the models are {', '.join(names)}"
            raise ChiasmError(f"--baseline {' '.join(baselines)}", found, "Name it among them, and another")
        check_spans(self.spans)

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Self:
        data = recorded.get("data")
        if isinstance(data, list):
            # The version before recorded one source for each model.
            recorded = {**recorded, "data": data[0] if len(set(data)) == 1 else None}
        return super().read(recorded)

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(model_name(model) or "" for model in self.models or ())

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """What those with random weights are called."""
        return tuple(model_name(model) or "" for model in self.baselines or ())

    def title(self) -> tuple[str, ...]:
        return (Path(data_name(self.data) or world("tiny")).stem,)


def baselines_beside(baselines: Sequence[str], data: Mapping[str, str]) -> dict[str, str]:
    """The model with random weights that stands beside each other one: the first that was asked about the same data.

    `data`: what each model was asked about.
    """
    first = {data[name]: name for name in reversed(baselines) if name in data}
    return {name: first[source] for name, source in data.items() if name not in baselines and source in first}


def checkpoint(name: str) -> tuple[str, int | None]:
    """Of `NAME-STEPS` the name and the steps; nothing of another name."""
    match = _CHECKPOINT.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", None)
