"""The facade's `look`."""

from collections.abc import Sequence
from pathlib import Path

from chiasm.api.shared import Data, Model, data_name, data_of, finished, limit_of, name_of, subject_of, twin_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.results.rundir import RunDirectory
from chiasm.studies.look.run import run_look
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.run import Run


def look(
    model: Model,
    data: Data | None = None,
    *,
    query: Sequence[str] = ("last",),
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    heads: bool = False,
    maps: int = 4,
    instruction: str = DEFAULT_INSTRUCTION,
    controls: bool = True,
    twin: Model | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Where the model looks: attention of chosen queries by layer, and the words its image tokens are closest to.

    `model`: a view, or what `load` takes. `data`: what `examples` takes. The remaining names are those of `LookSpec`
    and of the command line. `out=None`: a temporary directory, nothing drawn until asked.

    Assumption: attention says where a head reads, not that what it reads matters; `flow` cuts it and sees.
    """
    data = data_of(model, data)
    named = name_of(model)
    beside = twin_of(named, twin) if controls else None
    spec = LookSpec(
        model=named,
        data=data_name(data),
        query=tuple(query),
        limit=limit_of(data, limit),
        split=split,
        heads=heads,
        maps=maps,
        instruction=instruction,
        controls=controls,
        twin=None if beside is None else name_of(beside),
        seed=seed,
        unit=8 if batch_size is None else batch_size,
    )
    chosen = list(examples(data, spec.limit, seed, split, media))
    subject = subject_of(model, beside, chosen, spec.data, seed=seed, device=device, dtype=dtype)
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=subject.facts) as directory:
        if not directory.complete:
            run_look(spec, subject.view, chosen, directory, subject.twin)
    return finished(directory, out)
