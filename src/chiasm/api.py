"""The facade behind `import chiasm`: everything that the command line does, one call away in a notebook."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data import examples as _examples
from chiasm.data.sources import Split
from chiasm.models.conformance import Law
from chiasm.models.conformance import check as _check
from chiasm.models.loading import fingerprint, wrap
from chiasm.models.loading import load as _load
from chiasm.models.plans import tell_of_plan
from chiasm.models.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align import run_align
from chiasm.studies.align_spec import DEFAULT_SPANS, AlignSpec
from chiasm.studies.common import ExecutorName, data_facts, executor_of
from chiasm.studies.eval import EvalSpec, run_eval
from chiasm.studies.flow import run_flow
from chiasm.studies.flow_spec import PAPER_CUTS, FlowSpec, Keep, Target, WindowStyle
from chiasm.studies.run import Run
from chiasm.tiny import NAMES as TINY
from chiasm.tiny import directory as _tiny

Data = str | Path | Iterable[Example]
Model = str | Path | ModelView

SCENES = 240
"""Examples taken from `scenes`, which has no end, where no limit is given."""

examples = _examples


def load(
    source: str | Path | None = None,
    *,
    model: nn.Module | None = None,
    processor: Any = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> ModelView:
    """A model for studies: `tiny`, a hub id, a directory of `save_pretrained`, or what is already in memory.

    `model` and `processor` may be fine-tuned or wrapped by PEFT; they are used as they are. `dtype`: None keeps the
    checkpoint's. `device`: None takes the first GPU, or the CPU.

    **Errors:** `ChiasmError` that says what was found and what to do.
    """
    if model is not None:
        if source is not None:
            raise ChiasmError("load a model", "both a source and a model were given", "Give one of them")
        return wrap(model, processor)
    if source is None:
        raise ChiasmError("load a model", "none was named", "Name `tiny`, a hub id, a directory, or pass model=")
    name = str(source)
    where = _embedded(name) if name in TINY else source
    view = _load(where, dtype=dtype, device=device, trust_remote_code=trust_remote_code, revision=revision)
    view.name = name
    tell_of_plan(where)
    return view


def flow(
    model: Model,
    data: Data = "scenes",
    *,
    cuts: Sequence[str] = PAPER_CUTS,
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
    `zero:attention@SPAN`, `zero:mlp@SPAN`. The remaining names are those of `FlowSpec` and of the command line.
    `memory`: bytes above the clean pass. `out=None`: a temporary directory, nothing drawn until asked.

    Source: Zhang et al. 2025 (arXiv 2411.18620), section 3. A cut shows what the model loses without a route while
    others stay open (the instruction after the question is one, unless `suffix` is cut as well); self-repair makes it
    a lower bound.
    """
    named = _name(model)
    beside = _twin_name(named, twin) if controls else None
    spec = FlowSpec(
        model=named,
        data=_data_name(data),
        cuts=tuple(cuts),
        window=window,
        windows=windows,
        limit=_limit(data, limit),
        split=split,
        keep=keep,
        target=target,
        instruction=instruction,
        controls=controls,
        twin=None if beside is None else _name(beside),
        draws=draws,
        patches=patches,
        patch_size=patch_size,
        words=words,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
        executor=executor,
    )
    chosen = list(_examples(data, spec.limit, seed, split, media))
    computing = executor_of(executor, memory, spec.unit)
    view = _view(model, device, dtype)
    control = None if beside is None else _view(beside, device, dtype)
    facts = _facts(view, chosen, spec.data, seed)
    if control is not None:
        facts["twin"] = {"id": control.name, "weights": fingerprint(control)}
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            run_flow(spec, view, chosen, directory, computing, control)
    return _finished(directory, out)


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
        model=_name(model),
        data=_data_name(data),
        limit=_limit(data, limit),
        split=split,
        blind=blind,
        relaxed=relaxed,
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        seed=seed,
        unit=16 if batch_size is None else batch_size,
    )
    chosen = list(_examples(data, spec.limit, seed, split, media))
    view = _view(model, device, dtype)
    with RunDirectory.open(
        out, spec, resume=resume, fresh=fresh, facts=_facts(view, chosen, spec.data, seed)
    ) as directory:
        if not directory.complete:
            run_eval(spec, view, chosen, directory)
    return _finished(directory, out)


def align(
    model: Model,
    data: Data = "scenes",
    *,
    span: Sequence[str] = DEFAULT_SPANS,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    as_released: bool = False,
    inside: bool = True,
    vocabulary_tokens: int = 16,
    controls: bool = True,
    control_limit: int = 64,
    twin: Model | None = None,
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
    named = _name(model)
    beside = _twin_name(named, twin) if controls else None
    spec = AlignSpec(
        model=named,
        data=_data_name(data),
        span=tuple(span),
        limit=_limit(data, limit),
        split=split,
        as_released=as_released,
        inside=inside,
        vocabulary_tokens=vocabulary_tokens,
        controls=controls,
        control_limit=control_limit,
        twin=None if beside is None else _name(beside),
        instruction=instruction,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
    )
    chosen = list(_examples(data, spec.limit, seed, split, media))
    view = _view(model, device, dtype)
    control = None if beside is None else _view(beside, device, dtype)
    facts = _facts(view, chosen, spec.data, seed)
    if control is not None:
        facts["twin"] = {"id": control.name, "weights": fingerprint(control)}
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            run_align(spec, view, chosen, directory, control)
    return _finished(directory, out)


def open_run(path: str | Path) -> Run:
    """A run directory, finished or not.

    **Errors:** `ChiasmError` if there is none.
    """
    return Run(RunDirectory.load(path))


def check(model: Model, *, device: str | None = None, dtype: str | None = None) -> list[Law]:
    """Whether the numbers of this model mean anything: every law it must obey, with the reason where it does not."""
    return _check(_view(model, device, dtype))


def _finished(directory: RunDirectory, out: str | Path | None) -> Run:
    run = Run(directory)
    if out is not None:
        run.report()
    return run


def _embedded(name: str) -> Path:
    try:
        return _tiny(name)
    except ValueError as error:
        raise ChiasmError(f"load the model `{name}`", str(error), "Name one of those") from error


def _view(model: Model, device: str | None, dtype: str | None) -> ModelView:
    return model if isinstance(model, ModelView) else load(model, device=device, dtype=dtype)


def _name(model: Model) -> str:
    return model.name if isinstance(model, ModelView) else str(model)


def _twin_name(model: str, twin: Model | None) -> Model | None:
    """The control with random weights: the given one, or on the embedded models their own."""
    if twin is not None:
        return twin
    return "tiny-random" if model in TINY and model != "tiny-random" else None


def _data_name(data: Data) -> str:
    return str(data) if isinstance(data, str | Path) else "in memory"


def _limit(data: Data, limit: int | None) -> int | None:
    return SCENES if limit is None and data == "scenes" else limit


def _facts(view: ModelView, chosen: Sequence[Example], data: str, seed: int) -> dict[str, Any]:
    return {
        "model": {"id": view.name, "weights": fingerprint(view)},
        "data": data_facts(data, chosen),
        "seed": seed,
        "device": str(view.device),
        "dtype": str(view.dtype).removeprefix("torch."),
        "asked": len(chosen),
    }
