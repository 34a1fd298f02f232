"""What no rule makes small, by type: entries of configurations and options of processors' parts.

`config`: entries by path. `parts`: options of parts by path. `processor`: the class of the published checkpoints, where
transformers maps none. `placeholder`: what a template writes for an image, where that is not `image_token`. `named`:
tokens of the tokenizer by name (None: it has none of that name). `options`: of the processor itself.
"""

from importlib.util import find_spec
from typing import Any, Final

_SIDE: Final = 112
_SQUARE: Final = {"height": _SIDE, "width": _SIDE}
_KINDS: Final = ["dense", "sparse", "dense", "sparse"]

_WINDOWS: Final = ["full_attention", "sliding_attention"] * 2

_DEFAULT_ROTARY: Final = {"rope_type": "default", "rope_theta": 10000.0}

_QWEN_OMNI: Final = {
    "vision_start_token_id": "<|vision_bos|>",
    "vision_end_token_id": "<|vision_eos|>",
    "audio_start_token_id": "<|audio_bos|>",
    "audio_end_token_id": "<|audio_eos|>",
}

# Positions are counted from the marks around an input.
_QWEN_OMNI_MARKED: Final = {
    "image": "<|vision_bos|><|image|><|vision_eos|>",
    "video": "<|vision_bos|><|video|><|vision_eos|>",
    "audio": "<|audio_bos|><|audio|><|audio_eos|>",
}

_FAST: Final = {"height": 384, "width": 384}
_FASTVIT: Final = {
    "model_type": "timm_wrapper",
    "architecture": "fastvit_mci3",
    "do_pooling": True,
    "global_pool": "avg",
    "hidden_size": 64,
    "model_args": {"inference_mode": True, "layers": (1, 1, 1, 1, 1), "embed_dims": (16, 16, 32, 32, 32)},
}
_PERCEPTION: Final = {
    "model_type": "timm_wrapper",
    "architecture": "vit_pe_core_large_patch14_336",
    "do_pooling": False,
    "num_classes": 0,
    "global_pool": "",
    "model_args": {
        "embed_dim": 64,
        "img_size": (112, 112),
        "depth": 3,
        "num_heads": 4,
        "global_pool": "",
        "use_post_transformer_norm": False,
        "init_values": 0.1,
        "ref_feat_shape": (8, 8),
    },
}

_PHI4: Final = {"image_size": 256, "crop_size": 256, "patch_size": 8}

WANTED: Final[dict[str, dict[str, Any]]] = {
    "aria": {
        # Its processor knows two sizes: 14 x 14 patches of the larger one.
        "config": {
            "vision_config.image_size": 980,
            "vision_config.patch_size": 70,
            "projector_patch_to_query_dict": {49: 9, 196: 16},
        },
        "options": {"size_conversion": {490: 9, 980: 16}},
    },
    "cohere_compass": {
        "config": {
            "text_config.layer_types": _WINDOWS,
            "text_config.rope_parameters": {
                kind: _DEFAULT_ROTARY | {"mrope_section": [4, 2, 2]} for kind in dict.fromkeys(_WINDOWS)
            },
        }
    },
    "cosmos3_omni": {"processor": "Qwen3VLProcessor"},
    # As many patches as it has queries for: 12 x 12 of a tile and 16 x 16 of a view of all, eight pixels wide each.
    "deepseek_ocr2": {
        "config": {
            "text_config.mlp_layer_types": _KINDS,
            "text_config.num_experts_per_tok": 2,
            "vision_config.sam_config.patch_size": 2,
            "vision_config.sam_config.image_size": 128,
        },
        "parts": {"image_processor.size": {"height": 128, "width": 128}, "image_processor.tile_size": 96},
        "options": {"patch_size": 2},
    },
    "deepseek_vl_hybrid": {"parts": {"image_processor.high_res_size": {"height": 128, "width": 128}}},
    "diffusion_gemma": {
        "default": {"vision_config": {}},
        "config": {
            "text_config.num_experts": 4,
            "text_config.top_k_experts": 2,
            "text_config.moe_intermediate_size": 32,
        },
    },
    "dots3_note": {
        "config": {"audio_config.adapter_input_size": 64, "audio_config.conv_output_size": 1024}
        | {f"text_config.swa_num_{part}_heads": 4 for part in ("attention", "key_value")}
        | {f"text_config.swa_{name}_head_dim": 16 for name in ("qk_nope", "qk_rope", "v")}
        | {"text_config.swa_q_lora_rank": 32, "text_config.swa_kv_lora_rank": 16, "text_config.swa_head_dim": 32},
        "parts": {"image_processor.temporal_patch_size": 1, "video_processor.temporal_patch_size": 1},
    },
    "emu3": {
        "named": {"image_token": "<image>"},
        "parts": {"image_processor.min_pixels": 64 * 64, "image_processor.max_pixels": 64 * 64},
        "tokens": [f"<|visual token {code:06d}|>" for code in range(16)]
        + ["<|extra_200|>", "<|extra_201|>", "<|extra_203|>"],
        "config": {
            "vq_config.codebook_size": 16,
            "vq_config.base_channels": 64,
            "vq_config.channel_multiplier": [1, 1, 1, 1],
            "vq_config.num_res_blocks": 1,
            "vq_config.attn_resolutions": [],
        },
    },
    "ernie4_5_vl_moe": {
        "config": {"text_config.rope_parameters": _DEFAULT_ROTARY | {"mrope_section": [3, 3, 2]}},
        "parts": {"video_processor.draw_on_frames": False},
    },
    # Towers of timm by their own options.
    "fast_vlm": {
        "processor": "LlavaProcessor",
        "default": {"vision_config": _FASTVIT},
        "parts": {"image_processor.size": {"shortest_edge": 384}, "image_processor.crop_size": _FAST},
        "options": {"patch_size": 64},
    },
    "fun_asr_nano": {"config": {"adaptor_config.intermediate_size": 16}},
    # Its sound keeps 1024 numbers of a frame after two convolutions, whatever its width.
    "gemma4": {
        "default": {"vision_config": {}, "audio_config": {}},
        "config": {"audio_config.subsampling_conv_channels": [128, 32]},
        "parts": {"image_processor.max_soft_tokens": 70},
    },
    "gemma3n": {
        "config": {
            "vision_config.architecture": "mobilenetv5_base",
            "vision_config.model_args": {"encoder": True, "channel_multiplier": 0.05, "msfa_output_resolution": 4},
            "vision_config.hidden_size": 2048,
            "text_config.intermediate_size": [128] * 4,
            # The last numbers of its vocabulary stand for what is seen, then for what is heard.
            "vision_config.vocab_offset": 392,
            "audio_config.vocab_offset": 396,
        },
        "parts": {"image_processor.size": {"height": 128, "width": 128}},
        "options": {"image_seq_length": 16},
    },
    "gemma4_unified": {
        "default": {"vision_config": {}, "audio_config": {}},
        "config": {"audio_config.audio_embed_dim": 640},
    },
    "glm_ocr": {"processor": "Glm46VProcessor"},
    "glmga": {"processor": "Glm46VProcessor"},
    **{kind: {"config": {"encoder_config.input_dim": 160}} for kind in ("granite_speech", "granite_speech_plus")},
    "got_ocr2": {"placeholder": {"image": "<imgpad>"}},
    "granite4_vision": {
        "config": {
            "deepstack_layer_map": [[0, 0], [-1, 1]],
            "downsample_rate": "1/2",
            "spatial_target_layers": [0, 1, 2, 3],
        }
    },
    "hunyuan_vl": {
        "config": {"text_config.head_dim": 16},
        "placeholder": {"image": "<|image_start|><|image|><|image_end|>"},
    },
    "inkling2": {"parts": {"image_processor.size": {"height": 40, "width": 40}}},
    "inkling2_loop": {"parts": {"image_processor.size": {"height": 40, "width": 40}}},
    "inkling_mm_model": {"parts": {"image_processor.size": {"height": 40, "width": 40}}},
    "instructblipvideo": {"named": {"video_token": None}, "placeholder": {"video": ""}},
    "kosmos-2": {"processor": "Kosmos2Processor"},
    "kosmos-2.5": {"processor": "Kosmos2_5Processor", "options": {"num_image_tokens": 16}},
    # Published ones have an indexer in all layers but the first three: of each 8 tokens' keys, the best 4 blocks.
    "minimax_m3_vl": {
        "config": {
            "text_config.layer_types": ["full_attention", *["minimax_m3_sparse"] * 3],
            "text_config.index_block_size": 8,
            "text_config.index_topk_blocks": 4,
            "text_config.mlp_layer_types": _KINDS,
        }
    },
    "molmo2": {
        "ids": {"image_patch_id": "<im_patch>"},
        "config": {"adapter_config.vision_feature_layer": [2, 1], "vision_config.num_position_embeddings": 64},
        "parts": {"image_processor.overlap_margins": [2, 2], "image_processor.max_crops": 4},
    },
    "muse_glimmer": {"config": {"out_hidden_size": 256}},
    # Its sound goes through three of four stages: 16 x 6 x 5 samples to a token.
    "muse_spark": {"config": {"out_hidden_size": 256}, "parts": {"feature_extractor.samples_per_token": 480}},
    "nemotron_h_omni": {
        "default": {"audio_config": {"projection_hidden_size": 64, "projection_bias": False}},
        "parts": {"video_processor.norm_mean": [0.5] * 3, "video_processor.norm_std": [0.5] * 3},
        "classes": {"feature_extractor": "ParakeetFeatureExtractor"},
    },
    "ovis2": {"ids": {"image_token_id": "<IMG_ATOM>"}},
    "qianfan_ocr": {"placeholder": {"image": "<image>"}},
    # Its processor counts 256 tokens of a view of all: 32 x 32 patches, merged by two.
    "perception_lm": {
        "default": {"vision_config": _PERCEPTION},
        "parts": {"image_processor.tile_size": 112, "video_processor.size": _SQUARE},
        "options": {"patch_size": 14, "pooling_ratio": 1},
    },
    "phi4_multimodal": {
        "config": {f"vision_config.{name}": value for name, value in _PHI4.items()},
        "parts": {"image_processor.dynamic_hd": 4},
    },
    "pp_chart2table": {
        "tokens": ["<img>", "<imgpad>", "</img>"],
        "placeholder": {"image": "<img><imgpad><imgpad><imgpad><imgpad></img>"},
        "ids": {"image_token_id": "<imgpad>"},
    },
    "qwen3_omni_moe": {"ids": _QWEN_OMNI, "placeholder": _QWEN_OMNI_MARKED},
    "qwen3_omni_moe_thinker": {
        "processor": "Qwen3OmniMoeProcessor",
        "ids": _QWEN_OMNI,
        "placeholder": _QWEN_OMNI_MARKED,
    },
    "shieldgemma2": {
        "ids": {"image_token_index": "<|image|>"},
        "options": {"image_seq_length": 16},
        "placeholder": {"image": "<|boi|>"},
    },
    "qwen4_exp": {
        "config": {
            "text_config.indexer_n_heads": 4,
            "text_config.indexer_kv_heads": 1,
            "text_config.indexer_head_dim": 16,
            "text_config.indexer_budget": 64,
            "text_config.indexer_compress_ratio": 4,
        }
    },
    "vibevoice_asr": {
        "config": {
            f"{part}_tokenizer_encoder_config.{name}": value
            for part in ("acoustic", "semantic")
            for name, value in (("num_filters", 2), ("depths", [1] * 7))
        }
    },
    "vipllava": {"options": {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}},
    "video_llava": {"options": {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}},
    "step3p7": {"config": {"text_config.sliding_window": 24, "text_config.layer_types": _WINDOWS}},
}

UNTRIED: Final[dict[str, str]] = {
    "fuyu": "its processor takes away the first of an image's tokens, because its published tokenizer puts a mark of a "
    "space before them; a tokenizer made here puts none there, so that a token of the image goes missing",
}
"""Types of which no small model is made, with the reason."""

PACKAGES: Final[dict[str, str]] = {
    **dict.fromkeys(("fast_vlm", "gemma3n", "perception_lm"), "timm"),
    **dict.fromkeys(("fun_asr_nano", "granite_speech", "granite_speech_plus"), "torchaudio"),
    "voxtral_realtime": "mistral_common",
}
"""What transformers needs besides for a type, and the tests do not: `make types` installs it for itself."""


def lacking(model_type: str) -> str:
    """The package that a type needs and that is not there; empty where none is missing."""
    needed = PACKAGES.get(model_type, "")
    return needed if needed and find_spec(needed) is None else ""
