"""Idefics3: tiles row by row with marks between them, then the whole image, four patches shuffled into a token."""

from collections.abc import Mapping
from typing import Any

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import tiled_layout
from chiasm.models.families.templates import utterances


class Idefics3(Family):
    """The image is stretched to whole tiles; its marks of row and column are text (Laurençon et al. 2024)."""

    name = "idefics3"
    model_types = ("idefics3",)
    kind = "projector, tiles, pixel shuffle, causal"
    fallback_template = utterances("<|begin_of_text|>")
    projector_name = "connector"
    image_sub_spans = ("base", "hd")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return tiled_layout(image, config.image_token_id, processor.image_seq_len)
