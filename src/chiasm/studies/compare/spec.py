"""What a comparison of models was asked to do."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.core.options import option
from chiasm.data.tasks import Task
from chiasm.studies.align.spec import check_spans, spans_option
from chiasm.studies.compare.tables import SMALLEST
from chiasm.studies.options import Data, ExamplesSpec, Model, data_name, examples_option, model_name, studied_option
from chiasm.tiny.registry import world


@dataclass(frozen=True)
class CompareSpec(ExamplesSpec):
    """Does the alignment score of models go with how well they answer, and with what they make up?

    The same examples are put to each model; one model is in memory at a time. Gives score and accuracy of each, other
    measures of performance and hallucination on request, and the correlations over models.

    The embedded model, its stages, and one with random weights:

        chiasm compare tiny tiny@aligned tiny@text tiny-random --limit 60 --task caption --task pope-random

    Checkpoints of your own, on your data:

        chiasm compare my-model-500 my-model-1000 my-model --data my.jsonl

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 9 and Table 1. Assumption: models are independent points;
    checkpoints of one run and variants of one model are not.
    """

    models: Sequence[Model] = studied_option(
        help="Two or more models: `tiny`, hub ids, or directories written by `save_pretrained`."
    )
    data: Data | None = examples_option()
    _: KW_ONLY
    tasks: Sequence[Task] = option(
        (),
        "Also measure this on the same data (caption: CIDEr-D and CHAIR; pope-random and so on: POPE); repeat it. The "
        "score is always that of the data's own questions.",
        common=True,
        formerly=("task",),
    )
    objects: str | Path | None = option(
        None,
        "Objects for CHAIR, one a line, then synonyms. Default: the boxes' names; of `scenes` its shapes.",
        typed_as=str | None,
    )
    spans: Sequence[str] = spans_option()
    smallest_effect: float = option(SMALLEST, "Smallest correlation over models worth naming.", below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.names
        if len(names) < 2 or len(set(names)) < len(names):
            found = f"{', '.join(names) or 'none'} given"
            raise ChiasmError("compare models", found, "Name two or more, each once; four are needed for an interval")
        for task in self.tasks:
            if task == "qa" or self.tasks.count(task) > 1:
                raise ChiasmError(f"--task {task}", "it is measured already", "Name each further task once")
        check_spans(self.spans)

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(model_name(model) or "" for model in self.models)

    def title(self) -> tuple[str, ...]:
        return (Path(data_name(self.data) or world(model_name(self.models[0]) or "")).stem,)
