"""Chat templates for checkpoints that have none, in the form that most of them share."""

from typing import Final

# The prompt of Vicuna v1.1 as llava-hf writes it; the papers' released code adds Vicuna's system sentence.
VICUNA: Final = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] != 'text' %}{{ '<' + part['type'] + '>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# Mistral's: the user's turn between marks, the answer behind them.
INST: Final = (
    "{{ '<s>' }}{% for message in messages %}{% set mark = {'user': 'INST', 'system': 'SYSTEM_PROMPT'} %}"
    "{% if message['role'] != 'assistant' %}{{ '[' + mark[message['role']] + ']' }}{% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '[IMG]' }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ '[/' + mark[message['role']] + ']' }}{% endif %}"
    "{% endfor %}"
)
# Images first, then the words, and nothing else.
PLAIN: Final = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endfor %}"
)
# The prompt of Li et al. 2023 for questions.
ASK: Final = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% if message['role'] == 'user' %}{{ 'Question: ' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'user' %}{{ ' Answer:' }}{% endif %}{% endfor %}"
)
_SYSTEM = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"


def turns(
    start: str, stop: str, media: str = "'<' + part['type'] + '>'", *, before: str = "", answer: str = "assistant"
) -> str:
    """Turn by turn: `start` with the role in place of `ROLE`, media and words as they come, `stop`.

    `media`: what stands for an image, clip or sound, as an expression in Jinja. `before`: what comes before all turns.
    `answer`: what the model itself is called as a role.
    """
    head, end = start.split("ROLE")
    role = f"('{answer}' if message['role'] == 'assistant' else message['role'])"
    return (
        f"{{{{ '{before}' }}}}{{% for message in messages %}}{{{{ '{head}' + {role} + '{end}' }}}}"
        "{% for part in message['content'] %}"
        f"{{% if part['type'] == 'text' %}}{{{{ part['text'] }}}}{{% else %}}{{{{ {media} }}}}{{% endif %}}"
        f"{{% endfor %}}{{{{ '{stop}' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ '{head}{answer}{end}' }}}}{{% endif %}}"
    )


def chatml(media: str = "'<' + part['type'] + '>'") -> str:
    """ChatML with the system sentence of Qwen2."""
    return _SYSTEM + "{% endif %}" + turns("<|im_start|>ROLE\n", "<|im_end|>\n", media)


def utterances(before: str) -> str:
    """Idefics' form: the role as a name, no space behind its colon where an image follows."""
    return (
        f"{{{{ '{before}' }}}}{{% for message in messages %}}"
        "{{ message['role'].capitalize() + (': ' if message['content'][0]['type'] == 'text' else ':') }}"
        "{% for part in message['content'] %}"
        "{{ part['text'] if part['type'] == 'text' else '<' + part['type'] + '>' }}{% endfor %}"
        "{{ '<end_of_utterance>\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    )
