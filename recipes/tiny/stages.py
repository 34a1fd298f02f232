"""The stages of training, each a loop that a killed process continues."""

import random
from pathlib import Path

import torch
from recipes.tiny.course import Row, recall_rows, text_rows
from recipes.tiny.encoders import seen_scene
from recipes.tiny.packs import Batch, Packer
from recipes.tiny.runs import Run, optimizers, schedule, update
from recipes.tiny.tower import Namer, TowerTask
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from chiasm.tiny import shape
from chiasm.tiny.tokens import tokenizer


def tower(path: Path, steps: int = 900, batch: int = 64) -> dict[str, float]:
    """Stage 1. Writes `tower.pt`, a CLIPModel's weights; returns the last accuracies.

    Naming patches is solved within some hundred steps; the rest is for matching pictures with captions.
    """
    words = tokenizer()
    model = shape.clip(words).train()
    torch.manual_seed(shape.SEED)
    namer = Namer(model.config.vision_config.hidden_size)
    modules = {"model": model, "namer": namer}
    made = optimizers(torch.nn.ModuleDict(modules), matrices=0.01, others=2e-3)
    run, task = Run(path), TowerTask(model, namer, words)
    run.open(modules, made)
    reached: dict[str, float] = {}
    while run.step < steps:
        rng = random.Random(f"tower/{run.step}")
        schedule(made, run.step / steps)
        loss, marks = task.losses([seen_scene(rng) for _ in range(batch)], rng)
        update(torch.nn.ModuleDict(modules), made, loss)
        reached = run.tick({"loss": float(loss.detach()), **marks}, every=25) or reached
        run.save(modules, made)
    run.save(modules, made, always=True)
    torch.save(model.state_dict(), path / "tower.pt")
    return reached


def recall(path: Path, steps: int = 900, batch: int = 32, stop: int | None = None) -> dict[str, float]:
    """Stage 2, first half: a decoder of four layers learns to look things up. Writes `recall.pt`.

    `stop` ends the process early, at that step; the next call continues.
    """
    model = shape.decoder(tokenizer(), layers=4)
    return _read(path, model, "recall", steps, batch, stop)


def text(path: Path, recalled: Path, steps: int = 1700, batch: int = 32) -> dict[str, float]:
    """Stage 2, second half: the decoder of full depth, grown from `recall.pt`. Writes `text.pt`.

    Four layers learn to look things up in fewer and cheaper steps than six; the two that are added start as identity.
    """
    words = tokenizer()
    shallow, model = shape.decoder(words, layers=4), shape.decoder(words)
    shallow.load_state_dict(torch.load(recalled, weights_only=True))
    shape.grow(shallow, model)
    return _read(path, model, "text", steps, batch)


def _read(
    path: Path, model: LlamaForCausalLM, stage: str, steps: int, batch: int, stop: int | None = None
) -> dict[str, float]:
    model.train()
    made = optimizers(model, matrices=0.02, others=3e-3)
    run, packer = Run(path), Packer(tokenizer())
    run.open({"model": model}, made)
    reached: dict[str, float] = {}
    while run.step < (steps if stop is None else stop):
        rng = random.Random(f"{stage}/{run.step}")
        share = run.step / steps
        # Looking things up appears at full speed or not at all, so the first half does not slow down.
        schedule(made, share, cool=0.02 if stage == "recall" else 0.5)
        rows = recall_rows(run.step, rng, batch) if stage == "recall" else text_rows(share, rng, batch)
        packed = packer.pack([(row.prefix, row.blocks) for row in rows])
        with torch.autocast("cpu", torch.bfloat16):
            states = model.model(
                input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
            ).last_hidden_state
            # Only what is to be said goes through the head; most of a pack is context.
            scores = model.lm_head(states[packed.said])
        loss = said(scores, packed)
        update(model, made, loss)
        reached = run.tick({"loss": float(loss.detach()), **heard(scores, packed, rows)}, every=25) or reached
        run.save({"model": model}, made)
    run.save({"model": model}, made, always=True)
    torch.save(model.state_dict(), path / f"{stage}.pt")
    return reached


def said(scores: Tensor, batch: Batch) -> Tensor:
    """The mean loss over what was to be said; `scores` (N, V) are those of the tokens in `batch.said`."""
    return F.cross_entropy(scores.float(), batch.labels[batch.said])


@torch.no_grad()
def heard(scores: Tensor, batch: Batch, rows: list[Row]) -> dict[str, float]:
    """The share said right per kind: the first token of an answer, every token of what is repeated or described."""
    known = batch.said
    right = torch.zeros_like(known)
    right[known] = scores.argmax(-1) == batch.labels[known]
    begins = known & ~F.pad(known, (1, 0))[:, :-1]
    totals: dict[str, list[float]] = {}
    for number, row in enumerate(rows):
        for kind, start in zip(row.kinds, begins[number].nonzero().flatten().tolist(), strict=True):
            stop = start + 1
            if kind in ("caption", "relations", "repeat"):
                while stop < known.shape[1] and known[number, stop]:
                    stop += 1
            totals.setdefault(kind, []).append(float(right[number, start:stop].float().mean()))
    return {kind: sum(values) / len(values) for kind, values in totals.items()}
