"""Small models of the first kind: a projector in front of a causal decoder, with real processors."""

from collections.abc import Callable
from typing import Any

from tests.support.small import VOCAB, WIDTH, Maker, text_config
from tests.support.tokenizers import CHATML_TEMPLATE, VICUNA_TEMPLATE, llama_tokenizer, qwen_tokenizer
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

_SIDE, _PATCH = 28, 7  # the CLIP tower sees 4 x 4 patches
_PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]


def clip_tower() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=_SIDE,
        patch_size=_PATCH,
        projection_dim=32,
    )


def _llava(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = LlavaConfig(
        vision_config=clip_tower(),
        text_config=LlamaConfig(**text_config(processor, layers)),
        image_token_id=processor.image_token_id,
        image_seq_length=(_SIDE // _PATCH) ** 2,
    )
    return LlavaForConditionalGeneration(config)


def _llava_next(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = LlavaNextConfig(
        vision_config=clip_tower(),
        text_config=LlamaConfig(**text_config(processor, layers)),
        image_token_id=processor.image_token_id,
        image_grid_pinpoints=_PINPOINTS,
        image_seq_length=(_SIDE // _PATCH) ** 2,
    )
    return LlavaNextForConditionalGeneration(config)


def _qwen(config_class: type, model_class: type, vision: dict[str, Any]) -> Callable[..., PreTrainedModel]:
    def make(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
        ids = processor.tokenizer.convert_tokens_to_ids
        config = config_class(
            text_config=text_config(processor, layers)
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}},
            vision_config={"depth": 2, "num_heads": 4, "patch_size": 14, "spatial_merge_size": 2} | vision,
            image_token_id=processor.image_token_id,
            video_token_id=processor.video_token_id,
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
            tie_word_embeddings=False,
        )
        return model_class(config)

    return make


def llava_processor() -> ProcessorMixin:
    return LlavaProcessor(
        LlavaImageProcessorPil(size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}),
        llama_tokenizer(VOCAB - 4),
        **_llava_options(),
    )


def _llava_next_processor() -> ProcessorMixin:
    return LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": _SIDE},
            crop_size={"height": _SIDE, "width": _SIDE},
            image_grid_pinpoints=_PINPOINTS,
        ),
        llama_tokenizer(VOCAB - 4),
        **_llava_options(),
    )


def _llava_options() -> dict[str, Any]:
    return {
        "patch_size": _PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "chat_template": VICUNA_TEMPLATE,
    }


def _qwen_processor(processor_class: type) -> Callable[[], ProcessorMixin]:
    def make() -> ProcessorMixin:
        size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 20 * 28 * 28}
        return processor_class(
            Qwen2VLImageProcessorPil(size=size),
            qwen_tokenizer(VOCAB - 4),
            Qwen2VLVideoProcessor(size=size),
            chat_template=CHATML_TEMPLATE,
        )

    return make


PROJECTOR_MAKERS: dict[str, Maker] = {
    "llava": (_llava, llava_processor),
    "llava_next": (_llava_next, _llava_next_processor),
    "qwen2_vl": (
        _qwen(Qwen2VLConfig, Qwen2VLForConditionalGeneration, {"embed_dim": 32, "mlp_ratio": 2, "hidden_size": WIDTH}),
        _qwen_processor(Qwen2VLProcessor),
    ),
    "qwen2_5_vl": (
        _qwen(
            Qwen2_5_VLConfig,
            Qwen2_5_VLForConditionalGeneration,
            {
                "hidden_size": 32,
                "intermediate_size": 64,
                "out_hidden_size": WIDTH,
                "window_size": 56,
                "fullatt_block_indexes": [1],
            },
        ),
        _qwen_processor(Qwen2_5_VLProcessor),
    ),
}
