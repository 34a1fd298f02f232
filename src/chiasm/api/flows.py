"""The facade's `flow`."""

from collections.abc import Sequence
from pathlib import Path

from chiasm.api.shared import Data, Model, data_name, data_of, finished, limit_of, name_of, subject_of, twin_of
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.results.rundir import RunDirectory
from chiasm.studies.common import ExecutorName, executor_of
from chiasm.studies.flow.run import run_flow
from chiasm.studies.flow.spec import FlowSpec, Keep, Target, WindowStyle, default_cuts
from chiasm.studies.run import Run


def flow(
    model: Model,
    data: Data | None = None,
    *,
    cuts: str | Sequence[str] | None = None,
    window: int = 9,
    windows: WindowStyle = "centred",
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    keep: Keep = "correct",
    target: Target = "first",
    instruction: str = DEFAULT_INSTRUCTION,
    controls: bool = True,
    twin: Model | None = None,
    draws: int = 1,
    patches: int = 0,
    patch_size: int | None = None,
    words: int = 0,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    memory: int | None = None,
    executor: ExecutorName = "lockstep",
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Cut attention between parts of the sequence, layer by layer, and see what the answer loses.

    `model`: a view, or what `load` takes. `data`: what `examples` takes. `cuts`: `SOURCE->TARGET`, or
    `zero:attention@SPAN`, `zero:mlp@SPAN`; None: the published pairs, for what the data show or play. The remaining
    names are those of `FlowSpec` and of the command line.
    `memory`: bytes above the clean pass. `out=None`: a temporary directory, nothing drawn until asked.

    Source: Zhang et al. 2025 (arXiv 2411.18620), section 3. A cut shows what the model loses without a route while
    others stay open (the instruction after the question is one, unless `suffix` is cut as well); self-repair makes it
    a lower bound.
    """
    data = data_of(model, data)
    named = name_of(model)
    beside = twin_of(named, twin) if controls else None
    wanted = limit_of(data, limit)
    chosen = list(examples(data, wanted, seed, split, media))
    if cuts is None:
        cuts = default_cuts(kind for example in chosen for kind in example.kinds)
    spec = FlowSpec(
        model=named,
        data=data_name(data),
        cuts=(cuts,) if isinstance(cuts, str) else tuple(cuts),
        window=window,
        windows=windows,
        limit=wanted,
        split=split,
        keep=keep,
        target=target,
        instruction=instruction,
        controls=controls,
        twin=None if beside is None else name_of(beside),
        draws=draws,
        patches=patches,
        patch_size=patch_size,
        words=words,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
        executor=executor,
    )
    computing = executor_of(executor, memory, spec.unit)
    subject = subject_of(model, beside, chosen, spec.data, seed=seed, device=device, dtype=dtype)
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=subject.facts) as directory:
        if not directory.complete:
            run_flow(spec, subject.view, chosen, directory, computing, subject.twin)
    return finished(directory, out)
