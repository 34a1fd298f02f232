"""The model that the parts make up: `tiny`'s tower, a two-layer projector, the pretrained decoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

from chiasm.smollm2.words import IMAGE
from chiasm.tiny import shapes as tiny
from chiasm.tiny.tokens import tokenizer as tiny_tokenizer

PROJECTOR: Final = "model.multi_modal_projector."
ADAPTER: Final = "adapter."
_TOWER: Final = "model.vision_tower."


def processor(words: PreTrainedTokenizerBase) -> LlavaProcessor:
    """`tiny`'s image processor beside the decoder's tokenizer: one `<image>` token per patch."""
    return LlavaProcessor(
        image_processor=tiny.image_processor(),
        tokenizer=words,
        patch_size=tiny.PATCH,
        vision_feature_select_strategy="default",
        chat_template=words.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def llava(decoder: Path, words: PreTrainedTokenizerBase, seeing: Mapping[str, Tensor]) -> LlavaForConditionalGeneration:
    """The whole in float32: the decoder of a directory, and `seeing`, the tensors of tower, projector and adapters.

    Adapters are merged: what is run is a plain Llama whose products of attention are W + 2 B A.

    The vocabulary gets one row for `<image>`, behind the last and zero; no row of the decoder changes. The row is
    never read: where the mark stands, the projector's output replaces it. As an output its score is 0 everywhere.
    """
    language = LlamaForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    mark: Any = words.convert_tokens_to_ids(IMAGE)
    text = language.config.to_dict() | {"vocab_size": mark + 1, "attn_implementation": "sdpa"}
    config = LlavaConfig(
        vision_config=tiny.llava(tiny_tokenizer()).config.vision_config,
        text_config=text,
        image_token_index=mark,
        image_seq_length=tiny.PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=bool(language.config.tie_word_embeddings),
    )
    model = LlavaForConditionalGeneration(config)
    state = {
        f"model.language_{name}" if name.startswith("model.") else name: tensor
        for name, tensor in language.state_dict().items()
    }
    for name in [one for one in seeing if one.startswith(ADAPTER) and one.endswith(".A")]:
        product = f"model.language_model.{name.removeprefix(ADAPTER).removesuffix('.A')}.weight"
        state[product] = state[product] + 2 * seeing[name[:-1] + "B"].float() @ seeing[name].float()
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        rows = state[name]
        state[name] = torch.cat([rows, rows.new_zeros(mark + 1 - len(rows), rows.shape[1])])
    held = {name: tensor.float() for name, tensor in seeing.items() if name.startswith((_TOWER, PROJECTOR))}
    model.load_state_dict(state | held, strict=True)
    model.tie_weights()
    model.generation_config.update(
        do_sample=False,
        max_new_tokens=40,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.bos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return model.eval()
