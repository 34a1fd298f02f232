"""LLaVA-OneVision: one image as LLaVA-NeXT, thinned where it is large; several as one view each; pooled frames."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Medium, check_count
from chiasm.models.families.grids import make_layout, no_places, original_canvas, processed_canvas
from chiasm.models.families.llava_next import LlavaNext, grid
from chiasm.models.families.templates import chatml


class LlavaOnevision(LlavaNext):
    """Images, several images and videos through one tower, a newline token behind each view (Li et al. 2024)."""

    name = "llava_onevision"
    model_types = ("llava_onevision",)
    kind = "projector, any resolution, frames pooled, causal"
    fallback_template = chatml()
    modalities = frozenset({"image", "video"})
    one_prompt = True

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        if int(inputs["batch_num_images"][0]) == 1:
            return super().layout(image, inputs, processor, config)
        steps, side = processor.image_processor, config.vision_config.patch_size
        return _view_with_newline(image, grid(processed_canvas(original_canvas(image), steps), side).reshape(-1, 4))

    def shrunk(self, grid: np.ndarray, processor: Any, config: Any) -> np.ndarray:
        rows, columns = grid.shape[:2]
        most = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (most * processor.num_image_tokens))
        if ratio <= 1.1:
            return grid
        return _resampled_cells(grid, int(rows // ratio), int(columns // ratio))

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        steps, side = processor.video_processor, config.vision_config.patch_size
        patches = grid(processed_canvas(original_canvas(video), steps), side)
        rows, columns = (math.ceil(count / 2) for count in patches.shape[:2])
        rects = _resampled_cells(patches, rows, columns).reshape(-1, 4)
        check_count(video, video.frames * len(rects) + 1, f"{video.frames} frames of {rows} x {columns}, a newline")
        frames = [video._replace(positions=p) for p in np.split(video.positions[:-1], video.frames)]
        # The only newline stands behind the last frame.
        last = frames[-1]._replace(positions=np.append(frames[-1].positions, video.positions[-1]))
        plain = (make_layout(frame, {"base": rects}, f"{len(rects)} patches") for frame in frames[:-1])
        return (*plain, _view_with_newline(last, rects))


def _view_with_newline(view: Medium, rects: np.ndarray) -> ImageLayout:
    """One view and a newline token behind it."""
    lines, newline = np.concatenate([rects, no_places(1)]), np.repeat([False, True], [len(rects), 1])
    return make_layout(view, {"base": lines}, f"{len(rects)} patches and a newline", newline=newline)


def _resampled_cells(patches: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """So many equal cells over the area of `patches`, as bilinear thinning reads it."""
    left, top, right, bottom = patches[0, 0, 0], patches[0, 0, 1], patches[-1, -1, 2], patches[-1, -1, 3]
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    found = np.empty((rows, columns, 4))
    found[..., 0], found[..., 2] = x[None, :-1], x[None, 1:]
    found[..., 1], found[..., 3] = y[:-1, None], y[1:, None]
    return found
