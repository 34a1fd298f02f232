"""PaliGemma: the prompt is read in both directions, and only the answer is causal (prefix-LM)."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Placed, part
from chiasm.models.families.grids import square_layout

# The published checkpoints have no template: pictures come first, the processor itself writes what stands between.
PLAIN = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endfor %}"
)


class PaliGemma(Family):
    """Every token of the prompt sees all of it, so cuts against the reading order act (Beyer et al. 2024)."""

    name = "paligemma"
    model_types = ("paligemma",)
    kind = "projector, prefix-LM"
    fallback_template = PLAIN
    causal = False

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return square_layout(image, config.image_token_id)

    def projector(self, model: nn.Module) -> nn.Module:
        return part(model, "multi_modal_projector")

    def row_value(self, key: str) -> int:
        # What follows the prompt is its causal suffix, type 1.
        return 1 if key == "token_type_ids" else super().row_value(key)

    def written(self, text: str, processor: Any) -> str:
        end = text.rfind(processor.image_token) + len(processor.image_token)
        return f"{text[:end]}{processor.tokenizer.bos_token}{text[end:]}\n"
