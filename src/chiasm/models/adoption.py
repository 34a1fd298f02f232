"""A model of an architecture that is not listed is taken if the suite finds that the generic rules answer it."""

import hashlib
import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import nn

from chiasm.core.cache import cache_directory
from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.conformance import check
from chiasm.models.conformance.painting import painted_boxes_are_found
from chiasm.models.conformance.trial import (
    BrokenLawError,
    NotApplicableError,
    modalities,
    noise,
    noise_example,
    trial_on,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.rounding import TOLERANCE
from chiasm.models.families import unsupported_error
from chiasm.models.families.certificates import fingerprint
from chiasm.models.generic.family import generic_family
from chiasm.models.frame import record_frame
from chiasm.models.masks import allowed_rows
from chiasm.models.precision import Precision
from chiasm.models.view import ModelView

_log: Final = logging.getLogger(__name__)
_MISFITS: Final = (
    *(ChiasmError, ExampleError, BrokenLawError, NotApplicableError),
    *(KeyError, AttributeError, TypeError),
)


def require_answerable(config: Any) -> None:
    """Refuse from the configuration alone what no generic rule can answer, before any weight is read.

    **Errors:** `ChiasmError` with the nearest supported family.
    """
    if config.is_encoder_decoder:
        raise unsupported_error(
            config, "an encoder-decoder: an encoder and a decoder, where the rules know one stack of layers"
        )
    if not modalities_of(config):
        raise unsupported_error(config)


def adopt(model: nn.Module, processor: Any, name: str, precision: Precision | None = None) -> ModelView:
    """A view of a model that is not listed, by generic rules that the suite has found to hold.

    The suite runs once for every configuration, dtype and version; what it found is kept in the cache directory
    (`CHIASM_CACHE`, or ~/.cache/chiasm). What was decided is logged.

    **Errors:** `ChiasmError` with the first law that does not hold and the nearest supported family.
    """
    config = model.config
    require_answerable(config)
    if not processor.chat_template:
        raise unsupported_error(config, "and its processor has no chat template")
    view = ModelView(model, processor, name, family=unlisted_family(config, GenericRules()), precision=precision)
    file = _cache_file(view)
    if file.is_file():
        rules = GenericRules(**json.loads(file.read_text()))
        _log.warning(
            "`%s` is not a listed family; the suite found before that the generic rules answer it.", config.model_type
        )
        return _with_rules(view, rules)
    _log.warning("`%s` is not a listed family: trying whether the generic rules answer it, once.", config.model_type)
    try:
        rules = _infer_rules(view)
    except (ChiasmError, ExampleError) as error:
        raise unsupported_error(config, f"which the generic rules do not answer ({error})") from error
    view = _with_rules(view, rules)
    laws = check(view)
    for law in laws:
        if law.ok is False:
            raise unsupported_error(config, f"which the generic rules do not answer ({law.name}: {law.reason})")
    holds = sum(law.ok is True for law in laws)
    _log.warning(
        "`%s` is taken: %d laws hold, none is broken. Places of its image tokens: %s.",
        config.model_type,
        holds,
        rules.places,
    )
    _write_cache(file, rules)
    return view


def _infer_rules(view: ModelView) -> GenericRules:
    """What the model itself shows: what its layers return, whether it is causal, which places its image tokens have."""
    modality = modalities(view)[0]
    encoded = view.encode(noise_example(modality, (noise(modality, 0),)))
    rules = GenericRules(layers_return_tuples=_returns_tuples(view, encoded))
    view = _with_rules(view, rules)
    rules = replace(rules, causal=not _attends_ahead(view, encoded))
    return replace(rules, places=_places(_with_rules(view, rules)) if modality == "image" else "unknown")


def _with_rules(view: ModelView, rules: GenericRules) -> ModelView:
    family = unlisted_family(view.config, rules)
    return ModelView(view.model, view.processor, view.name, family=family, precision=view.precision)


@torch.no_grad()
def _returns_tuples(view: ModelView, encoded: Encoded) -> bool:
    seen: list[bool] = []
    hook = view.layers[0].register_forward_hook(lambda layer, args, output: seen.append(isinstance(output, tuple)))
    with hook, view.readable_attention():
        view.model(**encoded.inputs, use_cache=False)
    return any(seen)


def _attends_ahead(view: ModelView, encoded: Encoded) -> bool:
    """Whether any layer lets a token attend to a later one."""
    with view.readable_attention():
        frame, kind = record_frame(view, encoded.inputs), view.attention_implementation
        rows = torch.arange(frame.length, device=frame.hidden.device)
        masks = {id(named.get("attention_mask")): named.get("attention_mask") for named in frame.arguments}
        allowed = [allowed_rows(mask, rows, frame.length, len(frame.hidden), kind) for mask in masks.values()]
    return any(bool(one.triu(1).any()) for one in allowed)


def _places(view: ModelView) -> str:
    """The first rule under which painted boxes are found again."""
    for name in LAYOUT_RULES:
        tried = _with_rules(view, replace(view.family.rules, places=name))
        # A rule that does not fit this processor says so in one of many ways: a missing entry, another count.
        with suppress(*_MISFITS):
            painted_boxes_are_found(trial_on(tried, "image", TOLERANCE[tried.dtype]))
            return name
    return "unknown"


def _cache_file(view: ModelView) -> Path:
    digest = hashlib.sha256(json.dumps(view.config.to_dict(), sort_keys=True, default=str).encode())
    digest.update(f"{view.dtype} {transformers.__version__} {torch.__version__} {fingerprint(view.family)}".encode())
    return cache_directory() / "adopted" / f"{view.config.model_type}-{digest.hexdigest()[:16]}.json"


def _write_cache(file: Path, rules: GenericRules) -> None:
    """Written whole or not at all; a cache that cannot be written costs another trial, and no result."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(asdict(rules)) + "\n")
        fresh.replace(file)
    except OSError as error:
        _log.warning("What was found cannot be kept in %s (%s).", file.parent, error)
