"""The projector, trained through the frozen decoder; a killed run continues from its last checkpoint."""

import json
import math
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from peft import LoraConfig, inject_adapter_in_model
from recipes.real.packs import ADAPTED_COURSES, COURSES, Batch, Course, Packer, course, draw_packs
from recipes.real.ridge import features, start
from recipes.tiny.encoders import blank_pixels, pixels
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerBase

from chiasm.data.scenes.world import Scene
from chiasm.tiny.shapes import PATCHES

OPENING: Final = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)
_LOG_EVERY: Final = 10
_SAVE_EVERY: Final = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is: scenes in a step, questions on each; `blanks`: the share of scenes that are not shown."""

    steps: int
    scenes: int = 6
    questions: int = 9
    blanks: float = 0.04
    rate: float = 2e-4
    warm: int = 30
    # Draws scenes from the first so many only: a check that the loop can learn at all.
    only: int = 0
    adapter_rate: float = 6e-4
    courses: tuple[tuple[float, Course], ...] = COURSES


ADAPTED: Final[dict[str, Any]] = {"scenes": 4, "rate": 1e-4, "courses": ADAPTED_COURSES}
"""What differs in a plan that trains adapters as well: it begins with a projector that can name."""


RANK: Final = 8
"""Of the adapters: attention's four products in every layer, 0.92 M parameters."""


def with_adapters(decoder: LlamaForCausalLM) -> list[nn.Parameter]:
    """Puts LoRA into the decoder's attention, in place; returns what is trained."""
    torch.manual_seed(0)
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(_PRODUCTS)), decoder)
    found = [one for name, one in decoder.named_parameters() if "lora_" in name]
    for one in found:
        one.data = one.data.float()
        one.requires_grad_(True)
    return found


_PRODUCTS: Final = ("q_proj", "k_proj", "v_proj", "o_proj")


def adapter_names(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """Adapters, in the order in which they are trained, by name: `layers.0.self_attn.q_proj.A`, then `.B`, ..."""
    names = [
        f"layers.{layer}.self_attn.{product}.{side}"
        for layer in range(len(tensors) // (2 * len(_PRODUCTS)))
        for product in _PRODUCTS
        for side in ("A", "B")
    ]
    return dict(zip(names, tensors, strict=True))


class Trainer:
    """Projector, frozen tower and decoder, and the loss of a step; `adapted`: the decoder's attention has adapters."""

    def __init__(
        self,
        decoder: LlamaForCausalLM,
        tower: nn.Module,
        projector: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        adapted: bool = False,
    ) -> None:
        self.decoder, self.tower, self.projector = decoder.requires_grad_(False).bfloat16(), tower, projector
        # Packed masks are small: the plain product with an additive mask is faster here than the fused one.
        decoder.config._attn_implementation = "eager"
        tower.requires_grad_(False)
        self.adapters = with_adapters(decoder) if adapted else []
        opening = tokenizer(OPENING, add_special_tokens=False, return_tensors="pt")["input_ids"]
        self._after = tokenizer("\n", add_special_tokens=False)["input_ids"]
        self._ids, self._start = opening, opening.shape[1]
        # The opening is the same in every prompt: without adapters its keys and values are computed once.
        self._held = None if adapted else self._opening()
        self.first = self._start + PATCHES + len(self._after)

    def _opening(self) -> list[tuple[Tensor, Tensor]]:
        with torch.set_grad_enabled(bool(self.adapters) and torch.is_grad_enabled()):
            cache = self.decoder.model(self._ids, use_cache=True).past_key_values
        return [(layer.keys, layer.values) for layer in cache.layers]

    def scores(self, batch: Batch, shown: Float[Tensor, "B P H"]) -> Float[Tensor, "N V"]:
        """The scores of the tokens in `batch.labels`."""
        rows = len(shown)
        embed = self.decoder.get_input_embeddings()
        after = embed(torch.tensor(self._after)).expand(rows, -1, -1)
        packed = torch.cat([shown.to(after.dtype), after, embed(batch.ids)], dim=1)
        begins = torch.arange(self._start, self.first).expand(rows, -1)
        positions = torch.cat([begins, batch.positions], dim=1)
        past = DynamicCache()
        for number, (keys, values) in enumerate(self._held or self._opening()):
            past.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        seen = batch.mask(self.first)[:, :, self._start :]
        blocked = torch.zeros(seen.shape, dtype=packed.dtype).masked_fill(~seen, torch.finfo(packed.dtype).min)
        states = self.decoder.model(
            inputs_embeds=packed, attention_mask=blocked, position_ids=positions, past_key_values=past, use_cache=True
        ).last_hidden_state[:, -batch.ids.shape[1] :]
        return self.decoder.lm_head(states[batch.labels >= 0]).float()

    def see(self, scenes: Sequence[Scene], blank: Sequence[bool]) -> Float[Tensor, "B P D"]:
        """The tower's features of the scenes, of a grey image where `blank`."""
        stack = pixels(scenes)
        stack[torch.tensor(blank)] = blank_pixels()
        return features(self.tower, stack)


def marks(
    batch: Batch, scores: Float[Tensor, "N V"], truth: Int[Tensor, "N"], shown: Sequence[bool]
) -> dict[str, list]:
    """Per kind, whether the first token of each answer is the most likely one; only where the scene is shown."""
    learned = batch.labels >= 0
    right = torch.zeros_like(learned)
    right[learned] = scores.argmax(-1) == truth
    rows = batch.begins.nonzero()[:, 0].tolist()
    found = defaultdict(list)
    for kind, row, hit in zip(batch.kinds, rows, right[batch.begins].tolist(), strict=True):
        if shown[row]:
            found[kind].append(float(hit))
    return found


def train(path: Path, trainer: Trainer, plan: Plan, packer: Packer, stop: int | None = None) -> None:
    """Trains up to `plan.steps`, from the checkpoint in `path` if there is one; `stop` ends earlier, resumable."""
    path.mkdir(parents=True, exist_ok=True)
    projector = trainer.projector.requires_grad_(True).train()
    groups: list[dict[str, Any]] = [{"params": list(projector.parameters()), "peak": plan.rate}]
    if trainer.adapters:
        groups.append({"params": trainer.adapters, "peak": plan.adapter_rate})
    trained = [one for group in groups for one in group["params"]]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    file, step, seconds = path / "checkpoint.pt", 0, 0.0
    if file.exists():
        held: dict[str, Any] = torch.load(file, weights_only=True)
        projector.load_state_dict(held["projector"])
        optimizer.load_state_dict(held["optimizer"])
        for own, kept in zip(trainer.adapters, held["adapters"], strict=True):
            own.data.copy_(kept)
        step, seconds = held["step"], held["seconds"]
    last = saved = time.monotonic()
    sums: dict[str, list[float]] = defaultdict(list)

    def save() -> None:
        held = {"projector": projector.state_dict(), "optimizer": optimizer.state_dict()}
        held["adapters"] = [one.data for one in trainer.adapters]
        torch.save({**held, "step": step, "seconds": seconds}, path / "checkpoint.part")
        os.replace(path / "checkpoint.part", file)

    while step < (plan.steps if stop is None else stop):
        share = min(1.0, (step + 1) / plan.warm) * (0.02 + 0.98 * _cosine(step / plan.steps))
        rate = plan.rate * share
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
        rng = random.Random(f"real/{step % plan.only if plan.only else step}")
        taken = course(step / plan.steps, plan.courses)
        scenes, blocks = draw_packs(rng, plan.scenes, plan.questions, taken)
        blank = [rng.random() < plan.blanks for _ in scenes]
        batch = packer.pack(blocks, taken.caption_weight)
        shown = projector(trainer.see(scenes, blank))
        scores = trainer.scores(batch, shown)
        learned = batch.labels >= 0
        truth, weights = batch.labels[learned], batch.weights[learned]
        losses = F.cross_entropy(scores, truth, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        now = time.monotonic()
        seconds, last, step = seconds + now - last, now, step + 1
        answers = weights == 1.0
        sums["loss"].append(float(losses[answers].mean().detach()))
        if not answers.all():
            sums["caption loss"].append(float(losses[~answers].mean().detach()))
        sums["gradient"].append(float(norm))
        sums["length"].append(float(shown.detach().norm(dim=-1).mean()))
        for kind, hits in marks(batch, scores, truth, [not b for b in blank]).items():
            sums[kind] += hits
        if step % _LOG_EVERY == 0:
            means = {name: round(sum(values) / len(values), 3) for name, values in sorted(sums.items())}
            line = json.dumps({"step": step, "seconds": round(seconds), "rate": round(rate, 6), **means})
            with (path / "log.jsonl").open("a") as log:
                log.write(line + "\n")
            print(line, flush=True)
            sums.clear()
        if now - saved > _SAVE_EVERY:
            save()
            saved = now
    save()


def _cosine(share: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, share))


def begin(trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> float:
    """Sets the projector by ridge regression; the share of the variance of its targets that it explains."""
    embeddings = trainer.decoder.get_input_embeddings().weight.detach().float()
    return start(trainer.projector, trainer.tower, tokenizer, embeddings)
