"""Llama 3.2 Vision: the image is not in the sequence; some layers attend to it instead of to the text."""

from collections.abc import Mapping, Sequence
from typing import Any

from chiasm.core.errors import ExampleError
from chiasm.models.alignment import located
from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import placeless_layout
from chiasm.models.families.templates import turns


class Mllama(Family):
    """An image's token stands for all of it: hiding it also closes the cross-attention (Llama Team 2024)."""

    name = "mllama"
    model_types = ("mllama",)
    kind = "cross-attention, causal"
    fallback_template = turns(
        "<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>", "'<|image|>'", before="<|begin_of_text|>"
    )

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return placeless_layout(image, config.image_token_id)

    def can_batch(self, encoded: Sequence[Encoded], config: Any) -> bool:
        # Rows before an image attend to every column there is, those of absent images among them.
        return len({len(one.layouts) for one in encoded}) == 1

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        """Its processor writes out no placeholder, so it names no place either."""
        if "pixel_values" not in raw:
            raise ExampleError("without an image this model skips the layers that attend to it")
        counts, tokens = {"image": text.count(processor.image_token)}, {"image": (config.image_token_id,)}
        return raw | located(raw["input_ids"][0].numpy(), text, processor.tokenizer, counts, tokens)
