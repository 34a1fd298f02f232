"""Whether a configuration can be that of the files beside it, judged before a model is built from it."""

import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint.files import CheckpointFiles

_DEPTHS: Final = frozenset(
    {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth", "encoder_layers", "decoder_layers"}
)
_EXCESS: Final = 2
"""So many times what the files hold may a configuration describe: weights that are tied are stored once."""
_MAX_EPSILON: Final = 0.01
_MAX_INDEX: Final = 1000
_SIZES: Final = frozenset(
    {"hidden_size", "embed_dim", "vocab_size", "num_attention_heads", "num_heads", "num_channels", "image_size"}
    | {"patch_size", "temporal_patch_size", "spatial_merge_size", "mrope_section", "max_position_embeddings"}
)
_SAME: Final = "Take config.json and weights from the same checkpoint"


def entries(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value in a configuration, with the path to it (`text_config.vocab_size`)."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from entries(value, f"{place}.{key}".strip("."))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from entries(value, f"{place}[{index}]")
    else:
        yield place, values


def require_numbers(asked: str, values: Mapping[str, Any], file: str = "config.json", *, infinite: bool = True) -> None:
    """Refuse a NaN among the numbers of a configuration; `infinite`: infinity may stand for "no bound".

    **Errors:** `ChiasmError` with its place.
    """
    for place, value in entries(values):
        if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and not infinite)):
            raise ChiasmError(asked, f"`{place}` in its {file} is {value}", "Copy the model again")


def require_plausible(asked: str, config: Mapping[str, Any]) -> None:
    """Refuse values that no model has: sizes below 1, a rotary base of 1 or less, an epsilon above 0.01, layer 1000.

    Another plausible value of what no tensor's shape depends on (rotary base, epsilon, activation, number of heads) is
    another model, and nothing in a checkpoint contradicts it.

    **Errors:** `ChiasmError` with the place of the value.
    """
    for place, value in entries(config):
        if isinstance(value, int | float) and not isinstance(value, bool) and not _is_plausible(place, value):
            raise ChiasmError(asked, f"`{place}` in its config.json is {value}", "Copy the model again")


def deepest(config: Mapping[str, Any]) -> int:
    """The most layers that any part of a configuration has."""
    return max((value for place, value in entries(config) if _is_depth(place, value)), default=0)


def require_depth(asked: str, config: Mapping[str, Any], files: CheckpointFiles) -> None:
    """Refuse more layers than the files hold tensors: building them could take days.

    **Errors:** `ChiasmError` with both counts.
    """
    for place, value in entries(config):
        if _is_depth(place, value) and value > len(files.tensors):
            found = f"`{place}` in its config.json is {value}, and its files hold weights of {_layers(files)} layers"
            raise ChiasmError(asked, found, _SAME)


def require_size(asked: str, files: CheckpointFiles, build: Callable[[Any], nn.Module], config: Any) -> None:
    """Refuse a configuration that describes far more numbers than the files hold: they would be drawn at random.

    `build` makes a model from a configuration; here it makes one without memory, which takes a tenth of a second.

    **Errors:** `ChiasmError` with both counts.
    """
    with torch.device("meta"):
        model = build(copy.deepcopy(config))
    described = sum(one.numel() for one in model.parameters())
    if described > _EXCESS * files.size:
        found = f"its config.json describes {described:,} parameters, and its files hold {files.size:,}"
        raise ChiasmError(asked, found, _SAME)


def require_head(asked: str, model: Any) -> None:
    """Refuse a model that gives hidden states and no words.

    **Errors:** `ChiasmError` that names its class.
    """
    if model.get_output_embeddings() is None:
        found = f"{type(model).__name__} has no output head, so it gives no word"
        raise ChiasmError(asked, found, "Load it as the class that generates text (`...ForConditionalGeneration`)")


def _is_plausible(place: str, value: float) -> bool:
    name = place.rpartition(".")[2].partition("[")[0]
    if name.endswith(("_eps", "_epsilon")):
        return 0 < value <= _MAX_EPSILON
    if name == "rope_theta":
        return 1 < value < math.inf
    if place.endswith("]") and name.endswith(("_layers", "_indexes", "_indices")):
        return abs(value) < _MAX_INDEX
    return name not in _SIZES or value >= 1


def _is_depth(place: str, value: Any) -> bool:
    return place.rpartition(".")[2] in _DEPTHS and isinstance(value, int)


def _layers(files: CheckpointFiles) -> int:
    """The most members that any list of modules has, by the names of their tensors."""
    members: dict[str, set[str]] = {}
    for name in files.tensors:
        for match in re.finditer(r"\.(\d+)\.", name):
            members.setdefault(name[: match.start()], set()).add(match[1])
    return max(map(len, members.values()), default=0)
