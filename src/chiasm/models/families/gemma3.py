"""Gemma 3: the tokens of one image see each other in both directions; most layers see a sliding window."""

from collections.abc import Mapping
from typing import Any

from chiasm.core.errors import ExampleError
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import grid_layout
from chiasm.models.families.templates import turns


class Gemma3(Family):
    """Image blocks are read in both directions, text is causal, windows slide (Gemma Team 2025)."""

    name = "gemma3"
    model_types = ("gemma3",)
    kind = "projector, bidirectional image blocks, sliding windows"
    fallback_template = turns(
        "<start_of_turn>ROLE\n", "<end_of_turn>\n", "'<start_of_image>'", before="<bos>", answer="model"
    )
    causal = False

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        if (image.ids == config.image_token_id).sum() != processor.image_seq_length:
            raise ExampleError("pan and scan cut the image into crops, whose places are not followed; switch it off")
        return grid_layout(image, config.image_token_id)
