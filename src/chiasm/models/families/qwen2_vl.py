"""Qwen2-VL: native resolution, one token per 2 x 2 patches, three-axis rotary positions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Placed, check_count, part
from chiasm.models.geometry import Canvas

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Qwen2VL(Family):
    """Native resolution, two by two patches merged into a token, 3-D rotary positions (Wang et al. 2024)."""

    name = "qwen2_vl"
    model_types = ("qwen2_vl",)
    kind = "projector, native resolution, causal, M-RoPE"
    fallback_template = CHATML
    positions_from_mask = False

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        merge = config.vision_config.spatial_merge_size
        _, high, wide = (int(n) for n in inputs["image_grid_thw"][image.index])
        rows, columns = high // merge, wide // merge
        check_count(image, rows * columns, f"{rows} x {columns} merged patches")
        # The whole picture is stretched over the grid, so a canvas of one pixel per token has the right shape.
        cells = Canvas(image.width, image.height).resize(columns, rows).cells(1, rows=rows, columns=columns)
        count = rows * columns
        return ImageLayout(
            image.positions,
            cells.reshape(-1, 4),
            np.full(count, "base"),
            np.zeros(count, dtype=bool),
            image.width,
            image.height,
        )

    def projector(self, model: nn.Module) -> nn.Module:
        return part(self.tower(model, "image"), "merger")
