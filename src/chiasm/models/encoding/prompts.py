"""From a question to the text a model reads, and which characters of that text are the question."""

import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.patience import TooLongError, within_seconds
from chiasm.models.families.base import Family

TEMPLATE_SECONDS: Final = 5.0
"""Longest time that a chat template may take to write one turn; real ones take milliseconds."""
MAX_TEMPLATE: Final = 1_000_000
"""Most characters that a chat template may write around one turn."""
_SENTINEL: Final = "chiasm0question0here"
# How templates in plain text name who speaks.
_ROLE: Final = re.compile(r"\b[A-Za-z]+:")
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered user turn, ready for the answer.

    `text` still has one placeholder per image. `question` (start, stop) are the characters that the template made of
    the question. `media`: the kinds of input before the question, in order. `user`: the text of the user turn.
    `given`: what the processor is handed; some write a token or a newline of their own into it, which `text` holds.
    """

    text: str
    question: tuple[int, int]
    media: tuple[str, ...]
    user: str
    given: str

    @property
    def asked(self) -> str:
        """The question as it stands in `text`."""
        return self.text[slice(*self.question)]


def render(processor: Any, family: Family, media: Sequence[str], question: str, instruction: str) -> Prompt:
    """One user turn: the media, then the question, then (unless empty) a newline and the instruction.

    The question is found by rendering a sentinel in its place: what stands before and after the sentinel also stands
    before and after the question, whatever the template does to the question itself (as stripping it) and wherever
    else its words occur. A question that writes a role as the template does in plain text (`ASSISTANT:`) is put as it
    is, which is said once: the model may take it for a turn, and no token shows that it is none.

    **Errors:** `ExampleError` for a question that writes the model's own control tokens; `ChiasmError` for an
    instruction that does, and for a template that hides where the user's words go.
    """
    control = _control_tokens(processor)
    _refuse_control(control, question, "question")
    try:
        _refuse_control(control, instruction, "instruction")
    except ExampleError as error:
        raise ChiasmError("this instruction", str(error), "Leave that text out") from error
    media = tuple(media)
    user = _user(question, instruction)
    rendered = _conversation(processor, family, media, user)
    _check_placeholders(processor, family, rendered, media)
    text = family.expanded_prompt(rendered, processor)
    sentinel = _SENTINEL
    while sentinel in text:
        sentinel += "0"
    marked = family.expanded_prompt(_conversation(processor, family, media, _user(sentinel, instruction)), processor)
    before, *rest = marked.split(sentinel)
    _say_roles("".join((before, *rest)).replace(instruction, ""), question)
    asked = "to find the question in the prompt"
    if len(rest) != 1:
        found = f"the chat template writes the user's words {len(rest)} times"
        raise ChiasmError(asked, found, "Use a template that writes them once and unchanged")
    start, stop = len(before), len(text) - len(rest[0])
    if not question.strip():
        # A template that strips its input takes the newline before the instruction along with an empty question.
        stop = start = min(len(before), len(text))
    elif not (start < stop and text.startswith(before) and text.endswith(rest[0])):
        found = "the chat template writes other words around this question than around another"
        raise ChiasmError(asked, found, "Use a template that does not depend on the question")
    return Prompt(text, (start, stop), media, user, family.processor_prompt(rendered, processor))


def continuation(processor: Any, family: Family, prompt: Prompt, answer: str) -> str:
    """What `answer` looks like right after `prompt.text`, with the space or newline the template puts before it.

    **Errors:** `ExampleError` for an answer that writes the model's own control tokens.
    """
    _refuse_control(_control_tokens(processor), answer, "answer")
    turn = {"role": "assistant", "content": [{"type": "text", "text": _SENTINEL}]}
    full = _conversation(processor, family, prompt.media, prompt.user, turn)
    between, found, _ = full.removeprefix(prompt.text).partition(_SENTINEL)
    if full.startswith(prompt.text) and found and not between.strip():
        return between + answer
    # The template rewrites the prompt once an answer is there (as by dropping thoughts): a space, as in running text.
    return answer if prompt.text[-1:].isspace() else f" {answer}"


def _user(question: str, instruction: str) -> str:
    return f"{question}\n{instruction}" if instruction else question


def _conversation(
    processor: Any, family: Family, media: Sequence[str], user: str, answer: dict[str, Any] | None = None
) -> str:
    content = [{"type": kind} for kind in media] + [{"type": "text", "text": user}]
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    template = None if processor.chat_template else family.fallback_template
    more: dict[str, Any] = {"add_generation_prompt": True}
    if answer is not None:
        turns, more = [*turns, answer], {}
    try:
        # A template is a program of the checkpoint's authors, which may loop.
        with within_seconds(TEMPLATE_SECONDS):
            text = processor.apply_chat_template(turns, chat_template=template, **more)
    except TooLongError as error:
        raise ExampleError(f"the chat template takes more than {TEMPLATE_SECONDS:g} s to write one turn") from error
    if len(text) > len(user) + MAX_TEMPLATE:
        raise ExampleError(f"the chat template writes {len(text) - len(user):,} characters around one turn")
    return text


def _control_tokens(processor: Any) -> set[str]:
    added = processor.tokenizer.added_tokens_decoder.values()
    named = getattr(processor, "all_special_multimodal_tokens", ())
    return {token.content for token in added if token.special} | set(map(str, named))


def _refuse_control(control: set[str], text: str, what: str) -> None:
    """A question is data: it may not place images, end the turn, or start another."""
    written = sorted(token for token in control if token and token in text)
    if written:
        raise ExampleError(f"the {what} contains {', '.join(written)}, which this model reads as control tokens")


def _say_roles(template: str, question: str) -> None:
    """Say of a question that it writes a role of the template; `template`: what that writes around a question."""
    roles = set(_ROLE.findall(template))
    written = [role for role in _ROLE.findall(question) if role in roles]
    if written:
        warn_once(
            f"A question writes `{written[0]}`, with which this model's template begins a turn: the model may take "
            "what follows for one. Such questions are put as they are, and their spans are those of a question."
        )


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning, once in a process."""
    _log.warning(text)


def _check_placeholders(processor: Any, family: Family, text: str, media: tuple[str, ...]) -> None:
    for kind in sorted(set(media)):
        placeholder = family.placeholder(processor, kind)
        if placeholder and text.count(placeholder) != media.count(kind):
            raise ChiasmError(
                f"a prompt with {media.count(kind)} x {kind}",
                f"the chat template wrote {placeholder} {text.count(placeholder)} times",
                "Use a template that takes typed content, one placeholder for each input",
            )
