"""Small Qwen models after Qwen2.5-VL: DeepStack, linear attention, and all senses at once, with real processors."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.factories_senses import RATE
from tests.support.small import VOCAB, WIDTH, Maker, text_config
from tests.support.tokenizers import CHATML_TEMPLATE, named_tokenizer, qwen_tokenizer
from transformers import (
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    WhisperFeatureExtractor,
)

from chiasm.models.families.qwen2_5_omni import Qwen25Omni

_SIDE = 14
_TOKEN = (2 * _SIDE) ** 2  # pixels of a token
_SIZE = {"shortest_edge": 4 * _TOKEN, "longest_edge": 20 * _TOKEN}
_ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}
_BINS, _SECONDS = 8, 2


def _vision(**options: Any) -> dict[str, Any]:
    return {
        "depth": 3,
        "num_heads": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "out_hidden_size": WIDTH,
        "patch_size": _SIDE,
        "spatial_merge_size": 2,
    } | options


def _qwen3(
    config_class: type, model_class: type, text: Callable[[int], Mapping[str, Any]], vision: Mapping[str, Any]
) -> Callable[[ProcessorMixin, int], PreTrainedModel]:
    def make(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
        config = config_class(
            text_config={**text_config(processor, layers), "head_dim": 12, **text(layers)},
            vision_config=_vision(num_position_embeddings=36, **vision),
            image_token_id=processor.image_token_id,
            video_token_id=processor.video_token_id,
            vision_start_token_id=processor.vision_start_token_id,
            vision_end_token_id=processor.vision_end_token_id,
            tie_word_embeddings=False,
        )
        return model_class(config)

    return make


def _dense(layers: int) -> dict[str, Any]:
    return {"rope_parameters": _ROTARY | {"mrope_interleaved": True}}


_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24}


def _hybrid(layers: int) -> dict[str, Any]:
    return {
        "rope_parameters": _ROTARY | {"mrope_interleaved": True, "partial_rotary_factor": 1.0},
        # One that mixes first, and one in between.
        "layer_types": [("linear_attention", "full_attention")[layer % 2] for layer in range(layers)],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }


def _sparse(make: Callable[[ProcessorMixin, int], PreTrainedModel]) -> Callable[..., PreTrainedModel]:
    def made(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
        model = make(processor, layers)
        model.set_experts_implementation("eager")  # the default kernel knows no float64
        return model

    return made


def _qwen3_processor() -> ProcessorMixin:
    return Qwen3VLProcessor(
        Qwen2VLImageProcessorPil(size=_SIZE, patch_size=_SIDE),
        qwen_tokenizer(VOCAB - 4),
        # Its limits are for all frames together.
        Qwen3VLVideoProcessor(size={"shortest_edge": 8 * _TOKEN, "longest_edge": 80 * _TOKEN}, patch_size=_SIDE),
        chat_template=CHATML_TEMPLATE,
    )


def _qwen2_5_omni(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    ids = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2_5OmniThinkerConfig(
        text_config={**text_config(processor, layers), "rope_parameters": _ROTARY},
        vision_config=_vision(window_size=56, fullatt_block_indexes=[1]),
        audio_config={
            "num_mel_bins": _BINS,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "d_model": 32,
            "max_source_positions": 50,
            "n_window": 20,
            "output_dim": WIDTH,
        },
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        audio_token_index=processor.audio_token_id,
        vision_start_token_id=ids("<|vision_bos|>"),
        vision_end_token_id=ids("<|vision_eos|>"),
        audio_start_token_id=ids("<|audio_bos|>"),
        audio_end_token_id=ids("<|audio_eos|>"),
    )
    return Qwen2_5OmniThinkerForConditionalGeneration(config)


def _qwen2_5_omni_processor() -> ProcessorMixin:
    named = {f"{kind}_token": f"<|{kind.upper()}|>" for kind in ("image", "audio", "video")}
    named |= {f"{kind}_{end}_token": f"<|{kind}_{end}|>" for kind in ("vision", "audio") for end in ("bos", "eos")}
    return Qwen2_5OmniProcessor(
        Qwen2VLImageProcessorPil(size=_SIZE),
        Qwen2VLVideoProcessor(size=_SIZE),
        WhisperFeatureExtractor(feature_size=_BINS, sampling_rate=RATE, chunk_length=_SECONDS, hop_length=RATE // 100),
        named_tokenizer(VOCAB - 4, named, ("<|im_start|>", "<|im_end|>")),
        chat_template=Qwen25Omni.fallback_template,
    )


_STACKED = {"deepstack_visual_indexes": [0, 1]}
QWEN_MAKERS: dict[str, Maker] = {
    "qwen3_vl": (_qwen3(Qwen3VLConfig, Qwen3VLForConditionalGeneration, _dense, _STACKED), _qwen3_processor),
    "qwen3_5": (_qwen3(Qwen3_5Config, Qwen3_5ForConditionalGeneration, _hybrid, {}), _qwen3_processor),
    "qwen2_5_omni": (_qwen2_5_omni, _qwen2_5_omni_processor),
}
SPARSE_MAKERS: dict[str, Maker] = {
    "qwen3_vl_moe": (
        _sparse(
            _qwen3(
                Qwen3VLMoeConfig,
                Qwen3VLMoeForConditionalGeneration,
                lambda layers: _dense(layers) | _EXPERTS,
                _STACKED,
            )
        ),
        _qwen3_processor,
    ),
    "qwen3_5_moe": (
        _sparse(
            _qwen3(
                Qwen3_5MoeConfig,
                Qwen3_5MoeForConditionalGeneration,
                lambda layers: _hybrid(layers) | _EXPERTS | {"shared_expert_intermediate_size": 24},
                {},
            )
        ),
        _qwen3_processor,
    ),
}
"""The same families with experts, by their type of model."""
