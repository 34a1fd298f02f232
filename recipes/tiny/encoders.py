"""Encoders besides the contrastive tower: a supervised one, a masked autoencoder, and one that hears."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from recipes.tiny.course import drawn_train, train_scene
from recipes.tiny.runs import Run, optimizers, schedule, update
from recipes.tiny.senses import spectrograms
from recipes.tiny.tower import NOTHING, Namer, facts, pixels
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from chiasm.data.scenes.clips import FRAMES, draw_moving
from chiasm.data.scenes.tones import LENGTHS, PITCHES, TIMBRES, Melody, draw_melody, synthesize
from chiasm.data.scenes.world import SIDE, Scene
from chiasm.tiny import shape
from chiasm.tiny.tokens import tokenizer

ORDERS: Final = ("first", "second", "third", "fourth")
_HEARD: Final = (PITCHES, LENGTHS, TIMBRES, ORDERS, ("more", "last"))
Losses = Callable[[random.Random], tuple[Tensor, dict[str, float]]]


def seen_scene(rng: random.Random) -> Scene:
    """What a vision tower is trained on: a scene, or a frame of a moving one, where objects stand between cells too."""
    if rng.random() < 0.25:
        return drawn_train(draw_moving, rng).frame(rng.randrange(FRAMES))
    return train_scene(rng, (1, 1, 2, 3, 4))


def learn(path: Path, name: str, modules: dict[str, nn.Module], losses: Losses, steps: int) -> dict[str, float]:
    """Trains `modules` together, resumable; writes the weights of the first as `tower.pt`."""
    whole = nn.ModuleDict(modules).train()
    made = optimizers(whole, matrices=0.01, others=2e-3)
    run = Run(path)
    run.open(modules, made)
    reached: dict[str, float] = {}
    while run.step < steps:
        rng = random.Random(f"{name}/{run.step}")
        torch.manual_seed(run.step)
        schedule(made, run.step / steps)
        loss, marks = losses(rng)
        update(whole, made, loss)
        reached = run.tick({"loss": float(loss.detach()), **marks}, every=25) or reached
        run.save(modules, made)
    run.save(modules, made, always=True)
    torch.save(next(iter(modules.values())).state_dict(), path / "tower.pt")
    return reached


def supervised(path: Path, steps: int = 900, batch: int = 64) -> dict[str, float]:
    """A tower of the same size taught only to name what each patch shows: labels, no captions."""
    model = _tower()
    namer = Namer(model.config.vision_config.hidden_size)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        scenes = [seen_scene(rng) for _ in range(batch)]
        seen = model.vision_model(pixel_values=pixels(scenes), output_hidden_states=True).hidden_states[-2][:, 1:]
        loss, right = namer.loss(seen, torch.from_numpy(np.stack([facts(scene) for scene in scenes])))
        return loss, dict(zip(("shape", "color", "size", "row", "column"), right, strict=True))

    return learn(path, "supervised", {"model": model.vision_model, "namer": namer}, losses, steps)


class Painter(nn.Module):
    """The light decoder of a masked autoencoder: two layers that paint the hidden patches. Thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.randn(shape.PATCHES, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.paint = nn.Linear(width, 3 * shape.PATCH**2)

    def forward(self, seen: Float[Tensor, "B K D"], kept: Int[Tensor, "B K"]) -> Float[Tensor, "B P C"]:
        """Every patch's pixels from the states of those that were kept."""
        index = kept[..., None].expand_as(seen)
        states = self.hidden.expand(len(seen), shape.PATCHES, -1).scatter(1, index, seen) + self.places
        for layer in self.layers:
            states = layer(states)
        return self.paint(states)


def masked(path: Path, steps: int = 1800, batch: int = 64, share: float = 0.5) -> dict[str, float]:
    """A tower of the same size that sees `share` of the patches and paints the others (He et al., 2021, section 3).

    No words, no labels. Half of the patches are kept instead of a quarter: of so few, most show nothing.
    """
    model = _tower().vision_model
    painter = Painter(model.config.hidden_size)
    count = round(share * shape.PATCHES)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        drawn = pixels([seen_scene(rng) for _ in range(batch)])
        order = torch.rand(batch, shape.PATCHES).argsort(1)
        kept, hidden = order[:, :count], order[:, count:]
        every = model.embeddings(drawn)
        own = every[:, 1:].gather(1, kept[..., None].expand(-1, -1, every.shape[-1]))
        states = model.pre_layrnorm(torch.cat([every[:, :1], own], dim=1))
        seen = model.encoder(inputs_embeds=states).last_hidden_state[:, 1:]
        target = patches(drawn)
        made = painter(seen, kept)
        index = hidden[..., None].expand(-1, -1, target.shape[-1])
        loss = F.mse_loss(made.gather(1, index), target.gather(1, index))
        return loss, {}

    return learn(path, "mae", {"model": model, "painter": painter}, losses, steps)


def patches(drawn: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P C"]:
    """The pixels of every patch, in reading order."""
    side, patch = SIDE // shape.PATCH, shape.PATCH
    cut = drawn.unflatten(2, (side, patch)).unflatten(4, (side, patch))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _tower() -> CLIPModel:
    return shape.clip(tokenizer()).train()


class Listener(nn.Module):
    """Linear read-outs of a token: is there a tone, and its words. Thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.there = nn.Linear(width, 2)
        self.words = nn.ModuleList(nn.Linear(width, len(words)) for words in _HEARD)

    def loss(self, states: Float[Tensor, "B N D"], heard: Int[Tensor, "B N 5"]) -> tuple[Tensor, list[float]]:
        """The loss, and the share of tokens named right per word."""
        total = F.cross_entropy(self.there(states).flatten(0, 1), (heard[..., 0] != NOTHING).long().flatten())
        right = []
        for head, truth in zip(self.words, heard.unbind(-1), strict=True):
            scores, flat = head(states).flatten(0, 1), truth.flatten()
            total = total + F.cross_entropy(scores, flat, ignore_index=NOTHING)
            right.append(float((scores.argmax(-1) == flat)[flat != NOTHING].float().mean()))
        return total, right


def tone_facts(melody: Melody) -> Int[np.ndarray, "N 5"]:
    """What each token hears: pitch, length, timbre, which tone in order, whether it is the last; NOTHING in silence.

    A token hears the tone that fills most of its 40 ms, at least a third.
    """
    shown = np.full((shape.HEARD, len(_HEARD)), NOTHING, dtype=np.int64)
    edges = np.arange(shape.HEARD) * 0.04
    at = melody.start
    for number, tone in enumerate(melody.tones):
        covered = np.clip(np.minimum(edges + 0.04, at + tone.seconds) - np.maximum(edges, at), 0, None)
        words = [options.index(word) for options, word in zip(_HEARD, tone.content, strict=False)]
        shown[covered > 0.014] = [*words, number, int(number == len(melody.tones) - 1)]
        at += tone.seconds + 0.03
    return shown


def hearing(path: Path, steps: int = 600, batch: int = 64) -> dict[str, float]:
    """A small spectrogram transformer, the encoder of Qwen2-Audio, taught to name what it hears at every moment."""
    model: Any = shape.qwen2_audio(tokenizer()).model.audio_tower
    model.requires_grad_(True)
    listener = Listener(model.config.d_model)

    def losses(rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        melodies: Sequence[Melody] = [
            drawn_train(lambda source: draw_melody(source, source.randint(1, 4)), rng) for _ in range(batch)
        ]
        states = model(spectrograms([synthesize(melody) for melody in melodies])).last_hidden_state
        truth = torch.from_numpy(np.stack([tone_facts(melody) for melody in melodies]))
        loss, right = listener.loss(states, truth)
        return loss, dict(zip(("pitch", "length", "timbre", "order", "last"), right, strict=True))

    return learn(path, "hearing", {"model": model, "listener": listener}, losses, steps)
