"""An architecture that is not listed, by generic rules alone. The suite says whether they answer it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import grid_layout, original_canvas, placeless_layout, processed_canvas
from chiasm.models.families.qwen2_vl import Qwen2VL

LayoutRule = Callable[[Medium, Mapping[str, Any], Any, Any], ImageLayout]

# Names under which models keep what lies between tower and decoder.
_PROJECTORS: Final = ("multi_modal_projector", "connector", "projector", "aligner", "merger", "mm_projector")


def _token(processor: Any, config: Any) -> int:
    """The id of the token that stands for a piece of an image."""
    for name in ("image_token_id", "image_token_index"):
        if isinstance(getattr(config, name, None), int):
            return getattr(config, name)
    return processor.image_token_id


def _cropped(image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
    canvas = processed_canvas(original_canvas(image), processor.image_processor)
    return grid_layout(image, _token(processor, config), canvas)


LAYOUT_RULES: Final[dict[str, LayoutRule]] = {
    "native grid": Qwen2VL().layout,
    "resized and cropped square": _cropped,
    "stretched square": lambda image, inputs, processor, config: grid_layout(image, _token(processor, config)),
    "unknown": lambda image, inputs, processor, config: placeless_layout(image, _token(processor, config)),
}
"""Where the tokens of an image may look, tried in this order by painting boxes; `unknown` leaves no object to cut."""


@dataclass(frozen=True, slots=True)
class GenericRules:
    """What the generic rules leave open, found on the model itself."""

    places: str = "unknown"
    causal: bool = True
    layers_return_tuples: bool = False


def modalities_of(config: Any) -> frozenset[str]:
    """What the configuration says that the model perceives."""
    named = config.to_dict().keys()
    perceived = {"vision_config": "image", "audio_config": "audio"}
    return frozenset(modality for part, modality in perceived.items() if part in named)


def unlisted_family(config: Any, rules: GenericRules) -> Family:
    """The family of an architecture that has no file of its own."""
    text = config.get_text_config(decoder=True)
    rotary = getattr(text, "rope_parameters", None) or {}
    given = rules

    class Unlisted(_Generic):
        name = config.model_type
        model_types = (config.model_type,)
        kind = f"not listed; generic rules, places of tokens: {given.places}"
        modalities = modalities_of(config)
        causal = given.causal
        layers_return_tuples = given.layers_return_tuples
        # Models with M-RoPE count for themselves.
        positions_from_mask = "mrope_section" not in rotary
        rules = given

    return Unlisted()


class _Generic(Family):
    # A checkpoint without a chat template of its own is refused: there is nothing to guess it from.
    fallback_template = ""
    rules: ClassVar[GenericRules] = GenericRules()

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        return LAYOUT_RULES[self.rules.places](image, inputs, processor, config)

    def projector(self, model: nn.Module) -> nn.Module | None:
        found = [m for path, m in model.named_modules() if path.rpartition(".")[2] in _PROJECTORS]
        return found[0] if len(found) == 1 else None
