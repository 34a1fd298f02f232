"""Stages 3 and 4: the decoder meets pictures, clips or sounds. The encoder stays frozen throughout, as in LLaVA-1.5."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from recipes.tiny.course import Row, drawn_train, mix, moving_row, row_of, told_row, train_scene
from recipes.tiny.lessons import caption_block
from recipes.tiny.lessons_in_time import MELODY_KINDS
from recipes.tiny.packs import Batch, Packer
from recipes.tiny.runs import Run, optimizers, schedule, update
from recipes.tiny.senses import Sense
from recipes.tiny.stages import heard, said
from torch import Tensor
from transformers import PreTrainedModel

from chiasm.data.scenes.tones import draw_melody
from chiasm.tiny import shape
from chiasm.tiny.tokens import tokenizer

Stage = Literal["align", "instruct", "frozen"]
# Where the decoder is trained, some scenes are told instead of shown, so that it stays able to answer from text.
_TOLD: Final = 0.15
KEPT: Final = (50, 100, 200, 300)
"""Steps whose weights are kept, for the study of what rises while a model is trained."""


def assemble(model: PreTrainedModel, text: Path, encoder: dict[str, Tensor]) -> Any:
    """`model` with the decoder of `text.pt` and the tensors of its encoder by their names in the model."""
    decoder = shape.decoder(tokenizer())
    decoder.load_state_dict(torch.load(text, weights_only=True))
    own = {
        f"model.language_model.{name.removeprefix('model.')}" if name.startswith("model.") else name: tensor
        for name, tensor in decoder.state_dict().items()
    }
    left = model.load_state_dict(own | encoder, strict=False)
    if left.unexpected_keys or any("projector" not in key and "newline" not in key for key in left.missing_keys):
        raise RuntimeError(f"the stages do not make up the model: {left}")
    return model


def encoder_of(kind: Literal["vision", "audio"], file: Path) -> dict[str, Tensor]:
    """The tensors of a trained encoder by their names in the model; of a CLIP model, only those of its tower."""
    held: dict[str, Tensor] = torch.load(file, weights_only=True)
    start = "vision_model." if any(name.startswith("vision_model.") for name in held) else ""
    return {
        f"model.{kind}_tower.{name.removeprefix(start)}": tensor
        for name, tensor in held.items()
        if name.startswith(start)
    }


def answer_scores(sense: Sense, batch: Batch, features: Float[Tensor, "B N D"] | None) -> Float[Tensor, "S V"]:
    """The scores of the tokens in `batch.said`. `features` fill, through the projector, the places of the mark.

    This is the model's own way, with the packed mask.
    """
    decoder = sense.decoder
    embedded = decoder.embed_tokens(batch.ids)
    if features is not None:
        shown = sense.project(features)
        places = (batch.ids == tokenizer().convert_tokens_to_ids(sense.mark))[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(places, shown.to(embedded.dtype))
    states = decoder(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    return sense.model.lm_head(states[batch.said])


def align_rows(sense: Sense, rng: random.Random, batch: int) -> list[Row]:
    """Captions only, two per input."""
    rows = []
    for _ in range(batch):
        subject = sense.draw(rng, simple=True)
        blocks = [caption_block(subject, rng), caption_block(subject, rng, spoken=rng.random() < 0.3)]
        rows.append(Row(sense.prefix, blocks, ["caption", "caption"], subject))
    return rows


def instruct_rows(sense: Sense, rng: random.Random, batch: int, told: float = 0.0) -> list[Row]:
    """A caption and questions behind each input; a share `told` of the packs is told in words instead."""
    return [
        _told(rng) if rng.random() < told else row_of(sense.draw(rng, False), sense.prefix, sense.kinds, 8, rng, 0.6)
        for _ in range(batch)
    ]


def _told(rng: random.Random) -> Row:
    source = rng.random()
    if source < 0.7:
        row = told_row(train_scene(rng), mix(0.25), 8, rng, captions=0.6)
    elif source < 0.85:
        row = moving_row(rng)
    else:
        row = told_row(drawn_train(draw_melody, rng), MELODY_KINDS, 8, rng, captions=0.6)
    return Row(row.prefix, row.blocks, [kind if kind == "caption" else f"told {kind}" for kind in row.kinds], row.scene)


def fit(path: Path, sense: Sense, stage: Stage, steps: int, batch: int = 32) -> dict[str, float]:
    """Trains and writes `model.pt`, and before it `model-50.pt` and so on for the steps in `KEPT`.

    align: the projector on captions. frozen: the projector on instructions. instruct: projector and decoder.
    """
    model = sense.model
    model.requires_grad_(False)
    sense.projector.requires_grad_(True)
    if stage == "instruct":
        sense.decoder.requires_grad_(True)
        model.lm_head.requires_grad_(True)
    model.train()
    made = optimizers(model, matrices=0.01, others=2e-3)
    run, packer = Run(path), Packer(tokenizer())
    run.open({"model": model}, made)
    reached: dict[str, float] = {}
    while run.step < steps:
        if run.step in KEPT and stage != "align":
            torch.save(model.state_dict(), path / f"model-{run.step}.pt")
        rng = random.Random(f"{stage}/{run.step}")
        schedule(made, run.step / steps)
        told = _TOLD if stage == "instruct" else 0.0
        rows = align_rows(sense, rng, batch) if stage == "align" else instruct_rows(sense, rng, batch, told)
        packed = packer.pack([(row.prefix, row.blocks) for row in rows])
        with torch.autocast("cpu", torch.bfloat16):
            scores = answer_scores(sense, packed, perceived(sense, rows, rng))
        loss = said(scores, packed)
        update(model, made, loss)
        reached = run.tick({"loss": float(loss.detach()), **heard(scores, packed, rows)}, every=25) or reached
        run.save({"model": model}, made)
    run.save({"model": model}, made, always=True)
    torch.save(model.state_dict(), path / "model.pt")
    return reached


def perceived(sense: Sense, rows: Sequence[Row], rng: random.Random) -> Float[Tensor, "B N D"] | None:
    """The features of the rows that show what they are about; None if all are told."""
    shown = [row.scene for row in rows if row.scene is not None and row.prefix == sense.prefix]
    return sense.perceive(shown, rng) if shown else None
