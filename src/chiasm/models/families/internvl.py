"""InternVL: tiles of the stretched image, then a thumbnail, four patches shuffled into a token; videos as frames."""

import math
from collections.abc import Mapping
from typing import Any

from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

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
        steps, views = processor.image_processor, (image.ids == config.image_token_id).sum()
        rows = columns = 0
        if views > processor.image_seq_length:
            size, edges = (image.height, image.width), (steps.size.height, steps.size.width)
            columns, rows = get_optimal_tiled_canvas(size, edges, steps.min_patches, steps.max_patches)
        return tiled_layout(image, config.image_token_id, rows, columns, math.isqrt(processor.image_seq_length))

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        side = math.isqrt(processor.image_seq_length)
        return each_frame(video, cells(original_canvas(video), side, side), "frames", token=config.image_token_id)
