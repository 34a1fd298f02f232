"""InternVL: tiles of the stretched image, then a thumbnail, four patches shuffled into a token; videos as frames."""

import math
from collections.abc import Mapping
from typing import Any

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import cells, each_frame, original_canvas, tiled_layout
from chiasm.models.families.templates import turns

_MEDIA = "('<IMG_CONTEXT>' if part['type'] == 'image' else '<video>') + '\n'"


class InternVL(Family):
    """As many tiles as come nearest to the image's shape, the whole of it behind them (Zhu et al. 2025)."""

    name = "internvl"
    model_types = ("internvl",)
    kind = "projector, tiles, frames, pixel shuffle, causal"
    fallback_template = turns("<|im_start|>ROLE\n", "<|im_end|>\n", _MEDIA)
    modalities = frozenset({"image", "video"})
    image_sub_spans = ("base", "hd")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return tiled_layout(image, config.image_token_id, processor.image_seq_length)

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        side = math.isqrt(processor.image_seq_length)
        return each_frame(video, cells(original_canvas(video), side, side), "frames", token=config.image_token_id)
