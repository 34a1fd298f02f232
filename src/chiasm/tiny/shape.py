"""The embedded model's shape: real transformers classes at a size that fits into a wheel."""

from __future__ import annotations

from typing import Final

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from chiasm.data.scenes.world import SIDE
from chiasm.tiny.tokens import IMAGE
from chiasm.tiny.tokens import tokenizer as closing_tokenizer

PATCH: Final = 16
PATCHES: Final = (SIDE // PATCH) ** 2
SEED: Final = 20
LAYERS: Final = 6
MEAN: Final = tuple(OPENAI_CLIP_MEAN)
SPREAD: Final = tuple(OPENAI_CLIP_STD)
_VISION: Final = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
    "projection_dim": 64,
}
_DECODER: Final = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "initializer_range": 0.03,
    "tie_word_embeddings": False,
    "attn_implementation": "sdpa",
}


def llava(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> LlavaForConditionalGeneration:
    """A LLaVA-1.5-shaped model with random weights from `seed`, in float32.

    As in LLaVA-1.5: the tower's last layer but one, without its class token, feeds a two-layer GELU projector.
    """
    ends = {"bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **_VISION},
        text_config={**_DECODER, "vocab_size": len(tokenizer), **ends},
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.update(do_sample=False, max_new_tokens=40, **ends)
    return model.float().eval()


def decoder(tokenizer: PreTrainedTokenizerFast, layers: int = LAYERS, seed: int = SEED) -> LlamaForCausalLM:
    """The decoder alone, as the text stages train it; random weights from `seed`, in float32."""
    config = llava(tokenizer, seed).config.text_config
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


def clip(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> CLIPModel:
    """The tower with its contrastive text head, as CLIP has it; random weights from `seed`, in float32."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "projection_dim": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(text_config=text, vision_config=dict(_VISION), projection_dim=64)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIPModel(config).float().eval()


def image_processor() -> CLIPImageProcessorPil:
    """CLIP's own preprocessing at the tower's size: shorter side resized, middle cropped, CLIP's mean and spread."""
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """The processor, which writes one `<image>` token per patch."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def clip_processor() -> CLIPProcessor:
    """The processor of the contrastive model; its tokenizer closes every text."""
    return CLIPProcessor(image_processor=image_processor(), tokenizer=closing_tokenizer(closing=True))
