"""Mistral Small 3.1 and later: Pixtral's tower at the image's own shape, a break token behind every row."""

from collections.abc import Mapping
from typing import Any

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import rows_with_breaks
from chiasm.models.families.templates import INST


class Mistral3(Family):
    """Patches merged two by two; the token that ends the image is its last row's break (Agrawal et al. 2024)."""

    name = "mistral3"
    model_types = ("mistral3",)
    kind = "projector, native resolution, row breaks, causal"
    fallback_template = INST
    image_sub_spans = ("newline",)

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        side = config.vision_config.patch_size * config.spatial_merge_size
        return rows_with_breaks(image, inputs["image_sizes"][image.index], side)
