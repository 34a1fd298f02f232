"""Small models whose decoder layers are not all self-attention, or count rows, with real processors."""

from tests.support.small import PATCH, SIDE, SQUARE, VOCAB, Maker, text_config, turns
from tests.support.tokenizers import named_tokenizer
from transformers import (
    Lfm2VlConfig,
    Lfm2VlForConditionalGeneration,
    Lfm2VlImageProcessor,
    Lfm2VlProcessor,
    Llama4Config,
    Llama4ForConditionalGeneration,
    Llama4ImageProcessor,
    Llama4Processor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessorPil,
    MllamaProcessor,
    PreTrainedModel,
    ProcessorMixin,
)


def _lfm2_vl(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = Lfm2VlConfig(
        vision_config={
            "model_type": "siglip2_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "patch_size": PATCH,
            "num_patches": 16,
            "vision_use_head": False,
        },
        text_config=text_config(processor, layers)
        | {
            "model_type": "lfm2",
            # One that mixes first, in between and, in the deepest of four, none.
            "layer_types": [("conv", "full_attention")[layer % 2] for layer in range(layers)],
            "block_auto_adjust_ff_dim": False,
        },
        image_token_id=processor.image_token_id,
        projector_hidden_size=64,
        tie_word_embeddings=False,
    )
    return Lfm2VlForConditionalGeneration(config)


def _lfm2_vl_processor() -> ProcessorMixin:
    images = Lfm2VlImageProcessor(
        encoder_patch_size=PATCH, tile_size=SIDE, max_tiles=4, min_image_tokens=2, max_image_tokens=4
    )
    tiles = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]
    named = {
        "image_token": "<image>",
        "image_start_token": "<|image_start|>",
        "image_end_token": "<|image_end|>",
        "image_thumbnail_token": "<|img_thumbnail|>",
    }
    tokenizer = named_tokenizer(VOCAB - 4, named, (*tiles, "<|im_start|>", "<|im_end|>"))
    return Lfm2VlProcessor(
        images, tokenizer, chat_template=turns("<|im_start|>", "<|im_end|>", "<image>", "assistant", "<bos>")
    )


def _mllama(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    text = text_config(processor, layers)
    config = MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "intermediate_size": 64,
            "vision_output_dim": 64,
            "image_size": SIDE,
            "patch_size": PATCH,
            "max_num_tiles": 2,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        text_config=text | {"cross_attention_layers": [1, layers - 1]},
        image_token_index=processor.image_token_id,
    )
    return MllamaForConditionalGeneration(config)


def _mllama_processor() -> ProcessorMixin:
    tokenizer = named_tokenizer(VOCAB - 4, {"image_token": "<|image|>"}, ("<|start|>", "<|eot_id|>"), first=True)
    return MllamaProcessor(
        MllamaImageProcessorPil(size=SQUARE, max_image_tiles=2),
        tokenizer,
        chat_template=turns("<|start|>", "<|eot_id|>", "<|image|>", "assistant", "<bos>"),
    )


def _llama4(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = Llama4Config(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "vision_output_dim": 32,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        text_config=text_config(processor, layers)
        | {
            "head_dim": 12,
            "intermediate_size": 24,
            "intermediate_size_mlp": 96,
            "num_local_experts": 4,
            "interleave_moe_layer_step": 2,
            # Layers 1 and 3 count rows, in steps of 4; the others see chunks of 64.
            "no_rope_layers": [(layer + 1) % 2 for layer in range(layers)],
            "attention_chunk_size": 64,
            "floor_scale": 4,
        },
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<|patch|>"),
        tie_word_embeddings=False,
    )
    return Llama4ForConditionalGeneration(config)


def _llama4_processor() -> ProcessorMixin:
    marks = ("image_start", "image_end", "patch", "tile_x_separator", "tile_y_separator", "start", "eot")
    tokenizer = named_tokenizer(VOCAB - 4, {}, ("<|image|>", *(f"<|{mark}|>" for mark in marks)))
    return Llama4Processor(
        Llama4ImageProcessor(size=SQUARE, max_patches=4),
        tokenizer,
        patch_size=PATCH,
        chat_template=turns("<|start|>", "<|eot|>", "<|image|>", "assistant", "<bos>"),
    )


LAYER_MAKERS: dict[str, Maker] = {
    "lfm2_vl": (_lfm2_vl, _lfm2_vl_processor),
    "mllama": (_mllama, _mllama_processor),
    "llama4": (_llama4, _llama4_processor),
}
