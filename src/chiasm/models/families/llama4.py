"""Llama 4: experts, attention in chunks, and layers without rotary positions that count rows instead."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import cells, make_layout, original_canvas, tiles
from chiasm.models.families.templates import turns


class Llama4(Family):
    """Tiles of the padded image, then the whole of it in one (Meta 2025)."""

    name = "llama4"
    model_types = ("llama4",)
    kind = "projector, tiles, causal, mixture of experts, attention in chunks"
    casts_inputs = False
    fallback_template = turns(
        "<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>", "'<|image|>'", before="<|begin_of_text|>"
    )
    image_sub_spans = ("base", "hd")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        edge, vision = processor.image_processor.size.height, config.vision_config
        side = round(edge // vision.patch_size * vision.pixel_shuffle_ratio)
        names = processor.tokenizer.convert_ids_to_tokens(image.ids)
        rows = names.count(processor.tile_global_token) or 1
        columns = names.count(processor.tile_token) // rows + 1
        high, wide = rows * edge, columns * edge
        within = (wide, high)
        if not processor.image_processor.resize_to_max_canvas:
            within = (min(max(image.width, edge), wide), min(max(image.height, edge), high))
        # The image lies in the upper left corner of its tiles.
        canvas = original_canvas(image).fit(*within, lambda pixels: max(math.floor(pixels), 1)).frame(0, 0, wide, high)
        views = {"base": tiles(canvas, rows, columns, side)}
        if rows * columns > 1:
            views = {"hd": views["base"], "base": cells(original_canvas(image), side, side)}
        return make_layout(image, views, f"{rows} x {columns} tiles of {side} x {side}", token=config.image_token_id)

    def can_batch(self, encoded: Sequence[Encoded], config: Any) -> bool:
        # Layers without rotary positions scale queries by the number of their row, padding counted, in steps.
        lengths = {one.length for one in encoded}
        return len(lengths) == 1 or max(lengths) < config.text_config.floor_scale
