"""PaliGemma: the prompt is read in both directions, and only the answer is causal (prefix-LM)."""

from collections.abc import Mapping
from typing import Any

from chiasm.core.errors import ExampleError
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import grid_layout
from chiasm.models.families.templates import PLAIN


class PaliGemma(Family):
    """Every token of the prompt sees all of it, so cuts against the reading order act (Beyer et al. 2024)."""

    name = "paligemma"
    model_types = ("paligemma",)
    kind = "projector, prefix-LM"
    # The published checkpoints have none; the processor itself writes what stands between.
    fallback_template = PLAIN
    causal = False

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return grid_layout(image, config.image_token_id)

    def row_value(self, key: str) -> int:
        # What follows the prompt is its causal suffix, type 1.
        return 1 if key == "token_type_ids" else super().row_value(key)

    def expanded_prompt(self, text: str, processor: Any) -> str:
        if processor.image_token not in text:
            raise ExampleError("this model takes no question without an image")
        end = text.rfind(processor.image_token) + len(processor.image_token)
        return f"{text[:end]}{processor.tokenizer.bos_token}{text[end:]}\n"
