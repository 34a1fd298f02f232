"""Small LLaVA models whose decoder is of another kind: every one that transformers' classes take there."""

from typing import Any, Final

import torch
from tests.support.factories import enlarge
from tests.support.factories_projectors import clip_tower, llava_processor
from tests.support.small import text_config
from transformers import (
    CONFIG_MAPPING,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    ProcessorMixin,
)

_ALL_HEADS: Final = {"num_key_value_heads": 4}
_EXPERTS: Final = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_MLA: Final = {
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
_HEAD: Final = {"head_dim": 12}
_ONE: Final = {"n_inner": 96}

DECODERS: Final[dict[str, dict[str, Any]]] = {
    "apertus": {},
    "bamba": {
        "mamba_n_heads": 4,
        "mamba_d_head": 24,
        "mamba_d_state": 8,
        "mamba_chunk_size": 8,
        "attn_layer_indices": [1, 3],
    },
    "biogpt": {},
    "bloom": {"n_head": 4, "n_layer": 4},
    "codegen": _ONE | {"rotary_dim": 4},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"sliding_window": 24, "head_dim": 12},
    "deepseek_v3": _MLA | _ALL_HEADS,
    "ernie4_5": _HEAD,
    "exaone4": {"sliding_window": 24},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 96},
    "falcon alibi": {"alibi": True, "num_kv_heads": 4, "ffn_hidden_size": 96},
    "falcon_h1": {},
    "gemma": _HEAD,
    "gemma2": _HEAD | {"query_pre_attn_scalar": 12, "sliding_window": 24},
    "gemma3_text": _HEAD | {"query_pre_attn_scalar": 12, "sliding_window": 24},
    "glm": _HEAD,
    "glm4": _HEAD,
    "gpt2": _ONE,
    "gpt_bigcode": _ONE,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 24, "num_layers": 4, "num_heads": 4},
    "gpt_neox": {},
    "gpt_oss": _HEAD | _EXPERTS | {"sliding_window": 24},
    "gptj": _ONE | {"rotary_dim": 4},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5},
    "granitemoe": _EXPERTS | {"logits_scaling": 4.0},
    "helium": _HEAD,
    "lfm2": {"full_attn_idxs": [1, 3]},
    "llama": {},
    "mistral": {"sliding_window": 24},
    "mixtral": _EXPERTS,
    "mpt": {"n_layers": 4, "n_heads": 4, "d_model": 48, "expansion_ratio": 2, "max_seq_len": 1024},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmoe": _EXPERTS,
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 48},
    "persimmon": {},
    "phi": {},
    "phi3": {"sliding_window": 24},
    "phimoe": _EXPERTS,
    "qwen2": {},
    "qwen2_moe": _EXPERTS | {"shared_expert_intermediate_size": 32},
    "qwen3": _HEAD,
    "qwen3_moe": _EXPERTS | _HEAD,
    "seed_oss": _HEAD,
    "smollm3": {},
    "stablelm": {"partial_rotary_factor": 0.5},
    "starcoder2": {"sliding_window": 24},
    "xglm": {"ffn_dim": 96, "num_layers": 4, "attention_heads": 4, "d_model": 48},
}
"""The kinds of decoder, and what their configurations want besides sizes."""


def llava_with(
    decoder: str, dtype: torch.dtype = torch.float32, layers: int = 4
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """LLaVA's tower and projector before a `decoder`, in eval mode with the attention that its class prefers."""
    processor = llava_processor()
    text = CONFIG_MAPPING[decoder.partition(" ")[0]](**(text_config(processor, layers) | DECODERS[decoder]))
    config = LlavaConfig(
        vision_config=clip_tower(), text_config=text, image_token_id=processor.image_token_id, image_seq_length=16
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
        enlarge(model)
        _enlarge_norms(model)
    if dtype == torch.float64:
        # Others refuse doubles.
        model.set_experts_implementation("eager")
    return model.to(dtype).eval(), processor


@torch.no_grad()
def _enlarge_norms(model: PreTrainedModel) -> None:
    """Norms about 1 under whatever name: the first decoders call them `ln_1`."""
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.normal_(1.0, 0.1)
