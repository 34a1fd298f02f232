"""One small model of each structural kind that is not a projector in front of a causal decoder."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.factories_layers import LAYER_MAKERS
from tests.support.small import PATCH, SIDE, SIGLIP, SQUARE, VOCAB, WIDTH, Maker, text_config, turns
from tests.support.tokenizers import named_tokenizer
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    ChameleonConfig,
    ChameleonForConditionalGeneration,
    ChameleonImageProcessorPil,
    ChameleonProcessor,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Glm4vImageProcessorPil,
    Glm4vMoeConfig,
    Glm4vMoeForConditionalGeneration,
    Glm4vProcessor,
    Glm4vVideoProcessor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    ProcessorMixin,
    SiglipImageProcessorPil,
)


def _gemma_text(processor: ProcessorMixin, layers: int, vocabulary: int = VOCAB) -> Mapping[str, Any]:
    return text_config(processor, layers) | {"head_dim": 16, "vocab_size": vocabulary}


def _paligemma(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    size = len(processor.tokenizer)  # its processor adds a token for each of 1024 places and 128 masks
    config = PaliGemmaConfig(
        vision_config=SIGLIP | {"model_type": "siglip_vision_model"},
        text_config={**_gemma_text(processor, layers, size), "model_type": "gemma"},
        image_token_index=processor.image_token_id,
        vocab_size=size,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        tie_word_embeddings=False,
    )
    return PaliGemmaForConditionalGeneration(config)


def _paligemma_processor() -> ProcessorMixin:
    # Its checkpoints have no chat template.
    images = SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = (SIDE // PATCH) ** 2
    return PaliGemmaProcessor(images, named_tokenizer(VOCAB - 4, {"image_token": "<image>"}))


def _gemma3(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    ids = processor.tokenizer.convert_tokens_to_ids
    every = ("sliding_attention", "full_attention")
    config = Gemma3Config(
        vision_config=SIGLIP,
        text_config={
            **_gemma_text(processor, layers),
            "sliding_window": 9,
            "layer_types": [every[layer % 2] for layer in range(layers)],
            "query_pre_attn_scalar": 16,
            "final_logit_softcapping": 30.0,
        },
        mm_tokens_per_image=4,
        image_token_index=ids("<image_soft_token>"),
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        tie_word_embeddings=False,
    )
    return Gemma3ForConditionalGeneration(config)


def _gemma3_processor() -> ProcessorMixin:
    named = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    return Gemma3Processor(
        Gemma3ImageProcessorPil(size=SQUARE),
        named_tokenizer(VOCAB - 4, named, ("<start_of_turn>", "<end_of_turn>")),
        chat_template=turns("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "model", "<bos>"),
        image_seq_length=4,
    )


def _glm4v_moe(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    ids = processor.tokenizer.convert_tokens_to_ids
    config = Glm4vMoeConfig(
        text_config=text_config(processor, layers)
        | {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 2, 2],
                "partial_rotary_factor": 1.0,
            },
            "moe_intermediate_size": 24,
            "num_experts_per_tok": 2,
            "n_routed_experts": 8,
            "n_group": 2,
            "topk_group": 1,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": WIDTH,
            "image_size": 56,
        },
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
        tie_word_embeddings=False,
    )
    model = Glm4vMoeForConditionalGeneration(config)
    model.set_experts_implementation("eager")  # the default kernel knows no float64
    return model


def _glm4v_moe_processor() -> ProcessorMixin:
    marks = [f"<|{place}_of_{what}|>" for place in ("begin", "end") for what in ("image", "video")]
    size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 40 * 28 * 28}
    return Glm4vProcessor(
        Glm4vImageProcessorPil(size=size),
        named_tokenizer(
            VOCAB - 4, {"image_token": "<|image|>", "video_token": "<|video|>"}, (*marks, "<|user|>", "<|assistant|>")
        ),
        Glm4vVideoProcessor(size=size),
        chat_template=turns("<|", "", "<|begin_of_image|><|image|><|end_of_image|>", "assistant|>").replace(
            "message['role'] + '", "message['role'] + '|>"
        ),
    )


def _chameleon(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = ChameleonConfig(
        **text_config(processor, layers),
        vocabulary_map=processor.tokenizer.get_vocab(),
        vq_config={
            "embed_dim": 16,
            "num_embeddings": 16,
            "latent_channels": 16,
            "resolution": SIDE,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1],
            "num_res_blocks": 1,
        },
    )
    return ChameleonForConditionalGeneration(config)


def _chameleon_processor() -> ProcessorMixin:
    named = {"image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>"}
    codes = [f"IMGIMG{chr(65 + code // 10)}{chr(65 + code % 10)}Z" for code in range(16)]
    tokenizer = named_tokenizer(VOCAB - 4, named, (*codes, "<reserved08706>"), first=True)
    tokenizer.sep_token = "<reserved08706>"
    return ChameleonProcessor(
        ChameleonImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SQUARE), tokenizer, image_seq_length=49
    )


_QFORMER = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def _blip(config_class: type, model_class: type) -> Callable[[ProcessorMixin, int], PreTrainedModel]:
    def make(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
        text = text_config(processor, layers)
        del text["num_key_value_heads"], text["intermediate_size"]
        config = config_class(
            vision_config={key: value for key, value in SIGLIP.items() if key != "vision_use_head"},
            qformer_config=_QFORMER,
            text_config=text | {"model_type": "opt", "ffn_dim": 96, "word_embed_proj_dim": WIDTH, "dropout": 0.0},
            num_query_tokens=6,
            image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        )
        return model_class(config)

    return make


def _blip_processor(processor_class: type) -> Callable[[], ProcessorMixin]:
    def make() -> ProcessorMixin:
        images = BlipImageProcessorPil(size=SQUARE)
        tokenizer = named_tokenizer(VOCAB - 4, {}, first=True)
        if processor_class is Blip2Processor:
            return Blip2Processor(images, tokenizer, num_query_tokens=6)
        return InstructBlipProcessor(images, tokenizer, named_tokenizer(VOCAB - 4, {}), num_query_tokens=6)

    return make


KIND_MAKERS: dict[str, Maker] = {
    "paligemma": (_paligemma, _paligemma_processor),
    "gemma3": (_gemma3, _gemma3_processor),
    "glm4v_moe": (_glm4v_moe, _glm4v_moe_processor),
    "chameleon": (_chameleon, _chameleon_processor),
    "blip_2": (_blip(Blip2Config, Blip2ForConditionalGeneration), _blip_processor(Blip2Processor)),
    **LAYER_MAKERS,
    "instructblip": (
        _blip(InstructBlipConfig, InstructBlipForConditionalGeneration),
        _blip_processor(InstructBlipProcessor),
    ),
}
