"""The facade's `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chiasm.api.shared import Data, Model, data_name, data_of, finished, limit_of, name_of, view_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.data.tasks import Task
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align.spec import DEFAULT_SPANS
from chiasm.studies.common import data_facts
from chiasm.studies.compare.run import CompareSpec, run_compare
from chiasm.studies.run import Run


def compare(
    models: Sequence[Model],
    data: Data | None = None,
    *,
    task: Sequence[Task] = (),
    objects: str | Path | None = None,
    span: Sequence[str] = DEFAULT_SPANS,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Does the alignment score of models go with how many questions they answer? The same examples put to each.

    `task`: further ones on the same data, for other measures of performance and for hallucination (`caption`: CIDEr-D
    and CHAIR, whose list is `objects`; `pope-MODE`: POPE); the score is always that of the data's own questions.
    `models`: two or more views or names; named ones are loaded one at a time. `out=None`: a temporary directory.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 9 and Table 1. Assumption: models are independent points;
    checkpoints of one run and variants of one model are not.
    """
    data = data_of(models[0], data) if models else "scenes"
    spec = CompareSpec(
        models=tuple(name_of(model) for model in models),
        data=data_name(data),
        task=tuple(task),
        objects=None if objects is None else str(objects),
        span=tuple(span),
        limit=limit_of(data, limit),
        split=split,
        instruction=instruction,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
    )
    by_name = dict(zip(spec.models, models, strict=True))
    if not isinstance(data, str | Path):
        data = list(data)  # read once for every task
    chosen = list(examples(data, spec.limit, seed, split, media))
    others = {name: list(examples(data, spec.limit, seed, split, media, name)) for name in task}
    # Counted per model: one shard each.
    facts: dict[str, Any] = {"data": data_facts(spec.data, chosen), "seed": seed, "asked": len(chosen) * len(models)}

    def load(name: str) -> ModelView:
        return view_of(by_name[name], device, dtype)

    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            run_compare(spec, load, chosen, directory, others)
    return finished(directory, out)
