"""Adapters: one that lies beside a full model, and what those in a model that PEFT has changed do to it."""

import sys
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from chiasm.core.errors import ChiasmError, MissingExtraError
from chiasm.models.checkpoint.files import ADAPTER, ADAPTER_WEIGHTS, CheckpointFiles, read_files
from chiasm.models.checkpoint.weights import shown

AdapterUse = Literal["apply", "ignore"]
"""What to do with an adapter beside a full model: add it, or leave it out because the weights hold it already."""

NO_ADAPTER: Final = {"subfolder": "no adapter"}
"""Keeps transformers from applying an adapter on its own: it then looks for one where none is."""

_PREFIX: Final = "base_model.model."


def require_choice(asked: str, chosen: AdapterUse | None) -> None:
    """Refuse an adapter beside a full model unless it was said what to do with it.

    **Errors:** `ChiasmError` with the two ways out.
    """
    if chosen is None:
        found = (
            f"it holds a full model and an adapter ({ADAPTER}), and nothing says whether the weights hold it already"
        )
        raise ChiasmError(
            asked, found, "Give --adapter apply to add it, or --adapter ignore where it was merged into the weights"
        )


def apply_adapter(asked: str, model: Any, folder: Path) -> None:
    """Add the adapter in `folder` to a full model.

    **Errors:** `MissingExtraError` without PEFT; `ChiasmError` for one of another model, or in a pickled file.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ChiasmError(asked, f"{ADAPTER_WEIGHTS} is not there", "Save the adapter with `save_pretrained`")
    files = read_files(asked, folder, [ADAPTER_WEIGHTS])
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"{asked} with its adapter", "peft", "lora") from error
    try:
        model.load_adapter(str(folder), adapter_kwargs={"local_files_only": True})
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ChiasmError(asked, f"its adapter cannot be added ({reason})", _OF_THIS) from error
    _require_taken(asked, model, files)


def describe_adapters(model: nn.Module) -> str:
    """What the adapters in a model are and do, as `default, changes 24 of 24 modules`; empty where there are none."""
    layers = _adapted(model)
    if not layers:
        return ""
    if all(layer.merged for layer in layers):
        return "merged into the weights"
    active = sorted({name for layer in layers for name in layer.active_adapters})
    if all(layer.disable_adapters for layer in layers):
        return f"{', '.join(active)}, switched off, changes nothing"
    changed = sum(_changes(layer) for layer in layers)
    effect = f"changes {changed} of {len(layers)} modules" if changed else "changes nothing"
    return f"{', '.join(active)}, {effect}"


_OF_THIS: Final = "Take the adapter that belongs to this model"


def _adapted(model: nn.Module) -> list[Any]:
    """The modules that PEFT has put an adapter into; it is imported only where it made some."""
    if "peft" not in sys.modules:
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


@torch.no_grad()
def _changes(layer: Any) -> bool:
    """Whether the active adapters change what this module computes; True where that cannot be known cheaply."""
    if layer.disable_adapters:
        return False
    parts = dict(layer.named_children()) | dict(layer.named_parameters(recurse=False))
    for name in layer.active_adapters:
        second = [_member(parts.get(part), name) for part in ("lora_B", "lora_embedding_B")]
        known = [part for part in second if part is not None]
        magnitude = _member(parts.get("lora_magnitude_vector"), name)
        if not known or magnitude is not None:
            return name in layer._get_available_adapters()
        scaled = float(layer.scaling.get(name, 0.0)) != 0.0
        if scaled and any(bool(weight.any()) for part in known for weight in _weights(part)):
            return True
    return False


def _member(holder: Any, name: str) -> Any:
    return holder[name] if holder is not None and name in holder else None


def _weights(part: Any) -> list[torch.Tensor]:
    return list(part.parameters()) if isinstance(part, nn.Module) else [part]


def _require_taken(asked: str, model: nn.Module, files: CheckpointFiles) -> None:
    """Every tensor of an adapter must have found a module: PEFT leaves out what fits nowhere."""
    names = [name.removeprefix(_PREFIX) for name in files.tensors]
    held = {".".join(part for part in name.split(".") if part != "default") for name in model.state_dict()}
    stray = [name for name in names if name not in held]
    if stray:
        found = f"{len(stray)} of the {len(names)} tensors of its adapter fit no module ({shown(stray)})"
        raise ChiasmError(asked, found, _OF_THIS)
