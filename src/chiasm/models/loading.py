"""From a hub id, a directory, or a model in memory to a `ModelView`; weights come from safetensors only."""

import logging
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import AutoConfig, AutoProcessor

from chiasm.core.errors import ChiasmError
from chiasm.interventions.projectors import spec_of
from chiasm.models.adopting import adopt, require_answerable
from chiasm.models.architecture import automatic_class
from chiasm.models.checkpoint.adapters import NO_ADAPTER, AdapterUse, apply_adapter, describe_adapters, require_choice
from chiasm.models.checkpoint.calling import bars_on_terminal as bars_on_terminal
from chiasm.models.checkpoint.calling import failing_as, read_pretrained, without_reports
from chiasm.models.checkpoint.configuration import (
    deepest,
    require_depth,
    require_head,
    require_numbers,
    require_plausible,
    require_size,
)
from chiasm.models.checkpoint.files import ADAPTER, ADAPTER_WEIGHTS, CheckpointFiles, read_json
from chiasm.models.checkpoint.formats import original_llava
from chiasm.models.checkpoint.place import CONFIG, Place, placed
from chiasm.models.checkpoint.processors import absent_files, is_own, require_usable
from chiasm.models.checkpoint.quantised import quantisation, require_quantiser
from chiasm.models.checkpoint.weights import (
    require_complete,
    require_rows,
    require_unrounded,
    require_values,
    rounds,
    stored_dtype,
)
from chiasm.models.families import answering_config, listed_family
from chiasm.models.first_input import require_takes_input
from chiasm.models.origin import Origin
from chiasm.models.precision import HALF, Precision, dtype_name
from chiasm.models.projectors.swap import swapped_class
from chiasm.models.view import ModelView

_DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}
_MANY_LAYERS: Final = 1000
_NAMED_WEIGHTS: Final = "transformers_weights"
_log: Final = logging.getLogger(__name__)


def load(
    source: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
    adapter: AdapterUse | None = None,
) -> ModelView:
    """The checkpoint `source` (a hub id, or a directory written by `save_pretrained`) ready for studies.

    `dtype`: None keeps the stored weights (or brings them into a wider type that config.json names), and raises those
    in half precision to float32 while they are used; a half-precision type computes in it, as the model is served.
    `device`: None takes the first GPU, or the CPU; "auto" spreads the model over all devices. The architecture is
    judged from the configuration, before any weight is read; one that is not listed is tried by the conformance suite,
    once (`adopting.adopt`). Of a model that also speaks (Qwen2.5-Omni) only the part that perceives and answers is
    loaded. `adapter`: what to do with one that lies beside a full model.

    Files, configuration, processor and weights must agree, and every weight must be there and finite: what transformers
    would draw at random, cast or leave out is an error here (`checkpoint`).

    **Errors:** `ChiasmError` for a missing path, a directory that is no model, an architecture without a family,
    damaged weights, a missing processor, or a hub id that cannot be reached.
    """
    name = str(source)
    asked = f"load the model `{name}`"
    place = placed(asked, source, trust_remote_code, revision)
    first = as_device(device)
    config = _configuration(asked, place)
    known = listed_family(config)
    if known is None:
        require_answerable(config)
    quantised = quantisation(config)
    if quantised is not None:
        require_quantiser(asked, quantised)
    processor = _processor(asked, place, config)
    opener = automatic_class(config)
    swapped = None if spec_of(config) is None else swapped_class(type(config))

    def build(config: Any) -> nn.Module:
        if swapped is not None:
            return swapped(config)
        return opener.from_config(config, trust_remote_code=trust_remote_code)

    files = _files(asked, place, config, build, adapter, quantised is not None)
    with failing_as(asked, place.local, "its weights cannot be read"), without_reports():
        model, info = (swapped or opener).from_pretrained(
            place.where,
            config=config,
            dtype=as_dtype(dtype) or ("auto" if quantised is not None else _dtype(asked, config, files)),
            use_safetensors=True,
            attn_implementation="sdpa",
            device_map="auto" if device == "auto" else None,
            output_loading_info=True,
            # Shapes that disagree are reported with all the rest, in one sentence.
            ignore_mismatched_sizes=True,
            adapter_kwargs=dict(NO_ADAPTER),
            **place.options,
        )
    require_complete(asked, info, files)
    if quantised is None:
        require_unrounded(asked, files, model)
    if adapter == "apply" and (place.folder / ADAPTER).is_file():
        apply_adapter(asked, model, place.folder)
    _require_sound(asked, model, processor, files)
    if device != "auto":
        model = model.to(first)
    # A half-precision type that was asked for is the one to compute in.
    asked_type = as_dtype(dtype)
    view = _view(model.eval(), processor, name, Precision.served(model) if asked_type in HALF else None)
    if known is not None:
        require_takes_input(asked, view)
    stored = stored_dtype(files)
    view.origin = Origin("" if stored is None else str(stored).removeprefix("torch."), is_own(asked, place.folder))
    return view


def wrap(
    model: nn.Module, processor: Any, name: str = "in memory", *, dtype: str | torch.dtype | None = None
) -> ModelView:
    """A model that is already in memory, fine-tuned, or wrapped by PEFT. It is used as it is and never changed.

    `dtype`: the half-precision type of its weights computes as the model is served; None raises them (`Precision`). An
    adapter that changes nothing is logged: it may be untrained, or its tensors may have found no module.

    **Errors:** `ChiasmError` if the processor is missing or unfit, the architecture has no family, `dtype` is another
    type than can be computed in without changing the model, or the model has no head, no values, or values that are not
    finite.
    """
    asked = f"use the model {name}"
    _require_processor(asked, processor)
    if listed_family(model.config) is None:
        require_answerable(model.config)
    require_usable(asked, processor, model.config, listed=listed_family(model.config) is not None)
    _require_sound(asked, model, processor)
    if "changes nothing" in (described := describe_adapters(model)):
        _log.warning("The adapter of the model %s (%s): its answers are those of the base model.", name, described)
    return _view(model, processor, name, _precision_of(model, as_dtype(dtype)))


def _view(model: nn.Module, processor: Any, name: str, precision: Precision | None) -> ModelView:
    if listed_family(model.config) is None:
        return adopt(model, processor, name, precision)
    return ModelView(model, processor, name, precision=precision)


def _precision_of(model: nn.Module, dtype: torch.dtype | None) -> Precision | None:
    if dtype is None:
        return None
    there = (Precision.of(model), Precision.served(model))
    found = next((one for one in there if one.compute == dtype), None)
    if found is None:
        ways = " or ".join(dict.fromkeys(dtype_name(one.compute) for one in there))
        raise ChiasmError(
            f"compute in {dtype_name(dtype)} with a model in memory",
            f"its weights are in {dtype_name(there[1].weights)}",
            f"Give {ways}, or cast the model before",
        )
    return found


def as_dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    """The dtype that torch calls `name`; None stays None.

    **Errors:** `ChiasmError` naming the ones there are.
    """
    if name is None or isinstance(name, torch.dtype):
        return name
    found = _DTYPES.get(name.removeprefix("torch."))
    if found is None:
        raise ChiasmError(
            f"the dtype `{name}`", "it is none that models are run in", f"Name one of {', '.join(_DTYPES)}"
        )
    return found


def as_device(name: str | torch.device | None) -> torch.device:
    """The device called `name`; None is the first GPU, or the CPU; "auto" starts from the first as well.

    **Errors:** `ChiasmError` if torch has no such device here.
    """
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise ChiasmError(f"the device `{name}`", found, "Name `cpu`, or `cuda` where torch sees a GPU") from error
    return device


def _configuration(asked: str, place: Place) -> Any:
    """The configuration, after what its JSON alone shows."""
    raw = read_json(asked, place.folder / CONFIG)
    original = original_llava(place.folder if place.local else None, raw)
    if original is not None:
        raise ChiasmError(asked, original.found, original.todo)
    require_numbers(asked, raw)
    require_plausible(asked, raw)
    if deepest(raw) > _MANY_LAYERS:
        # Reading a configuration makes lists as long as it has layers.
        require_depth(asked, raw, place.files(asked, raw.get(_NAMED_WEIGHTS)))
    config = read_pretrained(
        asked, place.local, f"its {CONFIG}", AutoConfig.from_pretrained, place.where, **place.options
    )
    return answering_config(config)


def _processor(asked: str, place: Place, config: Any) -> Any:
    absent = absent_files(place.folder) if place.local else ""
    what = f"its processor (beside the model is {absent})" if absent else "its processor"
    processor = read_pretrained(asked, place.local, what, AutoProcessor.from_pretrained, place.where, **place.options)
    _require_processor(asked, processor)
    require_usable(asked, processor, config, listed=listed_family(config) is not None)
    return processor


def _files(asked: str, place: Place, config: Any, build: Any, adapter: AdapterUse | None, quantised: bool) -> Any:
    """The files of weights, as far as headers and configuration show that they belong together."""
    with failing_as(asked, place.local, "its files cannot be read"):
        beside = place.fetch(ADAPTER) is not None
    raw = read_json(asked, place.folder / CONFIG)
    files = place.files(asked, raw.get(_NAMED_WEIGHTS))
    if beside:
        require_choice(asked, adapter)
        if adapter == "apply":
            place.fetch(ADAPTER_WEIGHTS)
    elif adapter == "apply":
        _log.warning("No adapter lies beside `%s`: it is used as it is.", place.where)
    require_depth(asked, raw, files)
    if not quantised:
        with failing_as(asked, place.local, "no model can be made by its config.json"):
            require_size(asked, files, build, config)
    return files


def _dtype(asked: str, config: Any, files: CheckpointFiles) -> torch.dtype | str:
    """What a model is computed in where nothing was asked: as config.json says, unless that would round its weights."""
    stored, named = stored_dtype(files), config.dtype
    if stored is None or not isinstance(named, torch.dtype) or not named.is_floating_point or not rounds(stored, named):
        return "auto"
    _log.warning("%s: its weights are stored in %s and stay so, though config.json says %s.", asked, stored, named)
    return stored


def _require_sound(asked: str, model: Any, processor: Any, files: CheckpointFiles | None = None) -> None:
    if listed_family(model.config) is not None:
        require_head(asked, model)
    require_values(asked, model, files)
    require_rows(asked, model, processor.tokenizer)


def _require_processor(asked: str, processor: Any) -> None:
    if processor is None:
        raise ChiasmError(asked, "no processor was given", "Pass processor=AutoProcessor.from_pretrained(...)")
    if getattr(processor, "tokenizer", None) is None:
        found = f"its processor is a {type(processor).__name__}, which has no tokenizer"
        raise ChiasmError(asked, found, "Save the whole processor beside the model (`save_pretrained`)")
