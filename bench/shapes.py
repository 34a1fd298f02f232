"""Models of LLaVA's shape with random weights, and prompts of LLaVA's layout.

What a cut costs depends on shapes and spans alone, so random weights measure the same as trained ones.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from chiasm.core.positions import Spans
from chiasm.models.encoded import Encoded

# Text tokens of a prompt: before the image, the newline after it, the question, the instruction, the final token.
PREFIX, BETWEEN, QUESTION, SUFFIX = 5, 1, 21, 12
OBJECT_SIDE = 8  # the object of `image.object` covers 8 x 8 patches: 0.11 of a 24 x 24 image


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths and depths of a decoder and its CLIP tower."""

    layers: int
    width: int
    inner: int
    heads: int
    vocabulary: int
    tower_layers: int
    tower_width: int
    tower_inner: int
    tower_heads: int
    pixels: int = 336
    patch: int = 14

    @property
    def image_tokens(self) -> int:
        return (self.pixels // self.patch) ** 2

    @property
    def length(self) -> int:
        """Positions of one prompt."""
        return PREFIX + self.image_tokens + BETWEEN + QUESTION + SUFFIX + 1

    @property
    def image_token(self) -> int:
        return self.vocabulary - 1


SHAPES = {
    "small": Shape(24, 1024, 2816, 16, 32000, 4, 256, 1024, 4),
    "llava-1.5-7b": Shape(32, 4096, 11008, 32, 32064, 24, 1024, 4096, 16),
    # For tests of the benchmark itself: seconds, not minutes.
    "mini": Shape(3, 64, 128, 4, 256, 2, 32, 64, 2, pixels=140),
}


def config_of(shape: Shape) -> LlavaConfig:
    """A LLaVA-1.5 configuration of this shape."""
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=shape.tower_width,
            intermediate_size=shape.tower_inner,
            num_hidden_layers=shape.tower_layers,
            num_attention_heads=shape.tower_heads,
            image_size=shape.pixels,
            patch_size=shape.patch,
        ),
        text_config=LlamaConfig(
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            vocab_size=shape.vocabulary,
            # Twice the usual: as initialised by default, a model is so nearly linear that no mistake would show.
            initializer_range=0.04,
        ),
        image_token_id=shape.image_token,
        image_seq_length=shape.image_tokens,
    )


def build(shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LlavaForConditionalGeneration:
    """Random weights (seed 0), made where they will be used: 7B in bf16 never passes through main memory."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlavaForConditionalGeneration(config_of(shape))
    finally:
        torch.set_default_dtype(before)
    model.set_attn_implementation("sdpa")
    return model.eval()


def default_shape(device: str) -> str:
    """A shape that a CPU measures in minutes; on a GPU the published one."""
    return "small" if device == "cpu" else "llava-1.5-7b"


def default_dtype(device: str) -> torch.dtype:
    """Single precision on a CPU, half on a GPU."""
    return torch.float32 if device == "cpu" else torch.bfloat16


def prompts(shape: Shape, questions: int = 1, device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Encoded]:
    """Prompts that differ in their question, about one image (noise), as `ModelView.encode` would give them."""
    noise = torch.randn(1, 3, shape.pixels, shape.pixels, generator=torch.Generator().manual_seed(1))
    pixels = noise.to(device, dtype)
    return [Encoded(f"question-{k}", _inputs(shape, pixels, k), spans_of(shape), text="") for k in range(questions)]


def spans_of(shape: Shape) -> Spans:
    """The spans of every prompt here."""
    ends = np.cumsum([0, PREFIX, shape.image_tokens, BETWEEN, QUESTION, SUFFIX, 1])
    names = ("prefix", "image", "between", "question", "suffix", "last")
    spans = {name: np.arange(a, b) for name, a, b in zip(names, ends[:-1], ends[1:], strict=True)}
    side = shape.pixels // shape.patch
    rows, columns = np.divmod(np.arange(shape.image_tokens), side)
    low = (side - OBJECT_SIDE) // 2
    inside = (rows >= low) & (rows < low + OBJECT_SIDE) & (columns >= low) & (columns < low + OBJECT_SIDE)
    spans["image.object"], spans["image.other"] = spans["image"][inside], spans["image"][~inside]
    return Spans(shape.length, spans)


def save(shape: Shape, folder: Path) -> None:
    """Model, processor and inputs, for processes in other environments."""
    folder.mkdir(parents=True, exist_ok=True)
    model = build(shape)
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(folder)
    processor(shape).save_pretrained(folder)
    save_file({k: v.contiguous() for k, v in prompts(shape)[0].inputs.items()}, folder / "inputs.safetensors")


def processor(shape: Shape) -> LlavaProcessor:
    """A real processor around a word-level tokenizer: some peers refuse a checkpoint that has none."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3} | {f"w{k}": k for k in range(4, shape.vocabulary - 1)}
    core = Tokenizer(models.WordLevel(words | {"<image>": shape.image_token}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    size = {"height": shape.pixels, "width": shape.pixels}
    images = LlavaImageProcessorPil(size={"shortest_edge": shape.pixels}, crop_size=size)
    made = LlavaProcessor(
        images,
        tokenizer,
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    blank = made(text="<image> w5", images=Image.new("RGB", (20, 20)), return_tensors="pt")["input_ids"]
    assert int((blank == shape.image_token).sum()) == shape.image_tokens
    return made


def _inputs(shape: Shape, pixels: Tensor, question: int) -> dict[str, Tensor]:
    spans = spans_of(shape)
    shared, own = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3 + question)
    ids = torch.randint(10, shape.image_token, (1, shape.length), generator=shared)
    ids[:, spans["image"]] = shape.image_token
    ids[:, spans["question"]] = torch.randint(100, shape.image_token, (1, QUESTION), generator=own)
    # Questions differ from their first token on, so that what they share ends exactly there.
    ids[:, int(spans["question"][0])] = 10 + question
    ids = ids.to(pixels.device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
