"""Stages 3 and 4: the decoder meets pictures. The tower stays frozen throughout, as in LLaVA-1.5."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from transformers import CLIPModel, LlavaForConditionalGeneration

from chiasm.data.scenes.language import caption
from chiasm.tiny import shape
from chiasm.tiny.course import Row, mix, scene_row, train_scene
from chiasm.tiny.lessons import caption_block
from chiasm.tiny.packs import Batch, Packer
from chiasm.tiny.runs import Run, optimizers, schedule, update
from chiasm.tiny.stages import heard, said
from chiasm.tiny.tokens import IMAGE, tokenizer
from chiasm.tiny.tower import pixels

PICTURE: Final = f"USER: {IMAGE * shape.PATCHES}\n"
# Some pictures are taken away: with nothing to see, the model then guesses between the options and says nothing odd.
_BLANKS: Final = 0.08
# Some scenes are told instead of shown, so that the decoder stays able to answer from text.
_TOLD: Final = 0.15


def assemble(tower: Path, text: Path, projector: Path | None = None) -> LlavaForConditionalGeneration:
    """The model out of its stages: `tower.pt`, `text.pt`, and a projector if there is one already."""
    words = tokenizer()
    model = shape.llava(words)
    clip = shape.clip(words)
    clip.load_state_dict(torch.load(tower, weights_only=True))
    model.model.vision_tower.load_state_dict(_vision(clip))
    decoder = shape.decoder(words)
    decoder.load_state_dict(torch.load(text, weights_only=True))
    model.model.language_model.load_state_dict(decoder.model.state_dict())
    model.lm_head.load_state_dict(decoder.lm_head.state_dict())
    if projector is not None:
        model.model.multi_modal_projector.load_state_dict(torch.load(projector, weights_only=True))
    return model


def _vision(clip: CLIPModel) -> dict[str, Tensor]:
    return clip.vision_model.state_dict()


def answer_scores(model: LlavaForConditionalGeneration, batch: Batch, pictures: Tensor | None) -> Tensor:
    """The scores (N, V) of the tokens in `batch.said`. `pictures` fill the image tokens in order.

    This is the model's own way, with the packed mask: features of the tower's last layer but one, through the
    projector, into the places of the image tokens.
    """
    inner = model.model
    embedded = inner.language_model.embed_tokens(batch.ids)
    if pictures is not None:
        with torch.no_grad():
            seen = inner.vision_tower(pixel_values=pictures, output_hidden_states=True).hidden_states[-2][:, 1:]
        shown = inner.multi_modal_projector(seen)
        places = (batch.ids == model.config.image_token_id)[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(places, shown.to(embedded.dtype))
    states = inner.language_model(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    return model.lm_head(states[batch.said])


def pictures_of(rows: Sequence[Row], rng: random.Random) -> Tensor | None:
    """The pictures of the rows that show one, some of them blanked."""
    shown = [row.scene for row in rows if row.scene is not None and row.prefix == PICTURE]
    if not shown:
        return None
    stack = pixels(shown)
    for number in range(len(shown)):
        if rng.random() < _BLANKS:
            stack[number] = blank_pixels()
    return stack


def blank_pixels() -> Tensor:
    """A mid-grey picture as the processor would give it, (3, 1, 1)."""
    mean, spread = (torch.tensor(values).view(3, 1, 1) for values in (shape.MEAN, shape.SPREAD))
    return (128 / 255 - mean) / spread


def align_rows(rng: random.Random, batch: int) -> list[Row]:
    """Captions only, two per picture."""
    rows = []
    for _ in range(batch):
        scene = train_scene(rng, (1, 2, 3, 4))
        blocks = [caption_block(scene, rng), caption_block(scene, rng, spoken=rng.random() < 0.3)]
        rows.append(Row(PICTURE, blocks, ["caption", "caption"], scene))
    return rows


def instruct_rows(rng: random.Random, batch: int) -> list[Row]:
    """A caption and questions behind each picture, some scenes told instead of shown."""
    rows = []
    for _ in range(batch):
        scene = train_scene(rng)
        told = rng.random() < _TOLD
        row = scene_row(scene, f"USER: {caption(scene, rng)}\n" if told else PICTURE, mix(0.25), 8, rng, captions=0.6)
        if told:
            row = replace(row, kinds=[f"text {kind}" if kind[0].isupper() else kind for kind in row.kinds])
        rows.append(row)
    return rows


def fit(path: Path, model: LlavaForConditionalGeneration, stage: str, steps: int, batch: int = 32) -> dict[str, float]:
    """Trains and writes `model.pt`. `stage` is align, instruct or frozen.

    align: the projector on captions. frozen: the projector on instructions. instruct: projector and decoder.
    """
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    if stage == "instruct":
        model.model.language_model.requires_grad_(True)
        model.lm_head.requires_grad_(True)
    model.train()
    made = optimizers(model, matrices=0.01, others=2e-3)
    run, packer = Run(path), Packer(tokenizer())
    run.open({"model": model}, made)
    reached: dict[str, float] = {}
    while run.step < steps:
        rng = random.Random(f"{stage}/{run.step}")
        schedule(made, run.step / steps)
        rows = align_rows(rng, batch) if stage == "align" else instruct_rows(rng, batch)
        packed = packer.pack([(row.prefix, row.blocks) for row in rows])
        with torch.autocast("cpu", torch.bfloat16):
            scores = answer_scores(model, packed, pictures_of(rows, rng))
        loss = said(scores, packed)
        update(model, made, loss)
        reached = run.tick({"loss": float(loss.detach()), **heard(scores, packed, rows)}, every=25) or reached
        run.save({"model": model}, made)
    run.save({"model": model}, made, always=True)
    torch.save(model.state_dict(), path / "model.pt")
    return reached
