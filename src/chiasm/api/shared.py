"""What the functions of the facade share: models and data by name, and the facts of a run."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.sources import ENDLESS
from chiasm.models.loading import load as load_checkpoint
from chiasm.models.loading import wrap
from chiasm.models.skipping.plans import log_stored_plan
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.common import data_facts
from chiasm.studies.run import Run
from chiasm.tiny import NAMES as TINY
from chiasm.tiny import directory
from chiasm.tiny.registry import baseline as own_baseline
from chiasm.tiny.registry import world

Data = str | Path | Iterable[Example]
Model = str | Path | ModelView

SCENES = 240
"""Examples taken from `scenes` and its kin, which have no end, where no limit is given."""
_log = logging.getLogger(__name__)


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
    view = load_checkpoint(where, dtype=dtype, device=device, trust_remote_code=trust_remote_code, revision=revision)
    view.name = name
    log_stored_plan(where)
    return view


def finished(directory: RunDirectory, out: str | Path | None) -> Run:
    """The run; one that was given a directory is drawn and reported at once."""
    run = Run(directory)
    if out is not None:
        run.report()
    return run


def view_of(model: Model, device: str | None, dtype: str | None) -> ModelView:
    """A view as it is, a name loaded."""
    return model if isinstance(model, ModelView) else load(model, device=device, dtype=dtype)


def name_of(model: Model) -> str:
    """What specs and reports call the model."""
    return model.name if isinstance(model, ModelView) else str(model)


def twin_of(model: str, twin: Model | None) -> Model | None:
    """The control with random weights: the given one, or on the embedded models their own."""
    if twin is not None:
        return twin
    return own_baseline(model) if model in TINY else None


def data_of(model: Model, data: Data | None) -> Data:
    """The data; where none are given, the embedded world of what the model takes in."""
    return world(name_of(model)) if data is None else data


def data_name(data: Data) -> str:
    """What specs and reports call the data."""
    return str(data) if isinstance(data, str | Path) else "in memory"


def limit_of(data: Data, limit: int | None) -> int | None:
    """The limit; data without an end have one also where none is given, which is said aloud."""
    if limit is not None or not is_endless(data):
        return limit
    _log.warning("The data `%s` have no end: the first %d examples are taken, as no limit was given.", data, SCENES)
    return SCENES


def is_endless(data: Data) -> bool:
    """Whether the data have no end, as `scenes`."""
    return isinstance(data, str) and data in ENDLESS


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model, its control of the same shape with random weights, and what the manifest says of both."""

    view: ModelView
    twin: ModelView | None
    facts: dict[str, Any]


def subject_of(
    model: Model,
    twin: Model | None,
    chosen: Sequence[Example],
    data: str,
    *,
    seed: int,
    device: str | None,
    dtype: str | None,
) -> Subject:
    """What a study of `chosen` examples computes on."""
    view = view_of(model, device, dtype)
    beside = None if twin is None else view_of(twin, device, dtype)
    facts = facts_of(view, chosen, data, seed)
    if beside is not None:
        facts["twin"] = {"id": beside.name, "weights": beside.fingerprint()}
    return Subject(view, beside, facts)


def facts_of(view: ModelView, chosen: Sequence[Example], data: str, seed: int) -> dict[str, Any]:
    """What the manifest says about model and data, with hashes: a resumed run must have the same."""
    return {
        "model": {"id": view.name, "weights": view.fingerprint()},
        "data": data_facts(data, chosen),
        "seed": seed,
        "device": str(view.device),
        "dtype": str(view.dtype).removeprefix("torch."),
        "asked": len(chosen),
    }


def _embedded(name: str) -> Path:
    try:
        return directory(name)
    except ValueError as error:
        raise ChiasmError(f"load the model `{name}`", str(error), "Name one of those") from error
