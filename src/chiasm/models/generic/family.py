"""The family of an architecture that is not listed, made of the rules that it answers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.alignment import located
from chiasm.models.encoded import ROW_INPUTS, Encoded, ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import no_places
from chiasm.models.generic.places import Seen, places
from chiasm.models.generic.rules import GenericRules

# Names under which models keep what lies between tower and decoder, and head and what perceives where transformers' own
# accessors name nothing.
_PROJECTORS: Final = ("multi_modal_projector", "connector", "projector", "aligner", "merger", "mm_projector")
_HEADS: Final = ("lm_head", "embed_out", "output_projection")
_OF_CLIPS: Final = ("do_sample_frames", "video_metadata", "return_metadata")
_TOWERS: Final = {
    "image": re.compile(
        r"vision_tower|vision_model|visual|image_encoder|vision_encoder|vision_embed_tokens|img_processor"
    ),
    "video": re.compile(r"video_tower|vision_tower|vision_model|visual|vision_encoder"),
    "audio": re.compile(r"audio_tower|audio_encoder|audio_model|speech_encoder|encoder"),
}

_OF_OTHERS: Final = {"audio": re.compile(r"vision|visual|image|img|video")}


def generic_family(config: Any, given: GenericRules) -> Family:
    """The family of an architecture that has no file of its own."""
    names = frozenset(given.modalities)

    class Unlisted(_Generic):
        name = config.model_type
        model_types = (config.model_type,)
        kind = f"not listed; generic rules, places of tokens: {given.places}"
        modalities = names
        causal = given.causal
        layers_return_tuples = given.layers_return_tuples
        layer_extras = given.layer_extras
        key_arguments = frozenset(given.key_arguments)
        positions_from_mask = given.positions_from_mask
        max_images = given.max_images
        one_prompt = given.nested
        concatenation_axes = given.joins
        row_inputs = ROW_INPUTS | given.rows.keys()
        takes_all_inputs = given.all_inputs
        switches = given.switches
        shares_inputs = given.shares
        refused: ClassVar[Mapping[str, str]] = {**given.inapplicable, **given.refused}
        rules = given

    return Unlisted()


def differ_in_size(encoded: Sequence[Encoded], family: Family) -> bool:
    """Whether inputs of these examples, put one after the other, would have to be padded (tiles, lengths of sounds)."""
    for key in {key for e in encoded for key in e.inputs} - family.row_inputs:
        parts = [e.inputs[key] for e in encoded if isinstance(e.inputs.get(key), Tensor)]
        if len({part.ndim for part in parts}) > 1:
            return True
        axis = family.concatenation_axes.get(key, 0)
        if len({(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts if part.ndim}) > 1:
            return True
    return False


class _Generic(Family):
    # A checkpoint without a chat template of its own is refused: there is nothing to guess it from.
    fallback_template = ""
    measures_head = True
    rules: ClassVar[GenericRules] = GenericRules()

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        image = self._perceived("image", image)
        count = len(image.positions)
        found = places(self.rules.places, Seen(image, count, inputs, processor, self.rules.per_tile))
        if found is None or len(found.rects) != count:
            # The rule holds for other images: of this one no place is claimed.
            nothing = np.zeros(count, dtype=bool)
            return ImageLayout(
                image.positions, no_places(count), np.full(count, "base"), nothing, image.width, image.height
            )
        return ImageLayout(image.positions, found.rects, found.tile, found.newline, image.width, image.height)

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        # Frames are not told apart: nothing has tried which tokens are of which.
        video = self._perceived("video", video)
        count = len(video.positions)
        nothing = np.zeros(count, dtype=bool)
        return (
            ImageLayout(video.positions, no_places(count), np.full(count, "base"), nothing, video.width, video.height),
        )

    def _perceived(self, kind: str, medium: Medium) -> Medium:
        """`medium` with the tokens that stand for it alone, without marks around them."""
        chosen = np.isin(medium.ids, self.rules.ids.get(kind, ()))
        return medium._replace(positions=medium.positions[chosen], ids=medium.ids[chosen])

    def can_batch(self, encoded: Sequence[Encoded], config: Any) -> bool:
        if len(encoded) == 1:
            return True
        alone = any(kind in e.spans and len(e.spans[kind]) for e in encoded for kind in self.rules.alone)
        return self.rules.batches and not alone and (self.rules.pads or not differ_in_size(encoded, self))

    def max_audio_seconds(self, processor: Any) -> float | None:
        audio = _listener(processor)
        samples, rate = getattr(audio, "n_samples", None), getattr(audio, "sampling_rate", None)
        return samples / rate if samples and rate else None

    def span_ids(self, config: Any) -> dict[str, tuple[int, ...]]:
        return {kind: self.rules.ids[kind] for kind in self.rules.distinct}

    def tower(self, model: nn.Module, modality: str) -> nn.Module:
        try:
            return super().tower(model, modality)
        except (ChiasmError, AttributeError, ValueError, TypeError, NotImplementedError):
            # An `encoder` of what sees is none of what listens.
            others = _OF_OTHERS.get(modality)
            named = [
                module
                for path, module in model.named_modules()
                if _TOWERS[modality].fullmatch(path.rpartition(".")[2]) and not (others and others.search(path))
            ]
            if not named:
                raise
            return named[0]

    def vision_tower(self, model: nn.Module) -> nn.Module | None:
        sees = [kind for kind in ("image", "video") if kind in self.modalities]
        return self._found_tower(model, sees[0]) if sees else None

    def towers(self, model: nn.Module) -> tuple[nn.Module, ...]:
        found = [self._found_tower(model, modality) for modality in sorted(self.modalities)]
        return tuple({id(tower): tower for tower in found if tower is not None}.values())

    def _found_tower(self, model: nn.Module, modality: str) -> nn.Module | None:
        """None where an image goes into the decoder with nothing before it."""
        try:
            return self.tower(model, modality)
        except (ChiasmError, AttributeError, ValueError, TypeError, NotImplementedError):
            return None

    def head(self, model: nn.Module) -> nn.Module:
        named = model.get_output_embeddings()
        if named is not None:
            return named
        found = [module for path, module in model.named_modules() if path.rpartition(".")[2] in _HEADS]
        words = int(model.config.get_text_config(decoder=True).vocab_size)
        wide = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == words]
        found = found if len(found) == 1 else wide
        if len(found) != 1:
            raise ChiasmError(
                f"the head of {type(model).__name__}",
                f"transformers' `get_output_embeddings` names none, and {len(found)} of its matrices give as many "
                f"numbers as its vocabulary has tokens ({words})",
                "Use a checkpoint of a class that gives words by one head",
            )
        return found[0]

    def projector(self, model: nn.Module) -> nn.Module | None:
        found = [m for path, m in model.named_modules() if path.rpartition(".")[2] in _PROJECTORS]
        return found[0] if len(found) == 1 else None

    def row_value(self, key: str) -> int:
        return self.rules.rows[key] if key in self.rules.rows else super().row_value(key)

    def adjusted_logits(self, logits: Float[Tensor, "*n N"], text_config: Any) -> Float[Tensor, "*n N"]:
        logits = logits * self.rules.scale if self.rules.scale != 1.0 else logits
        cap = self.rules.cap
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def processor_call(self, given: dict[str, Any]) -> dict[str, Any]:
        names = self.rules.renames
        # A processor that takes clips under another name knows none of their options either.
        dropped = {*self.rules.without, *(_OF_CLIPS if names else ())}
        call = {names.get(name, name): value for name, value in given.items() if name not in dropped}
        return call | {"return_mm_token_type_ids": True} if self.rules.types else call

    def placeholder(self, processor: Any, kind: str) -> str:
        return self.rules.placeholders.get(kind, "")

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        """Characters and inputs found by the ids of tokens, where the processor does not say where they are."""
        if self.rules.located:
            return raw
        counts = {kind: self._count(kind, text) for kind in self.rules.modalities}
        found = located(raw["input_ids"][0].numpy(), text, processor.tokenizer, counts, self.rules.ids)
        head = int(np.argmax(found["offset_mapping"][0, :, 1] > 0))
        for place in found["text_replacement_offsets"][0]:
            # Some write inputs out in ids that words have too: what stands for one comes before the text goes on.
            before = place["positions"][place["positions"] < head]
            place["positions"] = before if len(before) else place["positions"]
        return raw | found

    def _count(self, kind: str, text: str) -> int:
        """How many inputs of `kind` a prompt has; where nothing is written for them, one at the most."""
        written = self.rules.placeholders.get(kind, "")
        return text.count(written) if written else 1


def _listener(processor: Any) -> Any:
    """The part that makes inputs of sounds."""
    return getattr(processor, "feature_extractor", None) or getattr(processor, "audio_processor", None)
