"""Small randomly initialised models of the real classes, with real processors, for tests.

Weights are drawn large, so that closing a route moves log-probabilities by tenths to tens: a model at its usual
initialisation is so nearly linear that every executor agrees with every other.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.support.factories_kinds import KIND_MAKERS
from tests.support.factories_projectors import PROJECTOR_MAKERS
from tests.support.factories_qwen import QWEN_MAKERS
from tests.support.factories_senses import SENSE_MAKERS, SENSES, clip, sound
from tests.support.factories_tiles import TILE_MAKERS
from tests.support.small import CONTEXT as CONTEXT
from tests.support.small import VOCAB, WIDTH, Maker
from transformers import PreTrainedModel, ProcessorMixin

from chiasm.core.example import Box, Example

FAMILIES = tuple(PROJECTOR_MAKERS)
# One of each further structural kind: which laws run on them by default, and which only on request, is for the tests.
FURTHER: dict[str, Maker] = KIND_MAKERS | TILE_MAKERS | SENSE_MAKERS | QWEN_MAKERS
KINDS = tuple(FURTHER)
EVERY = (*FAMILIES, *KINDS)


def build(
    family: str, dtype: torch.dtype = torch.float32, layers: int = 4, seed: int = 0
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model of `family` in eval mode with sdpa attention, and its processor."""
    make_model, make_processor = (PROJECTOR_MAKERS | FURTHER)[family]
    processor = make_processor()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make_model(processor, layers)
        enlarge(model)
    model = _cast(model, dtype).eval()
    model.set_attn_implementation("sdpa")
    text = model.config.get_text_config()
    assert (text.hidden_size, text.num_hidden_layers) == (WIDTH, layers)
    assert text.num_attention_heads == 4
    assert text.vocab_size == model.get_output_embeddings().weight.shape[0] <= 4 * VOCAB
    if family in FAMILIES:
        assert text.num_key_value_heads == 2
        assert len(model.get_decoder().layers) == layers
        vision = model.config.vision_config.to_dict()
        assert vision.get("num_hidden_layers", vision.get("depth")) in (2, 3)
        assert family.startswith("llava") or text.rope_parameters["mrope_section"] == [2, 2, 2]
        assert len(processor.tokenizer) <= VOCAB == text.vocab_size
    assert sum(p.numel() for p in model.parameters()) < 200_000 + 2 * WIDTH * text.vocab_size + layers * 60_000
    return model, processor


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """`model.to(dtype)`, which would drop the imaginary part of rotary tables that are kept as complex numbers."""
    tables = [(name.rpartition("."), table) for name, table in model.named_buffers() if table.is_complex()]
    for (owner, _, name), _ in tables:
        setattr(model.get_submodule(owner), name, torch.zeros(0))
    model = model.to(dtype)
    for (owner, _, name), table in tables:
        complex_type = torch.complex128 if dtype == torch.float64 else table.dtype
        setattr(model.get_submodule(owner), name, table.to(complex_type))
    return model


def save(family: str, directory: Path, **options: Any) -> Path:
    """`build(family, **options)` written by `save_pretrained`, model and processor."""
    model, processor = build(family, **options)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Uniform noise: no two patches are alike."""
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def example(
    family: str = "llava",
    seed: int = 0,
    images: int = 1,
    question: str | None = None,
    options: tuple[str, ...] = ("red", "blue"),
    size: tuple[int, int] | None = None,
    **fields: Any,
) -> Example:
    """A question about random pictures of random sizes (20 to 90 pixels), with options and two boxes.

    `family` names the example; one example suits all that see pictures. Those that watch or listen are given as many
    videos or sounds of random length instead. `size` (width, height) fixes the pictures.
    """
    rng = np.random.default_rng(seed)
    if family in SENSES:
        if SENSES[family] == "video":
            frames = int(rng.integers(2, 5))
            made = tuple(clip(rng, frames, *rng.integers(20, 91, 2)) for _ in range(images))
            fields = {"videos": made} | fields
        else:
            fields = {"audios": tuple(sound(rng, rng.uniform(0.3, 1.0)) for _ in range(images))} | fields
        images = 0
    sizes = [size or (int(rng.integers(20, 91)), int(rng.integers(20, 91))) for _ in range(images)]
    pictures = tuple(picture(rng, *s) for s in sizes)
    boxes = ()
    if images:
        width, height = sizes[0]
        boxes = (
            Box("circle", width * 0.1, height * 0.2, width * 0.3, height * 0.25),
            Box("square", width * 0.6, height * 0.5, width * 0.2, height * 0.3),
        )
    if question is None:
        extra = " and the square" * int(rng.integers(0, 4))
        question = f"What color is the circle{extra}, " + " or ".join(options) + "?"
    given: dict[str, Any] = {"answer": options[0] if options else "red", "type": "choose", "boxes": boxes} | fields
    return Example(id=f"{family}-{seed}", question=question, images=pictures, options=options, **given)


def enlarge(model: PreTrainedModel) -> None:
    """Matrices with standard deviation 0.35 (embeddings 1, positions of pictures 0.5); norms about 1; biases 0.1."""
    # Gemma's norms scale by one more than their weight.
    scale = 0.0 if "Gemma" in type(model).__name__ else 1.0
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim < 2:
                is_scale = "norm" in name and name.endswith("weight")
                p.normal_(scale if is_scale else 0.0, 0.1)
            elif p is getattr(model.get_input_embeddings(), "weight", None):
                p.normal_(0.0, 1.0)
            elif "visual" in name or "vision" in name or "audio_tower" in name:
                p.normal_(0.0, 0.5 if "embedding" in name else 0.2)
            else:
                p.normal_(0.0, 0.35)
