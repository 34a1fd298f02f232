"""Janus: a SigLIP tower reads images; another tokenizer, unused here, is for drawing them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium, find_module
from chiasm.models.families.grids import grid_layout, original_canvas
from chiasm.models.families.templates import turns


class Janus(Family):
    """Understanding and drawing part before the decoder: only the former is followed (Wu et al. 2024)."""

    name = "janus"
    model_types = ("janus",)
    kind = "projector, one decoder for reading and drawing, causal"
    fallback_template = turns("<|ROLE|>: ", "\n\n", "'<image_placeholder>\n'", answer="Assistant")
    projector_name = "aligner"

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        steps, canvas = processor.image_processor, original_canvas(image)
        if steps.do_resize:
            scale = steps.size.height / max(image.width, image.height)
            width, height = (max(round(side * scale), steps.min_size) for side in (image.width, image.height))
            canvas = canvas.resize(width, height)
        return grid_layout(image, config.image_token_id, canvas.square() if steps.do_pad else canvas)

    def tower(self, model: nn.Module, modality: str) -> nn.Module:
        return find_module(model, "vision_model")
