"""What no rule makes small, by type: entries of configurations and options of processors' parts.

`config`: entries by path. `parts`: options of parts by path. `processor`: the class of the published checkpoints, where
transformers maps none. `placeholder`: what a template writes for an image, where that is not `image_token`.
"""

from typing import Any, Final

_SIDE: Final = 112
_SQUARE: Final = {"height": _SIDE, "width": _SIDE}
_KINDS: Final = ["dense", "sparse", "dense", "sparse"]

WANTED: Final[dict[str, dict[str, Any]]] = {
    "aria": {
        "config": {"projector_patch_to_query_dict": {64: 16}},
        "parts": {"image_processor.max_image_size": _SIDE, "image_processor.min_image_size": 28},
    },
    "deepseek_ocr2": {"config": {"text_config.mlp_layer_types": _KINDS}},
    "granite4_vision": {
        "config": {
            "deepstack_layer_map": [[0, 0], [-1, 1]],
            "downsample_rate": "1/2",
            "spatial_target_layers": [0, 1, 2, 3],
        }
    },
    "hunyuan_vl": {"config": {"text_config.head_dim": 16}},
    "qwen4_exp": {
        "config": {
            "text_config.indexer_n_heads": 4,
            "text_config.indexer_kv_heads": 1,
            "text_config.indexer_head_dim": 16,
            "text_config.indexer_budget": 64,
            "text_config.indexer_compress_ratio": 4,
        }
    },
    "got_ocr2": {"placeholder": {"image": "<image>"}},
    "qianfan_ocr": {"placeholder": {"image": "<image>"}},
    "cosmos3_omni": {"processor": "Qwen3VLProcessor"},
    "glm_ocr": {"processor": "Glm46VProcessor"},
    "glmga": {"processor": "Glm46VProcessor"},
    "kosmos-2": {"processor": "Kosmos2Processor"},
    "kosmos-2.5": {"processor": "Kosmos2_5Processor"},
    "qwen3_omni_moe_thinker": {"processor": "Qwen3OmniMoeProcessor"},
    "fast_vlm": {"processor": "LlavaProcessor"},
    "ernie4_5_vl_moe": {"parts": {"video_processor.draw_on_frames": False}},
}
