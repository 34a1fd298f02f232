"""Sizes that all small models share."""

from typing import Any

from transformers import ProcessorMixin

VOCAB = 420
WIDTH = 48
CONTEXT = 1024


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
