"""LLaVA-NeXT-Video: images as LLaVA-NeXT, videos as frames whose neighbouring patches are pooled."""

from collections.abc import Mapping
from typing import Any

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Medium
from chiasm.models.families.grids import each_frame, original_canvas, processed_canvas
from chiasm.models.families.llava_next import LlavaNext


class LlavaNextVideo(LlavaNext):
    """Every frame by itself through the tower, then pooled 2 x 2 (Zhang et al. 2024)."""

    name = "llava_next_video"
    model_types = ("llava_next_video",)
    kind = "projector, frames pooled, causal"
    modalities = frozenset({"image", "video"})
    # The model takes the features of all frames in a row, whichever clip they are of: clips may differ in length.
    concatenation_axes = {"pixel_values_videos": 1}  # noqa: RUF012

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        side, stride = config.vision_config.patch_size, config.spatial_pool_stride
        canvas = processed_canvas(original_canvas(video), processor.video_processor)
        rows, columns = canvas.height // side // stride, canvas.width // side // stride
        rects = canvas.cells(side * stride, rows=rows, columns=columns).reshape(-1, 4)
        return each_frame(video, rects, f"frames of {rows} x {columns} pooled patches")
