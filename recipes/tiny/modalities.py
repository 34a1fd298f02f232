"""How a model perceives: what stands in the text for an image, a video or a sound, and what fills those places.

Every modality is trained alike: an encoder that is frozen, a projector, the decoder. The features are computed as the
model's own forward does it, once per input, so that several questions can be packed behind it.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float
from recipes.tiny.curriculum import drawn_train, mix, train_scene
from recipes.tiny.encoders import AUDIO_TOKENS, blank_pixels, pixels, spectrograms
from recipes.tiny.questions import MELODY_KINDS, MOVING_KINDS, Content
from torch import Tensor, nn

from chiasm.data.scenes.melodies import Melody, draw_melody, synthesize
from chiasm.data.scenes.moving import FRAMES, MovingScene, draw_moving
from chiasm.data.scenes.world import Scene
from chiasm.tiny import shapes
from chiasm.tiny.tokens import AUDIO, IMAGE, VIDEO

# Some inputs are taken away: with nothing perceived, the model then guesses between the options, nothing odd.
_BLANKS: Final = 0.08


class Modality(ABC):
    """One kind of input of one model. `mark` stands in the text, `tokens` times for each input."""

    mark: str
    tokens: int
    kinds: dict[str, float]

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def prefix(self) -> str:
        """What stands before the questions."""
        return f"USER: {self.mark * self.tokens}\n"

    @property
    def decoder(self) -> nn.Module:
        return self.model.model.language_model

    @property
    def projector(self) -> nn.Module:
        return self.model.model.multi_modal_projector

    @abstractmethod
    def draw(self, rng: random.Random, simple: bool) -> Content:
        """Something of the training side; `simple`, also with fewer objects than the world has."""

    @abstractmethod
    def perceive(self, contents: Sequence[Content], rng: random.Random) -> Float[Tensor, "B N D"]:
        """What the frozen encoder makes of them, some of them blanked: what the projector is given."""

    def project(self, features: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """What fills the places of `mark`."""
        return self.projector(features)


@final
class ImageModality(Modality):
    """Images, through a LLaVA model."""

    mark, kinds = IMAGE, mix(0.25)

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        # A patch each, or as many as a resampler writes.
        self.tokens = model.config.image_seq_length

    def draw(self, rng: random.Random, simple: bool) -> Scene:
        return train_scene(rng, (1, 2, 3, 4)) if simple else train_scene(rng)

    @torch.no_grad()
    def perceive(self, contents: Sequence[Content], rng: random.Random) -> Tensor:
        stack = pixels([content for content in contents if isinstance(content, Scene)])
        stack[_blanked(len(stack), rng)] = blank_pixels()
        return self.model.model.vision_tower(pixel_values=stack, output_hidden_states=True).hidden_states[-2][:, 1:]


@final
class VideoModality(Modality):
    """Videos, through a LLaVA-NeXT-Video model: every frame by itself, neighbouring patches averaged."""

    mark, tokens, kinds = VIDEO, FRAMES * shapes.PATCHES // 4, MOVING_KINDS

    def draw(self, rng: random.Random, simple: bool) -> MovingScene:
        return drawn_train(draw_moving, rng)

    @torch.no_grad()
    def perceive(self, contents: Sequence[Content], rng: random.Random) -> Tensor:
        scenes = [content for content in contents if isinstance(content, MovingScene)]
        stack = pixels([frame for scene in scenes for frame in scene.frames()]).unflatten(0, (len(scenes), FRAMES))
        stack[_blanked(len(stack), rng)] = blank_pixels()
        seen = self.model.model.vision_tower(pixel_values=stack.flatten(0, 1), output_hidden_states=True)
        pooled = self.model.model.vision_resampler(seen.hidden_states[-2][:, 1:])
        return pooled.unflatten(0, (len(scenes), FRAMES)).flatten(1, 2)


@final
class AudioModality(Modality):
    """Sounds, through a Qwen2-Audio model."""

    mark, tokens, kinds = AUDIO, AUDIO_TOKENS, MELODY_KINDS

    def draw(self, rng: random.Random, simple: bool) -> Melody:
        return drawn_train(lambda source: draw_melody(source, source.randint(2, 4) if simple else None), rng)

    @torch.no_grad()
    def perceive(self, contents: Sequence[Content], rng: random.Random) -> Tensor:
        sounds = [synthesize(content) for content in contents if isinstance(content, Melody)]
        for number in np.flatnonzero(_blanked(len(sounds), rng)):
            sounds[number] = np.zeros_like(sounds[number])
        return self.model.model.audio_tower(spectrograms(sounds)).last_hidden_state


def _blanked(count: int, rng: random.Random) -> Tensor:
    return torch.tensor([rng.random() < _BLANKS for _ in range(count)])
