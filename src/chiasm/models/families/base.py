"""What a family of models does in its own way. Everything else comes from transformers' own accessors."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import transformers
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, UnbatchableError
from chiasm.interventions.skips import PERCEPTUAL
from chiasm.models.encoded import ROW_INPUTS, Encoded, ImageLayout


class Medium(NamedTuple):
    """One image, video or sound in the prompt: the `index`-th of its kind, of `width` x `height` original pixels.

    `positions` (n) are all tokens that the processor wrote for its placeholder, `ids` (n) their token ids. `frames`:
    how many a video has. A sound has no size.
    """

    index: int
    positions: np.ndarray
    ids: np.ndarray
    width: int = 0
    height: int = 0
    frames: int = 1


class Family:
    """Exceptions of one architecture. A new family is one file with one subclass.

    `model_types`: values of `config.model_type`. `kind`: how images enter and which way text attends. `modalities`:
    what the processor takes besides text. `fallback_template`: the chat template used when a checkpoint has none.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]
    fallback_template: ClassVar[str]
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    # The lowest version of transformers; None is what the package itself needs.
    min_transformers: ClassVar[str | None] = None
    # So many frames, evenly spaced, are taken from a video.
    max_frames: ClassVar[int] = 8
    # Its towers bring what they are given into their own type; where they do not, inputs are encoded in that type.
    casts_inputs: ClassVar[bool] = True
    # How many images a prompt may hold; None is any number.
    max_images: ClassVar[int | None] = None
    # The processor is given all images and videos as those of one prompt, since it treats several otherwise than one.
    one_prompt: ClassVar[bool] = False
    # Inputs that a batch puts one after the other along another axis than the first.
    concatenation_axes: ClassVar[Mapping[str, int]] = {}
    # Out of `newline`, `base`, `hd`: the sub-spans of `image` that only some families have.
    image_sub_spans: ClassVar[tuple[str, ...]] = ()
    # The module between tower and decoder; None where there is none.
    projector_name: ClassVar[str | None] = "multi_modal_projector"
    # All that is read of an image are its tower's states, one image per row: they can be computed once and kept.
    reads_tower_states: ClassVar[bool] = False
    layers_return_tuples: ClassVar[bool] = False
    # What lies between its head and its logits was measured on the model, whatever its configuration says.
    measures_head: ClassVar[bool] = False
    # How much more than its states a layer returns in its tuple.
    layer_extras: ClassVar[int] = 0
    # Whether another projector may stand in place of its own: its image tokens are not tied to the grid of patches.
    projector_can_be_swapped: ClassVar[bool] = False
    # No token attends to a later one. False where images or the whole prompt are read in both directions.
    causal: ClassVar[bool] = True
    # A padded batch is given `position_ids` counted from the attention mask: decoders that count rows from the left
    # edge would see shifted positions behind padding. Models with M-RoPE count for themselves.
    positions_from_mask: ClassVar[bool] = True
    # Arguments of its layers with one entry for each key, the last those of the rows themselves: an indexer turns keys
    # from before by rotary positions of its own.
    key_arguments: ClassVar[frozenset[str]] = frozenset()
    # Inputs with one entry for each token.
    row_inputs: ClassVar[frozenset[str]] = ROW_INPUTS
    # Its forward takes what the processor makes, whatever names it declares.
    takes_all_inputs: ClassVar[bool] = False
    # Options of its forward that go in with every input: what it draws random numbers by is switched off.
    switches: ClassVar[Mapping[str, bool]] = {}
    # Questions on one input may be computed in one walk.
    shares_inputs: ClassVar[bool] = True
    # What the suite refused of a model that is not listed, by capability with the reason; None for listed families.
    refused: ClassVar[Mapping[str, str] | None] = None

    @property
    def too_old(self) -> str:
        """Why the installed transformers does not do for this family; empty where it does."""
        installed, lowest = transformers.__version__, self.min_transformers
        if lowest is None or version_numbers(installed) >= version_numbers(lowest):
            return ""
        return f"transformers {installed} is installed, and `{self.name}` needs {lowest}"

    def require(self, config: Any) -> None:
        """Refuse a configuration of this family whose layers cannot be followed.

        **Errors:** `ChiasmError` with the reason.
        """

    def can(self, capability: str) -> bool:
        """Whether nothing was found against a capability."""
        return capability not in (self.refused or {})

    def require_can(self, capability: str, todo: str) -> None:
        """Refuse what the suite found that a model which is not listed cannot do.

        **Errors:** `ChiasmError` with the reason.
        """
        why = (self.refused or {}).get(capability)
        if why is not None:
            raise ChiasmError(f"{capability} of `{self.name}`", why, todo)

    def can_batch(self, encoded: Sequence[Encoded], config: Any) -> bool:
        """Whether `encoded` come out of one padded batch as they would alone."""
        return True

    def require_batchable(self, encoded: Sequence[Encoded], config: Any) -> None:
        """Refuse a batch that would change its examples.

        **Errors:** `UnbatchableError`.
        """
        if not self.can_batch(encoded, config):
            known = [why for name, why in (self.refused or {}).items() if name.startswith("padded batches")]
            found = known[0] if known else "in one batch they would be padded, which changes what is computed of them"
            raise UnbatchableError(f"a batch of {len(encoded)} examples of `{self.name}`", found, "Give --batch-size 1")

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        """Where each token of `image` looks, by what the given processor's own configuration says.

        `inputs` is what the processor made of the example (a batch of one).
        """
        raise self._without_rule("image")

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        """The same for every frame of `video`, in order; frames that the model merges are one."""
        raise self._without_rule("video")

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> Sequence[float | str]:
        """What the decoder knows of when each of a video's `frames` is shown; empty where it knows nothing.

        `shown_at`: seconds of all T frames that the processor is given, `fps` of them to the second.
        """
        return ()

    def max_audio_seconds(self, processor: Any) -> float | None:
        """Seconds of a sound that the model hears; None: however long it is."""
        return None

    def span_ids(self, config: Any) -> dict[str, tuple[int, ...]]:
        """The ids of the tokens that stand for an input and for nothing else, by kind: as its configuration names them.

        A kind whose tokens cannot be found by ids is left out.
        """
        found: dict[str, tuple[int, ...]] = {}
        for kind in PERCEPTUAL:
            token = getattr(config, f"{kind}_token_id", None)
            token = getattr(config, f"{kind}_token_index", None) if token is None else token
            if token is not None:
                found[kind] = (int(token),)
        return found

    def tower(self, model: nn.Module, modality: str) -> nn.Module:
        """The module that perceives one of `modalities`."""
        tower = model.get_encoder(modality=modality)
        decoder = model.get_decoder()
        # `get_encoder` answers with the model itself where it knows no better.
        if any(module is decoder for module in tower.modules()):
            raise ChiasmError(
                f"the {modality} tower of {type(model).__name__}",
                "transformers' `get_encoder` names none",
                f"Add `tower` to the family `{self.name}`",
            )
        return tower

    def vision_tower(self, model: nn.Module) -> nn.Module | None:
        """The module from pixels to features; None for a model that only hears."""
        return self.tower(model, "image") if self.modalities & {"image", "video"} else None

    def towers(self, model: nn.Module) -> tuple[nn.Module, ...]:
        """Every module that perceives, once."""
        found = [self.tower(model, modality) for modality in sorted(self.modalities)]
        return tuple({id(tower): tower for tower in found}.values())

    def head(self, model: nn.Module) -> nn.Module:
        """The module from the last state to a number for each token of the vocabulary."""
        return model.get_output_embeddings()

    def projector(self, model: nn.Module) -> nn.Module | None:
        """The module from image features to the decoder's width; None where there is none."""
        return None if self.projector_name is None else find_module(model, self.projector_name)

    def row_value(self, key: str) -> int:
        """What the row-wise input `key` holds at a text token appended after the prompt."""
        return 1 if key == "attention_mask" else 0

    def adjusted_logits(self, logits: Float[Tensor, "*n N"], text_config: Any) -> Float[Tensor, "*n N"]:
        """What the model does to its head's output before it hands it out: soft-capping where the config names it.

        Some classes that wrap a decoder leave that out: the view asks the model (`ModelView.changes_logits`).
        """
        cap = getattr(text_config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def expanded_prompt(self, text: str, processor: Any) -> str:
        """What the processor itself makes of a rendered prompt before it writes out placeholders."""
        return text

    def processor_prompt(self, text: str, processor: Any) -> str:
        """What the processor is given of a rendered prompt: some place the image themselves."""
        return text

    def processor_call(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the processor is called with, of what most are called with."""
        return given

    def placeholder(self, processor: Any, kind: str) -> str:
        """What a template writes for an input of `kind`; empty where it writes nothing that can be counted."""
        return str(getattr(processor, f"{kind}_token"))

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        """What the processor made of `text`, with offsets that count all characters and say where images went."""
        return raw

    def _without_rule(self, kind: str) -> ChiasmError:
        return ChiasmError(
            f"where the tokens of the {kind} look",
            f"the family `{self.name}` has no rule for it",
            f"Give it one, or take {kind} out of its modalities",
        )


def version_numbers(version: str) -> tuple[int, ...]:
    """A version in an order: its numbers, without what a development version adds."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def check_count(image: Medium, expected: int, how: str) -> None:
    """The processor's own token count must be what the geometry says, or the patches would be mislabelled."""
    if len(image.positions) != expected:
        raise ChiasmError(
            f"where the patches of image {image.index} ({image.width} x {image.height}) look",
            f"the processor wrote {len(image.positions)} tokens where its configuration means {expected} ({how})",
            "Check that the processor belongs to this model (patch size, image size, feature selection)",
        )


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The only module called `name`, however deep it lies: wrappers (PEFT, accelerate) add levels above."""
    found = [module for path, module in model.named_modules() if path.rpartition(".")[2] == name]
    if len(found) != 1:
        raise ChiasmError(
            f"the part `{name}` of {type(model).__name__}",
            f"{len(found)} modules have that name",
            "Check that the model is of the class its configuration names",
        )
    return found[0]
