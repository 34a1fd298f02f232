"""Qwen2-VL: native resolution, one token per 2 x 2 patches, frames in pairs, three-axis rotary positions."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium, find_module
from chiasm.models.families.grids import Rects, cells, each_frame, make_layout, original_canvas
from chiasm.models.families.templates import chatml

CHATML = chatml("'<|vision_start|><|' + part['type'] + '_pad|><|vision_end|>'")


class Qwen2VL(Family):
    """Native resolution, two by two patches merged into a token, 3-D rotary positions (Wang et al. 2024).

    A frame of a video is a temporal patch: as many frames as the tower merges (two in all published checkpoints), the
    last of an odd number beside itself.
    """

    name = "qwen2_vl"
    model_types = ("qwen2_vl",)
    kind = "projector, native resolution, frames in pairs, causal, M-RoPE"
    fallback_template = CHATML
    modalities = frozenset({"image", "video"})
    positions_from_mask = False

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        rects, _, how = _grid(image, inputs["image_grid_thw"], config)
        return make_layout(image, {"base": rects}, how)

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        rects, count, how = _grid(video, inputs["video_grid_thw"], config)
        # Times and marks are written between the frames by some (Qwen3-VL).
        return each_frame(video._replace(frames=count), rects, f"frames of {how}", token=config.video_token_id)

    def projector(self, model: nn.Module) -> nn.Module:
        return find_module(self.tower(model, "image"), "merger")


def _grid(seen: Medium, grids: Any, config: Any) -> tuple[Rects, int, str]:
    """Where the tokens of one temporal patch look, how many of those there are, and the grid in words."""
    merge = config.vision_config.spatial_merge_size
    count, high, wide = (int(n) for n in grids[seen.index])
    rows, columns = high // merge, wide // merge
    # The whole image is stretched over the grid.
    return cells(original_canvas(seen), rows, columns), count, f"{rows} x {columns} merged patches"
