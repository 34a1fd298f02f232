"""Llama 4: experts, attention in chunks, and layers without rotary positions that count rows instead."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.models.families.base import Family, Placed, check_count, part
from chiasm.models.geometry import Canvas

HEADERS = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}"
    "{{ '<|header_start|>' + message['role'] + '<|header_end|>\n\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<|image|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|header_start|>assistant<|header_end|>\n\n' }}{% endif %}"
)


class Llama4(Family):
    """Tiles of the padded picture, then the whole of it in one (Meta 2025)."""

    name = "llama4"
    model_types = ("llama4",)
    kind = "projector, tiles, causal, mixture of experts, attention in chunks"
    fallback_template = HEADERS
    parts = ("base", "hd")

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        # Needs torchvision, as the processor itself does: nobody else has to have it.
        from transformers.models.llama4 import image_processing_llama4 as rules

        steps = processor.image_processor
        edge, vision = steps.size.height, config.vision_config
        side = round(edge // vision.patch_size * vision.pixel_shuffle_ratio)
        size = (image.height, image.width)
        known = torch.tensor(rules.find_supported_resolutions(max_num_chunks=steps.max_patches, patch_size=steps.size))
        high, wide = (int(n) for n in rules.get_best_fit(size, known, resize_to_max_canvas=steps.resize_to_max_canvas))
        within = (high, wide)
        if not steps.resize_to_max_canvas:
            within = (min(max(image.height, edge), high), min(max(image.width, edge), wide))
        inner = rules.get_max_res_without_distortion(size, within)
        whole = Canvas(image.width, image.height)
        rows, columns = high // edge, wide // edge
        # The picture lies in the upper left corner of its tiles.
        canvas = whole.resize(max(int(inner[1]), 1), max(int(inner[0]), 1)).frame(0, 0, wide, high)
        cells = canvas.cells(edge // side, rows=rows * side, columns=columns * side)
        fine = cells.reshape(rows, side, columns, side, 4).transpose(0, 2, 1, 3, 4).reshape(-1, 4)
        base = whole.resize(side, side).cells(1, rows=side, columns=side).reshape(-1, 4)
        if rows * columns == 1:
            fine, base = fine[:0], fine
        positions = image.positions[image.ids == config.image_token_id]
        check_count(
            image._replace(positions=positions), len(fine) + len(base), f"{rows} x {columns} tiles of {side} x {side}"
        )
        tile = np.array(["hd"] * len(fine) + ["base"] * len(base))
        rects = np.concatenate([fine, base])
        return ImageLayout(positions, rects, tile, np.zeros(len(tile), dtype=bool), image.width, image.height)

    def projector(self, model: nn.Module) -> nn.Module:
        return part(model, "multi_modal_projector")

    def together(self, encoded: Sequence[Encoded], config: Any) -> bool:
        # Layers without rotary positions scale queries by the number of their row, padding counted, in steps.
        lengths = {one.length for one in encoded}
        return len(lengths) == 1 or max(lengths) < config.text_config.floor_scale
