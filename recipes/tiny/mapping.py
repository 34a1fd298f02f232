"""Stages 3 and 4: the decoder meets images, clips or sounds. The encoder stays frozen throughout, as in LLaVA-1.5."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from recipes.tiny.curriculum import captioned_pack, drawn_train, mix, moving_pack, pack_about, train_scene
from recipes.tiny.loop import train
from recipes.tiny.modalities import Modality
from recipes.tiny.packing import Pack, PackedBatch, Packer
from recipes.tiny.questions import MELODY_KINDS, caption_block
from recipes.tiny.text import build_decoder
from torch import Tensor
from transformers import PreTrainedModel

from chiasm.data.scenes.melodies import draw_melody
from chiasm.tiny.tokens import tokenizer

Stage = Literal["align", "instruct", "frozen"]
# Where the decoder is trained, some scenes are captioned instead of shown, so that it stays able to answer from text.
_CAPTIONED: Final = 0.15
KEPT: Final = (50, 100, 200, 300)
"""Steps whose weights are kept, for the study of what rises while a model is trained."""


def assemble(model: PreTrainedModel, text: Path, encoder: dict[str, Tensor]) -> Any:
    """`model` with the decoder of `text.pt` and the tensors of its encoder by their names in the model."""
    decoder = build_decoder(tokenizer())
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


def answer_scores(
    modality: Modality, batch: PackedBatch, features: Float[Tensor, "B N D"] | None
) -> Float[Tensor, "S V"]:
    """The scores of the tokens in `batch.learned`. `features` fill, through the projector, the places of the mark.

    This is the model's own way, with the packed mask.
    """
    decoder = modality.decoder
    embedded = decoder.embed_tokens(batch.ids)
    if features is not None:
        shown = modality.project(features)
        places = (batch.ids == tokenizer().convert_tokens_to_ids(modality.mark))[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(places, shown.to(embedded.dtype))
    states = decoder(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    return modality.model.lm_head(states[batch.learned])


def align_packs(modality: Modality, rng: random.Random, batch: int) -> list[Pack]:
    """Captions only, two per input."""
    packs = []
    for _ in range(batch):
        content = modality.draw(rng, simple=True)
        blocks = [caption_block(content, rng), caption_block(content, rng, as_relations=rng.random() < 0.3)]
        packs.append(Pack(modality.prefix, blocks, ["caption", "caption"], content))
    return packs


def instruct_packs(modality: Modality, rng: random.Random, batch: int, captioned: float = 0.0) -> list[Pack]:
    """A caption and questions behind each input; in a share `captioned` of the packs a caption stands for the input."""
    return [
        _captioned(rng)
        if rng.random() < captioned
        else pack_about(modality.draw(rng, False), modality.prefix, modality.kinds, 8, rng, 0.6)
        for _ in range(batch)
    ]


def _captioned(rng: random.Random) -> Pack:
    source = rng.random()
    if source < 0.7:
        pack = captioned_pack(train_scene(rng), mix(0.25), 8, rng, captions=0.6)
    elif source < 0.85:
        pack = moving_pack(rng)
    else:
        pack = captioned_pack(drawn_train(draw_melody, rng), MELODY_KINDS, 8, rng, captions=0.6)
    return replace(pack, kinds=[kind if kind == "caption" else f"told {kind}" for kind in pack.kinds])


def fit(path: Path, modality: Modality, stage: Stage, steps: int, batch: int = 32) -> dict[str, float]:
    """Trains and writes `model.pt`, and before it `model-50.pt` and so on for the steps in `KEPT`.

    align: the projector on captions. frozen: the projector on instructions. instruct: projector and decoder.
    """
    model = modality.model
    model.requires_grad_(False)
    modality.projector.requires_grad_(True)
    if stage == "instruct":
        modality.decoder.requires_grad_(True)
        model.lm_head.requires_grad_(True)
    packer = Packer(tokenizer())
    captioned = _CAPTIONED if stage == "instruct" else 0.0

    def step_loss(step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        if step in KEPT and stage != "align":
            torch.save(model.state_dict(), path / f"model-{step}.pt")
        packs = (
            align_packs(modality, rng, batch) if stage == "align" else instruct_packs(modality, rng, batch, captioned)
        )
        packed = packer.pack(packs)
        with torch.autocast("cpu", torch.bfloat16):
            scores = answer_scores(modality, packed, perceived(modality, packs, rng))
        return packed.loss(scores), packed.accuracy(scores, packs)

    reached = train(path, stage, {"model": model}, step_loss, steps)
    torch.save(model.state_dict(), path / "model.pt")
    return reached


def perceived(modality: Modality, packs: Sequence[Pack], rng: random.Random) -> Float[Tensor, "B N D"] | None:
    """The features of the packs that show what they are about; None if captions stand for all of them."""
    shown = [pack.content for pack in packs if pack.content is not None and pack.prefix == modality.prefix]
    return modality.perceive(shown, rng) if shown else None
