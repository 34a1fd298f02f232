"""The facade's `align`."""

from collections.abc import Sequence
from pathlib import Path

from chiasm.api.shared import Data, Model, data_name, data_of, finished, limit_of, name_of, subject_of, twin_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align.run import run_align
from chiasm.studies.align.spec import DEFAULT_SPANS, AlignSpec
from chiasm.studies.run import Run


def align(
    model: Model,
    data: Data | None = None,
    *,
    span: Sequence[str] = DEFAULT_SPANS,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    as_released: bool = False,
    inside: bool = True,
    token_pairs: bool = False,
    by_task: bool = False,
    vocabulary_tokens: int = 16,
    controls: bool = True,
    control_limit: int = 64,
    twin: Model | None = None,
    apart: int | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Measure how near what a model sees is to what it reads, and how fast either changes, from one plain pass.

    `model`: a view, or what `load` takes. `data`: what `examples` takes. The remaining names are those of `AlignSpec`
    and of the command line. `out=None`: a temporary directory, nothing drawn until asked.

    Source: Shukor & Cord 2024 (arXiv 2405.16700). Nothing here is causal: a cosine says how alike directions are.
    """
    data = data_of(model, data)
    named = name_of(model)
    beside = twin_of(named, twin) if controls else None
    spec = AlignSpec(
        model=named,
        data=data_name(data),
        span=tuple(span),
        limit=limit_of(data, limit),
        split=split,
        as_released=as_released,
        inside=inside,
        token_pairs=token_pairs,
        by_task=by_task,
        vocabulary_tokens=vocabulary_tokens,
        controls=controls,
        control_limit=control_limit,
        twin=None if beside is None else name_of(beside),
        apart=apart,
        instruction=instruction,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
    )
    chosen = list(examples(data, spec.limit, seed, split, media))
    subject = subject_of(model, beside, chosen, spec.data, seed=seed, device=device, dtype=dtype)
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=subject.facts) as directory:
        if not directory.complete:
            run_align(spec, subject.view, chosen, directory, subject.twin)
    return finished(directory, out)
