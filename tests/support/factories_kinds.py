"""One small model of each structural kind that is not a projector in front of a causal decoder."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.small import VOCAB, WIDTH, text_config
from tests.support.tokenizers import named_tokenizer
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    ProcessorMixin,
    SiglipImageProcessorPil,
)

Maker = tuple[Callable[[ProcessorMixin, int], PreTrainedModel], Callable[[], ProcessorMixin]]

SIDE, PATCH = 28, 7
SIGLIP: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
    "vision_use_head": False,
}
SQUARE = {"height": SIDE, "width": SIDE}


def turns(start: str, stop: str, image: str, answer: str, before: str = "") -> str:
    """A chat template: `start` and the role, pictures and words as they come, `stop`; then `answer` begins."""
    return (
        f"{{{{ '{before}' }}}}{{% for message in messages %}}{{{{ '{start}' + message['role'] + '\\n' }}}}"
        f"{{% for part in message['content'] %}}{{% if part['type'] == 'image' %}}{{{{ '{image}' }}}}"
        f"{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}{{{{ '{stop}\\n' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ '{start}{answer}\\n' }}}}{{% endif %}}"
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


KIND_MAKERS: dict[str, Maker] = {
    "paligemma": (_paligemma, _paligemma_processor),
    "gemma3": (_gemma3, _gemma3_processor),
}
