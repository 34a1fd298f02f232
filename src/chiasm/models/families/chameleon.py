"""Chameleon: images are tokens of the vocabulary, found by a quantiser; there is no projector."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium, find_module
from chiasm.models.families.grids import grid_layout, original_canvas, processed_canvas
from chiasm.models.families.templates import PLAIN


class Chameleon(Family):
    """Early fusion: one embedding table for words and for the codes of images (Chameleon Team 2024)."""

    name = "chameleon"
    model_types = ("chameleon",)
    kind = "natively multimodal tokens, causal"
    fallback_template = PLAIN
    layers_return_tuples = True
    projector_name = None
    casts_inputs = False

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        canvas = processed_canvas(original_canvas(image), processor.image_processor)
        return grid_layout(image, processor.image_token_id, canvas)

    def tower(self, model: nn.Module, modality: str) -> nn.Module:
        return find_module(model, "vqmodel").get_submodule("encoder")

    def adjusted_logits(self, logits: Float[Tensor, "*n N"], text_config: Any) -> Float[Tensor, "*n N"]:
        # It never writes images: their tokens are closed.
        closed = [token for name, token in text_config.vocabulary_map.items() if name.startswith("IMGIMG")]
        logits = logits.clone()
        logits[..., closed] = torch.finfo(logits.dtype).min
        return logits

    def expanded_prompt(self, text: str, processor: Any) -> str:
        return f"{text}{processor.tokenizer.sep_token}"
