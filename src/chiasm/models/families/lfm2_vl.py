"""LFM2-VL: most decoder layers are short convolutions, a few attend; large pictures come as tiles and a thumbnail."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Placed, check_count, part
from chiasm.models.families.qwen2_vl import CHATML
from chiasm.models.geometry import Canvas


class Lfm2VL(Family):
    """Cuts act in the layers that attend; convolutions hand on what they like in between (Liquid AI 2025)."""

    name = "lfm2_vl"
    model_types = ("lfm2_vl",)
    kind = "projector, native resolution, hybrid of convolutions and attention"
    fallback_template = CHATML.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>")
    parts = ("base", "hd")

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        steps, whole = processor.image_processor, Canvas(image.width, image.height)
        names = processor.tokenizer.convert_ids_to_tokens(image.ids)
        marks = [re.fullmatch(r"<\|img_row_(\d+)_col_(\d+)\|>", name) for name in names]
        tiles = [(int(mark[1]), int(mark[2])) for mark in marks if mark]
        factor = steps.encoder_patch_size * steps.downsample_factor
        width, height = steps.smart_resize(
            image.height,
            image.width,
            steps.downsample_factor,
            steps.min_image_tokens,
            steps.max_image_tokens,
            steps.encoder_patch_size,
        )
        fine, view = np.empty((0, 4)), _grid(whole, width // factor, height // factor)
        if tiles:
            side = steps.tile_size // factor
            rows, columns = (max(numbers) for numbers in zip(*tiles, strict=True))
            # Tile by tile, and row by row within each.
            cells = _grid(whole, columns * side, rows * side).reshape(rows, side, columns, side, 4)
            fine = cells.transpose(0, 2, 1, 3, 4).reshape(-1, 4)
            view = view if steps.use_thumbnail else view[:0]
        found = image._replace(positions=image.positions[image.ids == config.image_token_id])
        count = len(fine) + len(view)
        check_count(found, count, f"{len(tiles)} tiles and a view of {height} x {width} pixels")
        tile = np.array(["hd"] * len(fine) + ["base"] * len(view))
        rects = np.concatenate([fine, view])
        return ImageLayout(found.positions, rects, tile, np.zeros(count, dtype=bool), image.width, image.height)

    def projector(self, model: nn.Module) -> nn.Module:
        return part(model, "multi_modal_projector")


def _grid(whole: Canvas, columns: int, rows: int) -> np.ndarray:
    return whole.resize(columns, rows).cells(1, rows=rows, columns=columns).reshape(-1, 4)
