"""Where the projector starts: its patches near the embeddings of the words that name what they show."""

import random
from typing import Final

import torch
from jaxtyping import Float
from recipes.tiny.curriculum import train_scene
from recipes.tiny.encoders import NOTHING, patch_facts, pixels
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIZES, Scene

_WORDS: Final = (SHAPES, COLORS, SIZES, ROWS, COLUMNS)
_BACKGROUND: Final = "background"
_SCENES: Final = 800
_RIDGE: Final = 1e-3


@torch.no_grad()
def features(tower: nn.Module, stack: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
    """The patches as LLaVA takes them: the last layer but one, without the class token."""
    return tower(pixel_values=stack, output_hidden_states=True).hidden_states[-2][:, 1:]


def word_targets(
    scenes: list[Scene], tokenizer: PreTrainedTokenizerBase, embeddings: Float[Tensor, "V H"]
) -> Float[Tensor, "N P H"]:
    """For each patch the words that name its object, superposed: their mean, and their deviations summed over sqrt(5).

    Dividing by the root keeps the length near that of one word. An empty patch is the word "background".
    """

    def row(word: str) -> Tensor:
        return embeddings[tokenizer(f" {word}", add_special_tokens=False)["input_ids"]].mean(0)

    tables = [torch.stack([row(word) for word in words]) for words in _WORDS]
    centre = torch.cat(tables).mean(0)
    facts = torch.stack([torch.from_numpy(patch_facts(scene)) for scene in scenes])
    superposed = centre + sum(
        (table[kind.clamp(min=0)] - centre) / len(tables) ** 0.5 for table, kind in zip(tables, facts.unbind(-1))
    )
    return torch.where((facts[..., :1] == NOTHING), row(_BACKGROUND), superposed)


@torch.no_grad()
def start(
    projector: nn.Module,
    tower: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    embeddings: Float[Tensor, "V H"],
    seed: int = 0,
) -> float:
    """Sets the projector by ridge regression onto `word_targets`; returns the share of their variance explained.

    The first layer holds every standardised feature and its negative, whose GELUs differ by the feature itself, and
    random directions; the second layer is solved for.
    """
    rng = random.Random(f"ridge/{seed}")
    scenes = [train_scene(rng, (1, 2, 3, 4)) for _ in range(_SCENES)]
    seen = torch.cat([features(tower, pixels(scenes[at : at + 100])) for at in range(0, _SCENES, 100)])
    x, y = seen.flatten(0, 1), word_targets(scenes, tokenizer, embeddings).flatten(0, 1)
    mean, deviation = x.mean(0), x.std(0)
    width, hidden = x.shape[1], projector.linear_1.out_features
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(hidden - 2 * width, width, generator=generator) / width**0.5
    directions = torch.cat([torch.eye(width), -torch.eye(width), 2 * drawn])
    offsets = torch.cat([torch.zeros(2 * width), torch.randn(hidden - 2 * width, generator=generator)])
    projector.linear_1.weight.copy_(directions / deviation)
    projector.linear_1.bias.copy_(offsets - directions @ (mean / deviation))
    inside = F.gelu(projector.linear_1(x)).double()
    centred, target = inside - inside.mean(0), (y - y.mean(0)).double()
    gram = centred.mT @ centred
    gram.diagonal().add_(_RIDGE * len(x))
    solved = torch.linalg.solve(gram, centred.mT @ target)
    projector.linear_2.weight.copy_(solved.mT.float())
    projector.linear_2.bias.copy_((y.mean(0) - inside.mean(0) @ solved).float())
    return float(1 - (target - centred @ solved).pow(2).sum() / target.pow(2).sum())
