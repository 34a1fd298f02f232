"""The facade's `evaluate`, and `check`."""

from collections.abc import Sequence
from pathlib import Path

from chiasm.api.shared import Data, Model, data_name, data_of, facts_of, finished, limit_of, name_of, view_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.data.tasks import Task
from chiasm.models.conformance import Law
from chiasm.models.conformance import check as check_model
from chiasm.results.rundir import RunDirectory
from chiasm.studies.eval.run import run_eval
from chiasm.studies.eval.spec import EvalSpec, asked_as
from chiasm.studies.run import Run


def evaluate(
    model: Model,
    data: Data | None = None,
    *,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    task: Task = "qa",
    metric: Sequence[str] = (),
    objects: str | Path | None = None,
    blind: bool = False,
    relaxed: bool = False,
    instruction: str | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Answer the questions greedily and measure the answers: tables `eval`, `metrics` and `scores`.

    `task`: the data's own questions, or descriptions, or whether objects are there (`chiasm.data.tasks`). `metric`:
    names as in docs/data.md; none means those that fit the data's form. `objects`: the list for CHAIR, a file or
    `scenes`; else the names of the boxes. `blind`: also with every image replaced by mid-grey, which shows what the
    questions give away. `relaxed` forgives a full stop at the end in the column `correct`. `instruction`,
    `max_new_tokens`: a single word or phrase and 32; for descriptions none and 128.
    """
    data = data_of(model, data)
    most = limit_of(data, limit)
    chosen = list(examples(data, most, seed, split, media, task))
    instruction, longest = asked_as(chosen, instruction, max_new_tokens)
    spec = EvalSpec(
        model=name_of(model),
        data=data_name(data),
        limit=most,
        split=split,
        task=task,
        metric=tuple(metric),
        objects=None if objects is None else str(objects),
        blind=blind,
        relaxed=relaxed,
        instruction=instruction,
        max_new_tokens=longest,
        seed=seed,
        unit=16 if batch_size is None else batch_size,
    )
    view = view_of(model, device, dtype)
    with RunDirectory.open(
        out, spec, resume=resume, fresh=fresh, facts=facts_of(view, chosen, spec.data, seed)
    ) as directory:
        if not directory.complete:
            run_eval(spec, view, chosen, directory)
    return finished(directory, out)


def check(model: Model, *, device: str | None = None, dtype: str | None = None) -> list[Law]:
    """Whether the numbers of this model mean anything: every law it must obey, with the reason where it does not."""
    return check_model(view_of(model, device, dtype))
