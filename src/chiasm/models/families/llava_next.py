"""LLaVA-NeXT (1.6): a view of the whole image, then tiles at high resolution, a newline token after each row."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from transformers.image_processing_utils import select_best_resolution

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import make_layout, original_canvas, processed_canvas
from chiasm.models.families.llava import with_class_token
from chiasm.models.families.templates import VICUNA
from chiasm.models.geometry import Canvas


class LlavaNext(Family):
    """The whole image, then its tiles row by row, a newline token after every row (Liu et al. 2024)."""

    name = "llava_next"
    model_types = ("llava_next",)
    kind = "projector, any resolution, causal"
    fallback_template = VICUNA
    image_sub_spans = ("newline", "base", "hd")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        steps, side = processor.image_processor, config.vision_config.patch_size
        whole = original_canvas(image)
        edge = (steps.size.width, steps.size.height) if steps.size.height else (steps.size.shortest_edge,) * 2
        base = grid(processed_canvas(whole.resize(*edge), steps), side).reshape(-1, 4)
        fine = self.shrunk(_unpadded(_tiles(whole, steps, side), image.width, image.height), processor, config)
        rows, columns = fine.shape[:2]
        # Each row of patches, left to right, and its newline.
        lines = np.concatenate([fine, np.full((rows, 1, 4), np.nan)], axis=1).reshape(-1, 4)
        base = with_class_token(base, len(image.positions) - len(lines))
        newline = np.zeros(len(base) + len(lines), dtype=bool)
        newline[len(base) + columns :: columns + 1] = True
        how = f"{len(base)} base and {rows} x ({columns} + newline) tokens"
        return make_layout(image, {"base": base, "hd": lines}, how, newline=newline)

    def shrunk(self, grid: np.ndarray, processor: Any, config: Any) -> np.ndarray:
        """The rows x columns x 4 patches of all tiles as the model keeps them."""
        return grid


def grid(canvas: Canvas, side: int) -> np.ndarray:
    """rows x columns x 4: the patches of a canvas that whole patches fill."""
    return canvas.cells(side, rows=canvas.height // side, columns=canvas.width // side)


def _tiles(whole: Canvas, steps: Any, side: int) -> np.ndarray:
    """rows x columns x 4: the patches of all tiles, put together as one image."""
    height, width = select_best_resolution((whole.height, whole.width), steps.image_grid_pinpoints)
    fitted = whole.fit(width, height, math.ceil)
    padded = fitted.frame(-((width - fitted.width) // 2), -((height - fitted.height) // 2), width, height)
    tile = (steps.crop_size and steps.crop_size.height) or steps.size.height or steps.size.shortest_edge
    tiles = [
        [grid(processed_canvas(padded.frame(left, top, tile, tile), steps), side) for left in range(0, width, tile)]
        for top in range(0, height, tile)
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in tiles])


def _unpadded(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """The rows or columns that the model drops since they show padding only (`unpad_image` in transformers)."""
    rows, columns = grid.shape[:2]
    if width / height > columns / rows:
        drop = (rows - int(round(height * (columns / width), 7))) // 2
        return grid[drop : rows - drop]
    drop = (columns - int(round(width * (rows / height), 7))) // 2
    return grid[:, drop : columns - drop]
