"""Stage 1: the vision tower alone, taught to name what each patch shows and to match pictures with captions."""

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, PreTrainedTokenizerFast

from chiasm.data.scenes.draw import render
from chiasm.data.scenes.language import caption, plain
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIDE, SIZES, Scene
from chiasm.tiny.shape import MEAN, PATCH, SPREAD

_FACTS: Final = (SHAPES, COLORS, SIZES, ROWS, COLUMNS)
_GRID: Final = SIDE // PATCH
NOTHING: Final = -100


def pixels(scenes: Sequence[Scene]) -> Tensor:
    """The pictures as the processor would give them: `(B, 3, SIDE, SIDE)`, CLIP's mean and spread taken out."""
    stack = np.stack([np.asarray(render(scene)) for scene in scenes])
    scaled = (stack / 255 - np.array(MEAN)) / np.array(SPREAD)
    return torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def facts(scene: Scene) -> np.ndarray:
    """What each patch shows: `(patches, 5)` numbers of shape, colour, size, row, column; NOTHING where empty.

    A patch shows an object where it holds at least an eighth of its own area, or a quarter of the object's, of the
    object's box. Cells are two patches wide, so no patch shows two objects.
    """
    shown = np.full((_GRID, _GRID, len(_FACTS)), NOTHING, dtype=np.int64)
    edges = np.arange(_GRID) * PATCH
    for thing in scene.things:
        wide = np.clip(np.minimum(edges + PATCH, thing.x + thing.extent) - np.maximum(edges, thing.x), 0, None)
        high = np.clip(np.minimum(edges + PATCH, thing.y + thing.extent) - np.maximum(edges, thing.y), 0, None)
        area = high[:, None] * wide[None, :]
        seen = area >= min(PATCH * PATCH / 8, thing.extent**2 / 4)
        shown[seen] = [words.index(word) for words, word in zip(_FACTS, thing.content, strict=True)]
    return shown.reshape(-1, len(_FACTS))


class Namer(nn.Module):
    """Linear read-outs of a patch: is there an object, and its five words. Thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.there = nn.Linear(width, 2)
        self.words = nn.ModuleList(nn.Linear(width, len(words)) for words in _FACTS)

    def loss(self, states: Tensor, shown: Tensor) -> tuple[Tensor, list[float]]:
        """`states` (B, P, D), `shown` (B, P, 5) -> the loss, and the share of patches named right per word."""
        there = (shown[..., 0] != NOTHING).long()
        total = F.cross_entropy(self.there(states).flatten(0, 1), there.flatten())
        right = []
        for head, truth in zip(self.words, shown.unbind(-1), strict=True):
            scores = head(states).flatten(0, 1)
            total = total + F.cross_entropy(scores, truth.flatten(), ignore_index=NOTHING)
            known = truth.flatten() != NOTHING
            right.append(float((scores.argmax(-1) == truth.flatten())[known].float().mean()))
        return total, right


def phrase(scene: Scene, rng: random.Random) -> str:
    """The text the contrastive head sees: a caption, or for one object often only its name, as zero-shot prompts."""
    if len(scene.things) == 1 and rng.random() < 0.7:
        thing = scene.things[0]
        name = rng.choice((thing.shape, f"{thing.color} {thing.shape}", f"{thing.size} {thing.color} {thing.shape}"))
        return f"a {name}"
    return plain(scene.things) if rng.random() < 0.5 else caption(scene, rng)


class TowerTask:
    """The losses of the stage on a batch of scenes."""

    def __init__(self, model: CLIPModel, namer: Namer, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._namer, self._tokenizer = model, namer, tokenizer

    def losses(self, scenes: Sequence[Scene], rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """The sum of both losses, and what was right: patches by word, captions matched within the batch."""
        seen = self._model.vision_model(pixel_values=pixels(scenes), output_hidden_states=True)
        shown = torch.from_numpy(np.stack([facts(scene) for scene in scenes]))
        naming, right = self._namer.loss(seen.hidden_states[-2][:, 1:], shown)
        texts = self._tokenizer(
            [phrase(scene, rng) + "</s>" for scene in scenes], return_tensors="pt", padding=True, padding_side="right"
        )
        said = self._model.text_model(input_ids=texts["input_ids"], attention_mask=texts["attention_mask"])
        a = F.normalize(self._model.visual_projection(seen.pooler_output), dim=-1)
        b = F.normalize(self._model.text_projection(said.pooler_output), dim=-1)
        scores = self._model.logit_scale.exp().clamp(max=100) * a @ b.T
        truth = torch.arange(len(scenes))
        matching = (F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)) / 2
        names = ("shape", "color", "size", "row", "column")
        matched = float((scores.argmax(-1) == truth).float().mean())
        return naming + matching, {**dict(zip(names, right, strict=True)), "matched": matched}
