"""Small models that see tiles or any shape through pixel shuffle or a merger, with real processors."""

from collections.abc import Callable
from typing import Any

from tests.support.small import PATCH, SIDE, SQUARE, VOCAB, WIDTH, Maker, text_config, turns
from tests.support.tokenizers import named_tokenizer
from transformers import (
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessorPil,
    PixtralProcessor,
    PreTrainedModel,
    ProcessorMixin,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SIZES = {"size": {"longest_edge": 3 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
_UTTERANCES = turns("", "<end_of_utterance>", "<image>", "assistant:").replace(
    "part['type'] == 'image'", "part['type'] != 'text'"
)


def _idefics(config_class: type, model_class: type) -> Callable[[ProcessorMixin, int], PreTrainedModel]:
    def make(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
        config = config_class(
            vision_config=_TOWER | {"image_size": SIDE, "patch_size": PATCH},
            text_config={"model_type": "llama", **text_config(processor, layers)},
            image_token_id=processor.image_token_id,
            scale_factor=2,
        )
        return model_class(config)

    return make


def _idefics_tokenizer(**named: str) -> Any:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    marks = ("<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>", *named.values())
    return named_tokenizer(VOCAB - 4, {}, (*tiles, *marks), first=True)


def _idefics3_processor() -> ProcessorMixin:
    return Idefics3Processor(
        Idefics3ImageProcessorPil(**_SIZES), _idefics_tokenizer(), image_seq_len=4, chat_template=_UTTERANCES
    )


def _smolvlm_processor() -> ProcessorMixin:
    return SmolVLMProcessor(
        SmolVLMImageProcessorPil(**_SIZES),
        _idefics_tokenizer(video_token="<video>"),
        SmolVLMVideoProcessor(**_SIZES),
        image_seq_len=4,
        chat_template=_UTTERANCES.replace("'<image>'", "'<' + part['type'] + '>'"),
    )


def _internvl(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = InternVLConfig(
        vision_config=_TOWER | {"image_size": SIDE, "patch_size": PATCH},
        text_config={"model_type": "qwen2", **text_config(processor, layers)},
        image_token_id=processor.image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config)


def _internvl_processor() -> ProcessorMixin:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    media = "('<IMG_CONTEXT>' if part['type'] == 'image' else '<video>') + '\\n'"
    template = turns("<|im_start|>", "<|im_end|>", "<image>", "assistant")
    return InternVLProcessor(
        GotOcr2ImageProcessorPil(size=SQUARE, max_patches=6),
        named_tokenizer(VOCAB - 4, named, ("<|im_start|>", "<|im_end|>")),
        InternVLVideoProcessor(size=SQUARE),
        image_seq_length=4,
        chat_template=template.replace("== 'image'", "!= 'text'").replace("'<image>'", media),
    )


_PIXTRAL = _TOWER | {"model_type": "pixtral", "image_size": 4 * SIDE, "patch_size": PATCH, "head_dim": 8}


def _mistral3(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = Mistral3Config(
        vision_config=_PIXTRAL,
        text_config={"model_type": "mistral", "head_dim": 12, "sliding_window": None, **text_config(processor, layers)},
        image_token_index=processor.image_token_id,
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    return Mistral3ForConditionalGeneration(config)


def _pixtral_processor(merge: int, edge: int) -> ProcessorMixin:
    tokenizer = named_tokenizer(VOCAB - 4, {}, ("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]"), first=True)
    return PixtralProcessor(
        PixtralImageProcessorPil(size={"longest_edge": edge}, patch_size=PATCH),
        tokenizer,
        patch_size=PATCH,
        spatial_merge_size=merge,
        chat_template=turns("[INST]", "[/INST]", "[IMG]", "answer"),
    )


def llava_pixtral(layers: int = 4) -> tuple[PreTrainedModel, ProcessorMixin]:
    """LLaVA with Pixtral's tower, as the first Pixtral was published, before `enlarge`."""
    processor = _pixtral_processor(1, 5 * PATCH)
    config = LlavaConfig(
        vision_config=_PIXTRAL,
        text_config={"model_type": "mistral", "head_dim": 12, "sliding_window": None, **text_config(processor, layers)},
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config), processor


def _janus(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = JanusConfig(
        vision_config=_TOWER
        | {
            "image_size": SIDE,
            "patch_size": PATCH,
            "projection_dim": WIDTH,
            "mlp_ratio": 2.0,
            "hidden_dropout_rate": 0.0,
        },
        text_config={"model_type": "llama", **text_config(processor, layers)},
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "latent_channels": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 1,
            "projection_dim": WIDTH,
            "image_token_embed_dim": WIDTH,
        },
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<image_placeholder>"),
        tie_word_embeddings=False,
    )
    return JanusForConditionalGeneration(config)


def _janus_processor() -> ProcessorMixin:
    named = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    return JanusProcessor(
        JanusImageProcessorPil(size=SQUARE, min_size=PATCH),
        named_tokenizer(VOCAB - 4, named, first=True),
        num_image_tokens=(SIDE // PATCH) ** 2,
        chat_template=turns("", "", "<image_placeholder>", "assistant:"),
    )


TILE_MAKERS: dict[str, Maker] = {
    "idefics3": (_idefics(Idefics3Config, Idefics3ForConditionalGeneration), _idefics3_processor),
    "smolvlm": (_idefics(SmolVLMConfig, SmolVLMForConditionalGeneration), _smolvlm_processor),
    "internvl": (_internvl, _internvl_processor),
    "mistral3": (_mistral3, lambda: _pixtral_processor(2, 8 * PATCH)),
    "janus": (_janus, _janus_processor),
}
