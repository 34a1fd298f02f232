"""The facade's `paper`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chiasm.api.shared import Data, Model, data_name, finished, is_endless, name_of, view_of
from chiasm.core.errors import ChiasmError
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align.spec import DEFAULT_SPANS
from chiasm.studies.common import data_facts
from chiasm.studies.paper.run import run_paper
from chiasm.studies.paper.spec import PaperSpec
from chiasm.studies.run import Run
from chiasm.tiny import names
from chiasm.tiny.store import BASE, RANDOM, world

ENOUGH = 60
"""Examples of data without an end where no limit is given: every model reads them, and answers them."""
_TOWER = f"{BASE}@tower"


def paper(
    models: Sequence[Model] | None = None,
    data: Data | None = None,
    *,
    twin: str | Sequence[str] | None = None,
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
    """Figures 2, 3, 7, 8, 9, 13 and 22 of the alignment paper for one's own models, in its layout.

    `models`: None is all that are embedded. `data`: None is the embedded world of each model's modality. `twin`: those
    of `models` that have random weights, one for each source of data; None is the embedded ones, as far as they are
    among them. Names that end in a
    number are checkpoints. Models whose decoders are equal are also read together, across their data.

    Source: Shukor & Cord 2024 (arXiv 2405.16700). Assumption: see the notes of the report.
    """
    chosen: Sequence[Model] = embedded() if models is None else models
    named = tuple(name_of(model) for model in chosen)
    given = (twin,) if isinstance(twin, str) else tuple(twin or ())
    beside = given or tuple(name for name in named if name.startswith(RANDOM))
    if beside and not set(beside) < set(named):
        raise ChiasmError(
            f"--twin {' '.join(beside)}", f"the models are {', '.join(named)}", "Name it among them, and another"
        )
    sources: list[Data] = [world(name) if data is None else data for name in named]
    spec = PaperSpec(
        models=named,
        data=tuple(data_name(source) for source in sources),
        twin=beside,
        span=tuple(span),
        limit=ENOUGH if limit is None and any(is_endless(source) for source in sources) else limit,
        split=split,
        instruction=instruction,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
    )
    by_name = dict(zip(named, chosen, strict=True))
    read = {
        data_name(source): list(examples(source, spec.limit, seed, split, media))
        for source in {data_name(s): s for s in sources}.values()
    }
    facts: dict[str, Any] = {
        "data": {name: data_facts(name, found) for name, found in read.items()},
        "seed": seed,
        "asked": sum(len(read[name]) for name in spec.data),
    }

    def load(name: str) -> ModelView:
        return view_of(by_name[name], device, dtype)

    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            run_paper(spec, load, read, directory)
    return finished(directory, out)


def embedded() -> tuple[str, ...]:
    """All embedded models with a decoder, the finished one first, and a random twin for each modality."""
    shown = (n for n in names() if n != _TOWER and (not n.startswith(f"{RANDOM}@") or world(n) != world(RANDOM)))
    return tuple(sorted(shown, key=lambda name: name != BASE))
