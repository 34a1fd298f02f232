"""The facade's `evaluate`, and `check`."""

from pathlib import Path

from chiasm.api.shared import Data, Model, data_name, facts_of, finished, limit_of, name_of, view_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.models.conformance import Law
from chiasm.models.conformance import check as check_model
from chiasm.models.prompts import DEFAULT_INSTRUCTION
from chiasm.results.rundir import RunDirectory
from chiasm.studies.eval import EvalSpec, run_eval
from chiasm.studies.run import Run


def evaluate(
    model: Model,
    data: Data = "scenes",
    *,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    blind: bool = False,
    relaxed: bool = False,
    instruction: str = DEFAULT_INSTRUCTION,
    max_new_tokens: int = 32,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Answer the questions greedily and score them by equality with the label (stripped, lower case).

    `blind`: also with every image replaced by mid-grey, which shows what the questions give away. `relaxed` forgives a
    full stop at the end.
    """
    spec = EvalSpec(
        model=name_of(model),
        data=data_name(data),
        limit=limit_of(data, limit),
        split=split,
        blind=blind,
        relaxed=relaxed,
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        seed=seed,
        unit=16 if batch_size is None else batch_size,
    )
    chosen = list(examples(data, spec.limit, seed, split, media))
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
