"""LLaVA-shaped models of chosen size with random weights, and an encoded example without a processor."""

import numpy as np
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from chiasm.core.positions import Spans
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView


def llava_shaped(
    *, layers: int, width: int, inner: int, image_side: int, vocabulary: int, dtype: torch.dtype = torch.float32
) -> tuple[ModelView, Encoded]:
    """`image_side` squared image tokens and 40 text tokens: 5 before, 2 between, 20 asked, 12 after, 1 last."""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, projection_dim=64,
            image_size=image_side * 14, patch_size=14,
        ),
        text_config=LlamaConfig(
            hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, vocab_size=vocabulary,
            num_attention_heads=max(1, width // 64), num_key_value_heads=max(1, width // 64),
        ),
        image_token_id=vocabulary - 1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config).to(dtype).eval()
        model.set_attn_implementation("sdpa")
        image = image_side**2
        ids = torch.randint(3, vocabulary - 1, (1, image + 40))
        ids[:, 5 : 5 + image] = vocabulary - 1
        pixels = torch.randn(1, 3, image_side * 14, image_side * 14, dtype=dtype)
    assert model.config.get_text_config().hidden_size == width
    end = 5 + image
    bounds = {"prefix": (0, 5), "image": (5, end), "between": (end, end + 2), "question": (end + 2, end + 22)}
    bounds |= {"suffix": (end + 22, end + 34), "last": (end + 34, end + 35)}
    spans = Spans(image + 40, {name: np.arange(*bound) for name, bound in bounds.items()})
    length = spans.length
    inputs = {
        "input_ids": ids[:, :length],
        "attention_mask": torch.ones(1, length, dtype=torch.long),
        "pixel_values": pixels,
    }
    return ModelView(model, None, "llava-shaped"), Encoded("shape", inputs, spans, "")
