"""The decoder's own words and turns, with a mark for images."""

from pathlib import Path
from typing import Final

from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerBase

IMAGE: Final = "<image>"
SYSTEM: Final = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
# SmolLM2's own template; in a message of parts the images come first, as in LLaVA-1.5's.
TEMPLATE: Final = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    f"{{{{ '<|im_start|>system\n{SYSTEM}<|im_end|>\n' }}}}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{{ '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tokenizer(decoder: Path) -> PreTrainedTokenizerBase:
    """The decoder's tokenizer, which also knows `<image>` as the token behind its last; no other token changes."""
    words = AutoTokenizer.from_pretrained(decoder)
    words.add_tokens([AddedToken(IMAGE, special=True, normalized=False)], special_tokens=True)
    words.padding_side = "left"
    words.chat_template = TEMPLATE
    return words
