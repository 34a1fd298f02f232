"""Operations of vision towers and projectors, counted from shapes for the families whose towers are known so well."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from chiasm.models.families.base import Family


def operations_from_shapes(
    family: Family, config: Any, tower: nn.Module | None, projector: nn.Module | None, inputs: Mapping[str, Any]
) -> int | None:
    """What tower and projector take for the images and videos of `inputs`; None where the family has no rule here.

    `config`: of the whole model.
    """
    if tower is None or projector is None:
        return None
    match family.name:
        case "llava":
            return _clip(config, tower, projector, inputs, tiles=False)
        case "llava_next":
            return _clip(config, tower, projector, inputs, tiles=True)
        case "qwen2_vl":
            return _native_resolution(config.vision_config, tower, projector, inputs, windows=False)
        case "qwen2_5_vl":
            return _native_resolution(config.vision_config, tower, projector, inputs, windows=True)
    return None


def linear_weights(module: nn.Module) -> int:
    """Weights of all linear layers in `module`: multiply-adds per row."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def _clip(config: Any, tower: nn.Module, projector: nn.Module, inputs: Mapping[str, Any], *, tiles: bool) -> int:
    """A CLIP-style tower on one view per image, or on the tiles of any-resolution processors."""
    pixels = inputs.get("pixel_values")
    if pixels is None:
        return 0
    side = int(config.vision_config.patch_size)
    patches = (pixels.shape[-2] // side) * (pixels.shape[-1] // side)
    views = int(pixels.shape[0])
    if tiles:
        # What any-resolution processors cut, without their padding.
        pinpoints, edge = config.image_grid_pinpoints, config.vision_config.image_size
        views = sum(image_size_to_num_patches(size, pinpoints, edge) for size in inputs["image_sizes"])
    convolutions = [m for m in tower.modules() if isinstance(m, nn.Conv2d)]
    # CLIP has a class token beside its patches, which projectors leave out by default.
    class_token = any(name.endswith("class_embedding") for name, _ in tower.named_parameters())
    rows = patches + class_token
    depth, width = (int(getattr(config.vision_config, name)) for name in ("num_hidden_layers", "hidden_size"))
    embedding = 2 * patches * sum(m.weight.numel() for m in convolutions)
    blocks = 2 * rows * linear_weights(tower) + depth * 2 * 2 * rows * rows * width
    projected = rows if config.vision_feature_select_strategy == "full" else patches
    return views * (embedding + blocks + 2 * projected * linear_weights(projector))


def _native_resolution(
    config: Any, tower: nn.Module, projector: nn.Module, inputs: Mapping[str, Any], *, windows: bool
) -> int:
    """Qwen's towers, whose projector is part of them; `windows`: most layers attend within windows."""
    grids = [inputs[key] for key in ("image_grid_thw", "video_grid_thw") if inputs.get(key) is not None]
    if not grids:
        return 0
    width = int(getattr(config, "embed_dim", None) or config.hidden_size)
    convolutions = sum(m.weight.numel() for m in tower.modules() if isinstance(m, nn.Conv3d))
    merger = linear_weights(projector)
    blocks = linear_weights(tower) - merger
    total = 0
    for time, high, wide in torch.cat(grids).tolist():
        patches = time * high * wide
        merged = patches // int(config.spatial_merge_size) ** 2
        total += 2 * (patches * (convolutions + blocks) + merged * merger)
        pairs = _attention_pairs(config, high, wide, windows=windows)
        total += 2 * 2 * width * time * sum(pairs[layer] for layer in range(config.depth))
    return total


def _attention_pairs(config: Any, high: int, wide: int, *, windows: bool) -> list[int]:
    """Rows x columns of attention in every layer of the tower, for one frame of `high` x `wide` patches."""
    whole = (high * wide) ** 2
    if not windows:
        return [whole] * config.depth
    # Windows of whole merged patches; those at the edges are smaller.
    side = config.window_size // config.patch_size // config.spatial_merge_size * config.spatial_merge_size
    lengths = [[min(side, size - start) for start in range(0, size, side)] for size in (high, wide)]
    windowed = sum((a * b) ** 2 for a in lengths[0] for b in lengths[1])
    return [whole if layer in config.fullatt_block_indexes else windowed for layer in range(config.depth)]
