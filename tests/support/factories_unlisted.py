"""Small models of architectures that have no family of their own, made as those of `factories` are."""

from pathlib import Path

import torch
from tests.support.factories import enlarge
from tests.support.factories_projectors import clip_tower, llava_processor
from tests.support.small import text_config
from transformers import (
    LlamaConfig,
    PreTrainedModel,
    ProcessorMixin,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)


def vip_llava(layers: int = 4) -> tuple[PreTrainedModel, ProcessorMixin]:
    """VipLLaVA (Cai et al. 2024): features of several tower layers, normed, then projected."""
    processor = llava_processor()
    config = VipLlavaConfig(
        vision_config=clip_tower(),
        text_config=LlamaConfig(**text_config(processor, layers)),
        image_token_index=processor.image_token_id,
        vision_feature_layers=[-2, -3],
        image_seq_length=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VipLlavaForConditionalGeneration(config)
        enlarge(model)
    model.set_attn_implementation("sdpa")
    return model.eval(), processor


def save_vip_llava(directory: Path, layers: int = 4) -> Path:
    """The same, written by `save_pretrained`."""
    model, processor = vip_llava(layers)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
