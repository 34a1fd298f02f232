"""Sizes that all small models share."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

VOCAB = 420
WIDTH = 48
CONTEXT = 1024

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


def text_config(processor: ProcessorMixin, layers: int) -> dict[str, Any]:
    """Grouped queries (4 heads, 2 for keys and values), width 48, untied embeddings."""
    tokenizer = processor.tokenizer
    return {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
