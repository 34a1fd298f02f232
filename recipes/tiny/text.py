"""Stage 2: the decoder on text only, first four layers that learn to look things up, then the full depth."""

import random
from pathlib import Path

import torch
from recipes.tiny.curriculum import recall_packs, text_packs
from recipes.tiny.loop import train
from recipes.tiny.packing import Packer
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from chiasm.tiny import shapes
from chiasm.tiny.tokens import tokenizer


def build_decoder(
    tokenizer: PreTrainedTokenizerFast, layers: int = shapes.LAYERS, seed: int = shapes.SEED
) -> LlamaForCausalLM:
    """The decoder alone, as the text stages train it; random weights from `seed`, in float32."""
    config = shapes.llava(tokenizer, seed).config.text_config
    config.num_hidden_layers = layers
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def grow(shallow: LlamaForCausalLM, deep: LlamaForCausalLM) -> None:
    """Copies a decoder into a deeper one that computes the same: the layers between are there, but add nothing yet.

    The new layers stand after every second old one, so that both the early and the late part gain room.
    """
    old, new = shallow.model.layers, deep.model.layers
    added = len(new) - len(old)
    fresh = {3 * k + 2 for k in range(added)}
    source = iter(old)
    for number, layer in enumerate(new):
        if number in fresh:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)
        else:
            layer.load_state_dict(next(source).state_dict())
    deep.model.embed_tokens.load_state_dict(shallow.model.embed_tokens.state_dict())
    deep.model.norm.load_state_dict(shallow.model.norm.state_dict())
    deep.lm_head.load_state_dict(shallow.lm_head.state_dict())


def recall(path: Path, steps: int = 900, batch: int = 32, stop: int | None = None) -> dict[str, float]:
    """Stage 2, first half: a decoder of four layers learns to look things up. Writes `recall.pt`.

    `stop` ends the process early, at that step; the next call continues.
    """
    model = build_decoder(tokenizer(), layers=4)
    return _train_decoder(path, model, "recall", steps, batch, stop)


def text(path: Path, recalled: Path, steps: int = 1700, batch: int = 32) -> dict[str, float]:
    """Stage 2, second half: the decoder of full depth, grown from `recall.pt`. Writes `text.pt`.

    Four layers learn to look things up in fewer and cheaper steps than six; the two that are added start as identity.
    """
    words = tokenizer()
    shallow, model = build_decoder(words, layers=4), build_decoder(words)
    shallow.load_state_dict(torch.load(recalled, weights_only=True))
    grow(shallow, model)
    return _train_decoder(path, model, "text", steps, batch)


def _train_decoder(
    path: Path, model: LlamaForCausalLM, stage: str, steps: int, batch: int, stop: int | None = None
) -> dict[str, float]:
    packer = Packer(tokenizer())

    def step_loss(step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        packs = recall_packs(step, rng, batch) if stage == "recall" else text_packs(step / steps, rng, batch)
        packed = packer.pack(packs)
        with torch.autocast("cpu", torch.bfloat16):
            states = model.model(
                input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
            ).last_hidden_state
            # Only what is learned goes through the head; most of a pack is context.
            scores = model.lm_head(states[packed.learned])
        return packed.loss(scores), packed.accuracy(scores, packs)

    # Looking things up appears at full speed or not at all, so the first half does not slow down.
    cool = 0.02 if stage == "recall" else 0.5
    modules = {"model": model}
    reached = train(path, stage, modules, step_loss, steps, matrices=0.02, others=3e-3, cool=cool, stop=stop)
    torch.save(model.state_dict(), path / f"{stage}.pt")
    return reached
