"""LFM2-VL: most decoder layers are short convolutions, a few attend; large images come as tiles and a thumbnail."""

import re
from collections.abc import Mapping
from typing import Any

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import cells, make_layout, original_canvas, tiles
from chiasm.models.families.templates import chatml


class Lfm2VL(Family):
    """Cuts act in the layers that attend; convolutions hand on what they like in between (Liquid AI 2025)."""

    name = "lfm2_vl"
    model_types = ("lfm2_vl",)
    kind = "projector, native resolution, hybrid of convolutions and attention"
    fallback_template = chatml()
    image_sub_spans = ("base", "hd")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        steps, whole = processor.image_processor, original_canvas(image)
        factor = steps.encoder_patch_size * steps.downsample_factor
        limits = (steps.min_image_tokens, steps.max_image_tokens, steps.encoder_patch_size)
        width, height = steps.smart_resize(image.height, image.width, steps.downsample_factor, *limits)
        views = {"base": cells(whole, height // factor, width // factor)}
        names = processor.tokenizer.convert_ids_to_tokens(image.ids)
        marks = [mark for mark in (re.fullmatch(r"<\|img_row_(\d+)_col_(\d+)\|>", name) for name in names) if mark]
        if marks:
            rows, columns = (max(int(mark[side]) for mark in marks) for side in (1, 2))
            fine = {"hd": tiles(whole, rows, columns, steps.tile_size // factor)}
            views = fine | views if steps.use_thumbnail else fine
        how = f"{len(marks)} tiles and a view of {height} x {width} pixels"
        return make_layout(image, views, how, token=config.image_token_id)
