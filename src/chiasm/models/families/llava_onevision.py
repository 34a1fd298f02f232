"""LLaVA-OneVision: one picture as LLaVA-NeXT, thinned where it is large; several as one view each; pooled frames."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Placed, check_count
from chiasm.models.families.clip_steps import prepared
from chiasm.models.families.llava_next import LlavaNext, grid
from chiasm.models.families.qwen2_vl import CHATML
from chiasm.models.geometry import Canvas

_VISION = "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"


class LlavaOnevision(LlavaNext):
    """Pictures, several pictures and videos through one tower, a newline token behind each view (Li et al. 2024)."""

    name = "llava_onevision"
    model_types = ("llava_onevision",)
    kind = "projector, any resolution, frames pooled, causal"
    fallback_template = CHATML.replace("== 'image'", "!= 'text'").replace(_VISION, "{{ '<' + part['type'] + '>' }}")
    modalities = frozenset({"image", "video"})
    one_prompt = True

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        if int(inputs["batch_num_images"][0]) == 1:
            return super().layout(image, inputs, processor, config)
        steps, side = processor.image_processor, config.vision_config.patch_size
        rects = grid(prepared(Canvas(image.width, image.height), steps), side).reshape(-1, 4)
        check_count(image, len(rects) + 1, f"{len(rects)} patches and a newline")
        return _closed(image.positions, rects, image)

    def shrunk(self, grid: np.ndarray, processor: Any, config: Any) -> np.ndarray:
        rows, columns = grid.shape[:2]
        most = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (most * processor.num_image_tokens))
        if ratio <= 1.1:
            return grid
        return _spread(grid, int(rows // ratio), int(columns // ratio))

    def frames(self, video: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        steps, side = processor.video_processor, config.vision_config.patch_size
        patches = grid(prepared(Canvas(video.width, video.height), steps), side)
        rows, columns = (math.ceil(count / 2) for count in patches.shape[:2])
        rects = _spread(patches, rows, columns).reshape(-1, 4)
        check_count(video, video.frames * len(rects) + 1, f"{video.frames} frames of {rows} x {columns}, a newline")
        *frames, last = np.split(video.positions[:-1], video.frames)
        plain = [ImageLayout(p, rects, *_marks(len(rects), 0), video.width, video.height) for p in frames]
        # The only newline stands behind the last frame.
        return (*plain, _closed(np.append(last, video.positions[-1]), rects, video))


def _closed(positions: np.ndarray, rects: np.ndarray, shown: Placed) -> ImageLayout:
    """One view and a newline token behind it."""
    lines = np.concatenate([rects, np.full((1, 4), np.nan)])
    return ImageLayout(positions, lines, *_marks(len(rects), 1), shown.width, shown.height)


def _marks(patches: int, newlines: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(patches + newlines, "base"), np.repeat([False, True], [patches, newlines])


def _spread(patches: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """So many equal cells over the area of `patches`, as bilinear thinning reads it."""
    left, top, right, bottom = patches[0, 0, 0], patches[0, 0, 1], patches[-1, -1, 2], patches[-1, -1, 3]
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    found = np.empty((rows, columns, 4))
    found[..., 0], found[..., 2] = x[None, :-1], x[None, 1:]
    found[..., 1], found[..., 3] = y[:-1, None], y[1:, None]
    return found
