"""The encoders, and how each is trained: the contrastive tower (stage 1), a supervised one, a masked autoencoder, and
one that hears.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from recipes.tiny.curriculum import drawn_train, train_scene
from recipes.tiny.loop import train
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from chiasm.data.scenes.draw import render
from chiasm.data.scenes.melodies import LENGTHS, PITCHES, RATE, SECONDS, TIMBRES, Melody, draw_melody, synthesize
from chiasm.data.scenes.moving import FRAMES, draw_moving
from chiasm.data.scenes.questions import caption, plain
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIDE, SIZES, Scene
from chiasm.tiny import shapes
from chiasm.tiny.tokens import tokenizer

AUDIO_TOKENS: Final = round(SECONDS * 100) // 4
"""Tokens of a sound: a mel frame every 10 ms, a token every 40 ms."""
NOTHING: Final = -100
_GRID: Final = SIDE // shapes.PATCH
_PATCH_WORDS: Final = {"shape": SHAPES, "color": COLORS, "size": SIZES, "row": ROWS, "column": COLUMNS}
_ORDERS: Final = ("first", "second", "third", "fourth")
_TONE_WORDS: Final = {
    "pitch": PITCHES,
    "length": LENGTHS,
    "timbre": TIMBRES,
    "order": _ORDERS,
    "last": ("more", "last"),
}
Losses = Callable[[random.Random], tuple[Tensor, dict[str, float]]]


def pixels(scenes: Sequence[Scene]) -> Float[Tensor, "B 3 SIDE SIDE"]:
    """The images as the processor would give them, normalised by CLIP's mean and deviation."""
    stack = np.stack([np.asarray(render(scene)) for scene in scenes])
    scaled = (stack / 255 - np.array(OPENAI_CLIP_MEAN)) / np.array(OPENAI_CLIP_STD)
    return torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def blank_pixels() -> Float[Tensor, "3 1 1"]:
    """A mid-grey image as the processor would give it."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (128 / 255 - mean) / deviation


def spectrograms(sounds: Sequence[np.ndarray]) -> Float[Tensor, "B bins frames"]:
    """The log-mel spectrograms of sounds of one second, as the processor would give them."""
    # Spectra of half precision would not be those that the processor computes.
    with torch.autocast("cpu", enabled=False):
        made = shapes.feature_extractor()(list(sounds), sampling_rate=RATE, padding="max_length", return_tensors="pt")
    return made["input_features"]


def patch_facts(scene: Scene) -> Int[np.ndarray, "P 5"]:
    """What each patch shows: indices of shape, colour, size, row, column; NOTHING where empty.

    A patch shows an object where it holds at least an eighth of its own area, or a quarter of the object's, of the
    object's box. Cells are two patches wide, so no patch shows two objects.
    """
    shown = np.full((_GRID, _GRID, len(_PATCH_WORDS)), NOTHING, dtype=np.int64)
    edges = np.arange(_GRID) * shapes.PATCH
    for thing in scene.things:
        wide = np.clip(np.minimum(edges + shapes.PATCH, thing.x + thing.extent) - np.maximum(edges, thing.x), 0, None)
        high = np.clip(np.minimum(edges + shapes.PATCH, thing.y + thing.extent) - np.maximum(edges, thing.y), 0, None)
        area = high[:, None] * wide[None, :]
        seen = area >= min(shapes.PATCH * shapes.PATCH / 8, thing.extent**2 / 4)
        shown[seen] = [words.index(word) for words, word in zip(_PATCH_WORDS.values(), thing.content, strict=True)]
    return shown.reshape(-1, len(_PATCH_WORDS))


def tone_facts(melody: Melody) -> Int[np.ndarray, "N 5"]:
    """What each token hears: indices of pitch, length, timbre, order, and whether it is the last; NOTHING in silence.

    A token hears the tone that fills most of its 40 ms, at least a third.
    """
    shown = np.full((AUDIO_TOKENS, len(_TONE_WORDS)), NOTHING, dtype=np.int64)
    edges = np.arange(AUDIO_TOKENS) * 0.04
    at = melody.start
    for number, tone in enumerate(melody.tones):
        covered = np.clip(np.minimum(edges + 0.04, at + tone.seconds) - np.maximum(edges, at), 0, None)
        words = [options.index(word) for options, word in zip(_TONE_WORDS.values(), tone.content, strict=False)]
        shown[covered > 0.014] = [*words, number, int(number == len(melody.tones) - 1)]
        at += tone.seconds + 0.03
    return shown


class TokenNamer(nn.Module):
    """Linear read-outs of a token: is anything there, and its words. Thrown away after the stage."""

    def __init__(self, width: int, words: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.there = nn.Linear(width, 2)
        self.words = nn.ModuleList(nn.Linear(width, len(options)) for options in words.values())
        self.names = tuple(words)

    def loss(
        self, states: Float[Tensor, "B N D"], facts: Int[Tensor, "B N W"]
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss, and the share of tokens named right per kind of word."""
        total = F.cross_entropy(self.there(states).flatten(0, 1), (facts[..., 0] != NOTHING).long().flatten())
        right = {}
        for name, head, truth in zip(self.names, self.words, facts.unbind(-1), strict=True):
            scores, flat = head(states).flatten(0, 1), truth.flatten()
            total = total + F.cross_entropy(scores, flat, ignore_index=NOTHING)
            right[name] = float((scores.argmax(-1) == flat)[flat != NOTHING].float().mean())
        return total, right


def seen_scene(rng: random.Random) -> Scene:
    """What a vision tower is trained on: a scene, or a frame of a moving one, where objects stand between cells too."""
    if rng.random() < 0.25:
        return drawn_train(draw_moving, rng).frame(rng.randrange(FRAMES))
    return train_scene(rng, (1, 1, 2, 3, 4))


def phrase(scene: Scene, rng: random.Random) -> str:
    """The text the contrastive head sees: a caption, or for one object often only its name, as zero-shot prompts."""
    if len(scene.things) == 1 and rng.random() < 0.7:
        thing = scene.things[0]
        name = rng.choice((thing.shape, f"{thing.color} {thing.shape}", f"{thing.size} {thing.color} {thing.shape}"))
        return f"a {name}"
    return plain(scene.things) if rng.random() < 0.5 else caption(scene, rng)


def tower(path: Path, steps: int = 900, batch: int = 64) -> dict[str, float]:
    """Stage 1: named patches, and images matched with captions within the batch. Writes `tower.pt`, a CLIPModel's.

    Naming patches is solved within some hundred steps; the rest is for matching.
    """
    words = tokenizer()
    model = shapes.clip(words).train()
    torch.manual_seed(shapes.SEED)
    namer = TokenNamer(model.config.vision_config.hidden_size, _PATCH_WORDS)

    def step_loss(step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        scenes = [seen_scene(rng) for _ in range(batch)]
        seen, naming, right = _named_patches(model, namer, scenes)
        texts = words(
            [phrase(scene, rng) + "</s>" for scene in scenes], return_tensors="pt", padding=True, padding_side="right"
        )
        read = model.text_model(input_ids=texts["input_ids"], attention_mask=texts["attention_mask"])
        a = F.normalize(model.visual_projection(seen.pooler_output), dim=-1)
        b = F.normalize(model.text_projection(read.pooler_output), dim=-1)
        scores = model.logit_scale.exp().clamp(max=100) * a @ b.T
        truth = torch.arange(len(scenes))
        matching = (F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)) / 2
        return naming + matching, right | {"matched": float((scores.argmax(-1) == truth).float().mean())}

    reached = train(path, "tower", {"model": model, "namer": namer}, step_loss, steps)
    torch.save(model.state_dict(), path / "tower.pt")
    return reached


def _named_patches(
    model: CLIPModel, namer: TokenNamer, scenes: Sequence[Scene]
) -> tuple[Any, Float[Tensor, ""], dict[str, float]]:
    """The tower's output, the loss of naming what each patch shows, and the shares named right."""
    seen = model.vision_model(pixel_values=pixels(scenes), output_hidden_states=True)
    shown = torch.from_numpy(np.stack([patch_facts(scene) for scene in scenes]))
    return seen, *namer.loss(seen.hidden_states[-2][:, 1:], shown)


def _train_encoder(
    path: Path, name: str, modules: dict[str, nn.Module], losses: Losses, steps: int
) -> dict[str, float]:
    """Trains `modules` with torch's own draws seeded by the step; writes the weights of the first as `tower.pt`."""

    def step_loss(step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        torch.manual_seed(step)
        return losses(rng)

    reached = train(path, name, modules, step_loss, steps)
    torch.save(next(iter(modules.values())).state_dict(), path / "tower.pt")
    return reached


def supervised(path: Path, steps: int = 900, batch: int = 64) -> dict[str, float]:
    """A tower of the same size taught only to name what each patch shows: labels, no captions."""
    model = shapes.clip(tokenizer()).train()
    namer = TokenNamer(model.config.vision_config.hidden_size, _PATCH_WORDS)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        return _named_patches(model, namer, [seen_scene(rng) for _ in range(batch)])[1:]

    return _train_encoder(path, "supervised", {"model": model.vision_model, "namer": namer}, losses, steps)


class Painter(nn.Module):
    """The light decoder of a masked autoencoder: two layers that paint the hidden patches. Thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.randn(shapes.PATCHES, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.paint = nn.Linear(width, 3 * shapes.PATCH**2)

    def forward(self, seen: Float[Tensor, "B K D"], kept: Int[Tensor, "B K"]) -> Float[Tensor, "B P C"]:
        """Every patch's pixels from the states of those that were kept."""
        index = kept[..., None].expand_as(seen)
        states = self.hidden.expand(len(seen), shapes.PATCHES, -1).scatter(1, index, seen) + self.positions
        for layer in self.layers:
            states = layer(states)
        return self.paint(states)


def masked(path: Path, steps: int = 1800, batch: int = 64, share: float = 0.5) -> dict[str, float]:
    """A tower of the same size that sees `share` of the patches and paints the others (He et al., 2021, section 3).

    No words, no labels. Half of the patches are kept instead of a quarter: of so few, most show nothing.
    """
    model = shapes.clip(tokenizer()).train().vision_model
    painter = Painter(model.config.hidden_size)
    count = round(share * shapes.PATCHES)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        drawn = pixels([seen_scene(rng) for _ in range(batch)])
        order = torch.rand(batch, shapes.PATCHES).argsort(1)
        kept, hidden = order[:, :count], order[:, count:]
        every = model.embeddings(drawn)
        own = every[:, 1:].gather(1, kept[..., None].expand(-1, -1, every.shape[-1]))
        states = model.pre_layrnorm(torch.cat([every[:, :1], own], dim=1))
        seen = model.encoder(inputs_embeds=states).last_hidden_state[:, 1:]
        target = patches(drawn)
        made = painter(seen, kept)
        index = hidden[..., None].expand(-1, -1, target.shape[-1])
        return F.mse_loss(made.gather(1, index), target.gather(1, index)), {}

    return _train_encoder(path, "mae", {"model": model, "painter": painter}, losses, steps)


def patches(drawn: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P C"]:
    """The pixels of every patch, in reading order."""
    side, patch = SIDE // shapes.PATCH, shapes.PATCH
    cut = drawn.unflatten(2, (side, patch)).unflatten(4, (side, patch))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def hearing(path: Path, steps: int = 600, batch: int = 64) -> dict[str, float]:
    """A small spectrogram transformer, the encoder of Qwen2-Audio, taught to name what it hears at every moment."""
    model: Any = shapes.qwen2_audio(tokenizer()).model.audio_tower
    model.requires_grad_(True)
    namer = TokenNamer(model.config.d_model, _TONE_WORDS)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        melodies = [drawn_train(lambda source: draw_melody(source, source.randint(1, 4)), rng) for _ in range(batch)]
        states = model(spectrograms([synthesize(melody) for melody in melodies])).last_hidden_state
        truth = torch.from_numpy(np.stack([tone_facts(melody) for melody in melodies]))
        return namer.loss(states, truth)

    return _train_encoder(path, "hearing", {"model": model, "namer": namer}, losses, steps)
