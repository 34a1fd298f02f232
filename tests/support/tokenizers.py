"""Small byte-level BPE tokenizers and chat templates in the style of the published checkpoints."""

import json
from collections.abc import Mapping, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

_TEXT = (
    "Answer the question using a single word or phrase. What color is the shape to the left of the red circle? "
    "Is there a blue square or a green triangle? yes no USER ASSISTANT system user assistant helpful You are a "
) * 2

VICUNA_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ '<|vision_start|><|' + part['type'] + '_pad|><|vision_end|>' }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)


def _byte_level(specials: Sequence[str], vocab_size: int) -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([_TEXT], trainer)
    return core


def llama_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """`<s>` in front of every text, `<image>` one token, `</s>` and `<pad>`."""
    core = _byte_level(("<unk>", "<s>", "</s>", "<pad>", "<image>"), vocab_size)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def named_tokenizer(
    vocab_size: int, named: Mapping[str, str], others: Sequence[str] = (), first: bool = False
) -> PreTrainedTokenizerFast:
    """Special tokens by the names that processors ask for (`image_token`, `boi_token`, ...), and `others`.

    `first`: every text begins with `<bos>`; without, templates or processors write it.
    """
    core = _byte_level(("<unk>", "<bos>", "<eos>", "<pad>", *named.values(), *others), vocab_size)
    if first:
        core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=dict(named),
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in others])
    return tokenizer


def qwen_tokenizer(vocab_size: int) -> Qwen2Tokenizer:
    """No token in front, `<|image_pad|>` between vision marks."""
    core = _byte_level((), vocab_size - len(QWEN_SPECIALS))
    learned = json.loads(core.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"], merges=[tuple(m) for m in learned["merges"]], padding_side="left"
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in QWEN_SPECIALS])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def sentencepiece_tokenizer(legacy: bool) -> LlamaTokenizer:
    """As LLaVA-1.5's own: spaces are part of words as `▁`, bytes for the unknown, ids below 420.

    `legacy` puts a `▁` in front of every piece of text between special tokens, not of the first one only.
    """
    vocab = {token: i for i, token in enumerate(("<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))))}
    merges = []
    for word in ("▁red", "▁blue", "▁What", "▁color", "▁or", "ASSISTANT", "▁USER"):
        for start in range(len(word)):
            vocab.setdefault(word[start], len(vocab))
        for stop in range(2, len(word) + 1):
            if word[:stop] not in vocab:
                vocab[word[:stop]] = len(vocab)
                merges.append((word[: stop - 1], word[stop - 1]))
    tokenizer = LlamaTokenizer(vocab=vocab, merges=merges, legacy=legacy, padding_side="left")
    tokenizer.add_tokens([AddedToken("<image>", special=True)])
    return tokenizer
