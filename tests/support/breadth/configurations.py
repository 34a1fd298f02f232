"""Any configuration of transformers made small by the names of its entries, whatever the type.

All widths become one width, so that what must fit together still does; every kind of layer stays.
"""

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from transformers import CONFIG_MAPPING, PreTrainedConfig

WIDTH: Final = 64
HEADS: Final = 4
HEAD: Final = 16
LAYERS: Final = 4
TOWER_LAYERS: Final = 3
CONTEXT: Final = 4096
GRID: Final = 8
"""Patches along a side of the square that a tower sees."""

_EXACT: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ("num_attention_heads", "num_heads", "n_head", "attention_heads", "encoder_attention_heads"), HEADS
    ),
    **dict.fromkeys(("decoder_attention_heads", "linear_num_value_heads", "num_query_heads"), HEADS),
    **dict.fromkeys(("cross_num_attention_heads", "resampler_n_heads", "mamba_n_heads", "mamba_num_heads"), HEADS),
    **dict.fromkeys(("linear_num_key_heads", "swa_num_attention_heads", "num_global_heads"), 2),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads"), 2),
    **dict.fromkeys(("head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "linear_key_head_dim"), HEAD),
    **dict.fromkeys(("linear_value_head_dim", "index_head_dim", "mamba_head_dim", "mamba_d_head", "d_kv"), HEAD),
    **dict.fromkeys(("global_head_dim", "swa_head_dim", "attention_head_dim", "kv_channels", "swa_v_head_dim"), HEAD),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "moe_num_experts_per_tok"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_groups", "mamba_n_groups", "num_expert_groups"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_intermediate_size"), 32),
    **dict.fromkeys(("kv_lora_rank", "o_lora_rank"), 16),
    "q_lora_rank": 32,
    "n_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "sliding_window": 24,
    "attention_chunk_size": 64,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
    "ssm_state_size": 8,
    "mamba_d_state": 8,
    # Fewer tokens than a prompt has, by so many heads that no two of them come out alike (0, where none is above it).
    "index_topk": 32,
    "index_n_heads": 16,
    "max_position_embeddings": CONTEXT,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 1,
    "vocab_size_per_layer_input": None,  # as the vocabulary
    "altup_num_inputs": 2,
    "laurel_rank": 16,
    "first_k_dense_replace": 1,
    "decoder_sparse_step": 1,
    "depth": TOWER_LAYERS,
    "num_query_tokens": 9,
    "num_queries": 9,
    "latent_query_num": 16,
    "linear_head_dim": HEAD,
    "linear_num_heads": HEADS,
    "hc_lowrank": 16,
    "output_channels": WIDTH,
    "max_source_positions": 400,
    "resampler_n_latents": 16,
    "resampler_depth": 1,
}
"""Entries that have one small value in every configuration."""
_LAYERS: Final = re.compile(
    r"(conf_)?(num|n)_(hidden_)?layers?|(en|de)coder_layers|(en|de)coder_num_layers|num_blocks|n_layer|layers"
)
_WIDTHS: Final = re.compile(
    r"(.*_)?hidden_size|(.*_)?d_model|n_embd|(.*_)?embed_dim|width|(.*_)?projection_dim|hidden_dim|(.*_)?output_dim|(.*_)?proj_dims"
    r"|(.*_)?input_dim|(.*_)?hidden_dim|text_dim|(.*_)?embedding_size|projector_dim|mm_hidden_size|latent_dim|(.*_)?n_embed"
)
_INNER: Final = re.compile(
    r"(.*_)?intermediate_size(_mlp)?|(.*_)?ffn_dim|(.*_)?ffn_hidden_size|n_inner|d_ff|(.*_)?mlp_dim"
)
_TOKENS: Final = frozenset(
    {"mm_tokens_per_image", "vision_soft_tokens_per_image", "image_seq_length", "num_image_tokens", "image_seq_len"}
)
_KEPT: Final = frozenset(
    {"num_channels", "in_channels", "patch_size", "max_window_layers", "num_mel_bins", "position_embedding_size"}
)


def default_configuration(model_type: str, **parts: Any) -> PreTrainedConfig:
    """As the class makes it of nothing but `parts`."""
    return CONFIG_MAPPING[model_type](**parts)


def small_configuration(
    config: PreTrainedConfig, vocabulary: int, layers: int = LAYERS, wanted: Mapping[str, Any] | None = None
) -> PreTrainedConfig:
    """`config` with small entries. `vocabulary`: how many tokens. `wanted`: entries by their path (`text_config.x`)."""
    found = _small(config, vocabulary, layers, "")
    for path, value in (wanted or {}).items():
        set_entry(found, path, value)
    return type(config)(**found)


def set_entry(held: dict[str, Any], path: str, value: Any) -> None:
    """Put `value` at `path` (`a.b.c`) of nested dicts."""
    *parts, name = path.split(".")
    for part in parts:
        held = held.setdefault(part, {})
    held[name] = value


def _small(config: PreTrainedConfig, vocabulary: int, layers: int, path: str) -> dict[str, Any]:
    given = config.to_dict()
    found: dict[str, Any] = {}
    tower = is_tower(path)
    depth = given.get("num_hidden_layers", given.get("num_layers", given.get("depth", given.get("encoder_layers"))))
    shallow = TOWER_LAYERS if tower else layers
    for name, value in given.items():
        # What differs from layer to layer is made anew from kinds of layers.
        own = getattr(config, name, value) if isinstance(value, dict) else value
        if name in ("per_layer_config", "mtp_per_layer_config"):
            continue
        if isinstance(own, PreTrainedConfig):
            inner = _small(own, vocabulary, layers, f"{path}.{name}")
            found[name] = inner | ({"model_type": own.model_type} if own.model_type else {})
        elif name.startswith("_") or name in (
            "model_type",
            "transformers_version",
            "architectures",
            "dtype",
            "torch_dtype",
        ):
            continue
        else:
            found[name] = small_entry(name, value, depth, shallow, tower, vocabulary, given)
    rotary = found.get("rope_parameters")
    if _has_sections(config) and isinstance(rotary, dict) and "rope_type" in rotary and not tower:
        # The code has sections of its own where none are named, for heads of another width.
        rotary |= {"mrope_section": sections(3), "partial_rotary_factor": 1.0}
    return {
        key: value
        for key, value in found.items()
        if not (value is None and given.get(key) is not None and key != "vocab_size_per_layer_input")
    }


def _has_sections(config: PreTrainedConfig) -> bool:
    """Whether the model's code cuts rotary positions into sections."""
    module = type(config).__module__.replace("configuration_", "modeling_")
    try:
        source = inspect.getsource(importlib.import_module(module))
    except ImportError:
        return False
    return "mrope_section" in source


def is_tower(path: str) -> bool:
    """Whether a part of a configuration is of what perceives."""
    return bool(
        re.search(r"vision|audio|image|vq|qformer|perceiver|speech|encoder_config|visual|resampler|vit|sam", path)
    )


def small_entry(
    name: str, value: Any, depth: Any, shallow: int, tower: bool, vocabulary: int, others: Mapping[str, Any]
) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str) or name in _KEPT:
        return value
    if name in ("rope_parameters", "rope_scaling"):
        return _small_rotary(value)
    if isinstance(value, int) and name == "vocab_size":
        return vocabulary
    if isinstance(value, list | tuple) and value:
        return _small_list(name, list(value), depth, shallow, others)
    if not isinstance(value, int | float):
        return value
    if name == "partial_rotary_factor" or name.endswith("_factor"):
        return value
    if name in ("num_key_value_heads", "num_kv_heads") and value in (1, others.get("num_attention_heads")):
        return 1 if value == 1 else HEADS
    if name == "patch_embed_hidden_size":
        return value
    if name == "image_size":
        return GRID * int(others.get("patch_size") or 14)
    if name in _TOKENS:
        return (GRID // 2) ** 2
    if name in ("num_patches", "num_positions") and tower:
        return GRID**2
    if name == "blank_token_id":
        # A class of a head that has as many of them as there are tokens.
        return min(value, vocabulary - 1)
    if name.endswith("_groups") and value == others.get("hidden_size"):
        return WIDTH
    if name in ("num_experts_per_tok", "moe_k", "moe_topk"):
        return min(value, 2)
    if name == "max_position_embeddings" and tower:
        return min(value, 2048)
    if name in _EXACT:
        replaced = _EXACT[name]
        if name == "depth":
            return shallow
        return vocabulary if replaced is None else (min(value, replaced) if value > 0 else value)
    if _LAYERS.fullmatch(name):
        return min(value, shallow)
    if _INNER.fullmatch(name):
        return 2 * WIDTH
    if _WIDTHS.fullmatch(name):
        return WIDTH if value > 8 else value
    if isinstance(value, int) and value > 256 and name.endswith(("_dim", "_channels", "_channel", "_features")):
        return WIDTH
    return value


def _small_list(name: str, value: list[Any], depth: Any, shallow: int, others: Mapping[str, Any]) -> Any:
    if name == "image_size" and all(isinstance(one, int) for one in value):
        return (
            [GRID * int(others.get("patch_size") or 14)] * len(value)
            if not isinstance(others.get("patch_size"), list)
            else value
        )
    if isinstance(depth, int) and len(value) == depth and not isinstance(value[0], dict):
        return kinds_kept(value, shallow)
    if all(isinstance(one, int) and not isinstance(one, bool) for one in value) and re.search(
        r"layer|index|indices|block", name
    ):
        if "mrope" in name or "section" in name:
            return sections(len(value))
        kept = sorted({min(one, shallow - 1) if one >= 0 else max(one, -shallow) for one in value})
        return kept if len(kept) < len(value) else value
    if "channels" in name and all(isinstance(one, int) for one in value):
        return [min(one, WIDTH) for one in value]
    if "section" in name and all(isinstance(one, int) for one in value):
        return sections(len(value))
    return value


def kinds_kept(value: Sequence[Any], count: int) -> list[Any]:
    """`count` of `value`, all kinds in turn."""
    kinds = list(dict.fromkeys(value))
    return [kinds[place % len(kinds)] for place in range(count)]


def sections(count: int) -> list[int]:
    """Half a head's width in so many parts."""
    even = HEAD // 2 // count
    return [HEAD // 2 - even * (count - 1), *[even] * (count - 1)]


def _small_rotary(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if any(isinstance(one, dict) for one in value.values()):
        return {key: _small_rotary(one) for key, one in value.items()}
    found = {
        key: one for key, one in value.items() if key in ("rope_theta", "partial_rotary_factor", "mrope_interleaved")
    }
    for key in value:
        if "section" in key and isinstance(value[key], list):
            found[key] = sections(len(value[key]))
            if "partial_rotary_factor" in found:
                found["partial_rotary_factor"] = 1.0
    kept = value.get("rope_type", "default")
    return found | {"rope_type": kept if kept in ("default", "proportional", "mrope", "xdrope") else "default"}
