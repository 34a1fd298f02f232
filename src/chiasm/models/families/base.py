"""What a family of models does in its own way. Everything else comes from transformers' own accessors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import ImageLayout


class Placed(NamedTuple):
    """One image in the prompt: the `index`-th, of `width` x `height` original pixels.

    `positions` (n) are all tokens that the processor wrote for its placeholder, `ids` (n) their token ids.
    """

    index: int
    positions: np.ndarray
    ids: np.ndarray
    width: int
    height: int


class Family(ABC):
    """Exceptions of one architecture. A new family is one file with one subclass, and a line in the registry.

    `model_types`: values of `config.model_type`. `kind`: how pictures enter and which way text attends.
    `modalities`: what the processor takes besides text. `parts`: the sub-spans of `image` that only some families
    have, out of `newline`, `base`, `hd`. `positions_from_mask`: a padded batch is given `position_ids` counted from the
    attention mask (models with M-RoPE count for themselves). `fallback_template`: the chat template used when a
    checkpoint has none.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]
    fallback_template: ClassVar[str]
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    parts: ClassVar[tuple[str, ...]] = ()
    layers_return_tuples: ClassVar[bool] = False
    # No token attends to a later one. False where images or the whole prompt are read in both directions.
    causal: ClassVar[bool] = True
    # Decoders that count rows from the left edge see shifted positions behind padding unless they are told better.
    positions_from_mask: ClassVar[bool] = True

    @abstractmethod
    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        """Where each token of `image` looks, by what the given processor's own configuration says.

        `inputs` is what the processor made of the example (a batch of one).
        """

    def vision_tower(self, model: nn.Module) -> nn.Module:
        """The module from pixels to image features."""
        tower = model.get_encoder(modality="image")
        decoder = model.get_decoder()
        # `get_encoder` answers with the model itself where it knows no better.
        if any(module is decoder for module in tower.modules()):
            raise ChiasmError(
                f"the vision tower of {type(model).__name__}",
                "transformers' `get_encoder` names none",
                f"Add `vision_tower` to the family `{self.name}`",
            )
        return tower

    @abstractmethod
    def projector(self, model: nn.Module) -> nn.Module | None:
        """The module from image features to the decoder's width; None where there is none."""

    def row_value(self, key: str) -> int:
        """What the row-wise input `key` holds at a text token appended after the prompt."""
        return 1 if key == "attention_mask" else 0


def check_count(image: Placed, expected: int, how: str) -> None:
    """The processor's own token count must be what the geometry says, or the patches would be mislabelled."""
    if len(image.positions) != expected:
        raise ChiasmError(
            f"where the patches of image {image.index} ({image.width} x {image.height}) look",
            f"the processor wrote {len(image.positions)} tokens where its configuration means {expected} ({how})",
            "Check that the processor belongs to this model (patch size, image size, feature selection)",
        )


def part(model: nn.Module, name: str) -> nn.Module:
    """The only module called `name`, however deep it lies: wrappers (PEFT, accelerate) add levels above."""
    found = [module for path, module in model.named_modules() if path.rpartition(".")[2] == name]
    if len(found) != 1:
        raise ChiasmError(
            f"the part `{name}` of {type(model).__name__}",
            f"{len(found)} modules have that name",
            "Check that the model is of the class its configuration names",
        )
    return found[0]
