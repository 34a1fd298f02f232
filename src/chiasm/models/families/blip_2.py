"""BLIP-2: a fixed number of queries read the image; what they bring back are the image tokens."""

from collections.abc import Mapping
from typing import Any

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.alignment import located
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import placeless_layout
from chiasm.models.families.templates import ASK


class Blip2(Family):
    """Image tokens are queries, so that no box belongs to any of them (Li et al. 2023)."""

    name = "blip_2"
    model_types = ("blip-2",)
    kind = "query transformer, causal"
    fallback_template = ASK
    projector_name = "language_projection"
    # OPT counts positions from the mask itself.
    positions_from_mask = False
    max_images = 1

    def require(self, config: Any) -> None:
        if config.text_config.is_encoder_decoder:
            raise ChiasmError(
                "open the model",
                f"its language model `{config.text_config.model_type}` is an encoder with a decoder, whose cuts would "
                "be on three attentions; the nearest supported kind is a BLIP-2 with a decoder alone",
                "Use a checkpoint with OPT or Vicuna",
            )

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return placeless_layout(image, config.image_token_id)

    def processor_prompt(self, text: str, processor: Any) -> str:
        return text.replace(str(processor.image_token), "")

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        """Its processor puts the image tokens before the text's own first token, and counts characters of both anew."""
        images, ids = text.count(str(processor.image_token)), raw["input_ids"][0].numpy()
        if images and config.image_token_id not in ids:
            raise ChiasmError(
                "to place the image tokens", "the processor writes none", "Set its `num_query_tokens` to the model's"
            )
        if not images and "pixel_values" not in raw:
            raise ExampleError("this model takes no question without an image")
        tokens = {"image": (config.image_token_id,)}
        return raw | located(ids, text, processor.tokenizer, {"image": images}, tokens)
