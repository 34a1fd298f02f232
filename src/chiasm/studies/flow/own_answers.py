"""The model's own whole answers, given before anything is cut, and the words that they are made of."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, final

import numpy as np

from chiasm.core.errors import ExampleError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.core.positions import Spans
from chiasm.data.answer_words import NOT_THERE, Vocabulary, scene_classes, written_words
from chiasm.data.metrics import describes, objects_for
from chiasm.data.scoring import correct
from chiasm.data.sequences import all_without_media
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import only_this_example
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.view import ModelView
from chiasm.models.words import token_offsets
from chiasm.studies.flow.followed_words import FollowedWord, followed_words
from chiasm.studies.flow.prepared import FlowExample, Unanswered
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.inputs import for_preparing, is_endless

ANSWER_TOKENS, DESCRIPTION_TOKENS = 32, 128


class _Own(NamedTuple):
    tokens: tuple[int, ...]
    words: tuple[FollowedWord, ...]


class Answered(NamedTuple):
    """A batch whose answers are known: what is followed, and what is not, each with its reason."""

    ready: list[FlowExample]
    failures: list[tuple[str, str]]
    left_out: list[tuple[str, str]]
    skipped: list[tuple[str, str]]


def rightly_answered(view: ModelView, prepared: Sequence[FlowExample]) -> Answered:
    """Those whose greedy answer is the labelled one."""
    found = Answered([], [], [], [])
    for item, answer in zip(prepared, generate(view, [one.prompt for one in prepared]), strict=True):
        if correct(answer.text, item.example.answer):
            found.ready.append(item)
        else:
            found.left_out.append((item.example.id, _otherwise(answer.text, item.example.answer)))
    return found


def _otherwise(text: str, label: str) -> str:
    return f"answered {text!r} instead of {label!r}"


def with_longest_answer(spec: FlowSpec, examples: Sequence[Example]) -> FlowSpec:
    """`spec` with what asking for descriptions changes filled in: no default instruction to answer in a word, and room
    for a longer answer.
    """
    filled: dict[str, Any] = {}
    if spec.task == "caption" and spec.instruction == DEFAULT_INSTRUCTION:
        filled["instruction"] = ""
    if spec.target == "words" and spec.max_new_tokens is None:
        filled["max_new_tokens"] = DESCRIPTION_TOKENS if describes(all_without_media(examples)) else ANSWER_TOKENS
    return spec.complete(**filled) if filled else spec


@final
class OwnAnswers:
    """The greedy answers to the examples of a batch, whose very tokens are teacher-forced behind every prompt.

    So a token has the log-probability that it had when it was generated, whatever a tokenizer would make of the text.
    """

    def __init__(self, spec: FlowSpec, view: ModelView, examples: Sequence[Example]) -> None:
        assert spec.max_new_tokens is not None
        self._spec, self._view, self._longest = spec, view, spec.max_new_tokens
        # Of its own: the next batch is asked while this one is planned, in another thread.
        self._asking = for_preparing(view)
        world = str(spec.data) if is_endless(spec.data) else None
        named = None if spec.objects is None else str(spec.objects)
        # Whoever names the shapes of the embedded world names its words.
        classes = scene_classes(world or named or "")
        known = objects_for(all_without_media(examples), "scenes" if named is None and world else named)
        self._vocabulary = Vocabulary(known, classes)
        self._known: dict[str, _Own] = {}

    def ask(self, index: int, example: Example) -> Unanswered:
        """The prompt of an example."""
        return Unanswered(index, example, self._asking.encode(example, instruction=self._spec.instruction))

    def answered(self, asked: Sequence[Unanswered], prepare: Callable[[int, Example], FlowExample]) -> Answered:
        """What `prepare` makes of the examples once their answers are known.

        Kept are, as elsewhere, all or those whose answer is the labelled one; without a label there is nothing to
        judge an answer by, so that it is kept.
        """
        found = Answered([], [], [], [])
        self._known = {}
        for item, answer in zip(asked, generate(self._view, [one.prompt for one in asked], self._longest), strict=True):
            name, label = item.example.id, item.example.answer
            if self._spec.keep == "correct" and label.strip() and not correct(answer.text, label):
                found.left_out.append((name, _otherwise(answer.text, label)))
                continue
            try:
                self._known[name] = self._words(item.example, answer)
                with only_this_example():
                    found.ready.append(prepare(item.index, item.example))
            except ExampleError as error:
                found.failures.append((name, str(error)))
                continue
            if not answer.ended:
                end = f"the end of its answer: it was cut off after {self._longest} tokens (--max-new-tokens)"
                found.skipped.append((name, end))
        return found

    def encode(self, view: ModelView, example: Example) -> Encoded:
        """The example with the answer that was given to it behind the prompt; also with another image in its place."""
        prompt = view.encode(example, instruction=self._spec.instruction)
        tokens = self._known[example.id].tokens
        longer = view.append_tokens(prompt, tokens)
        spans = dict(prompt.spans) | {"answer": prompt.length + np.arange(len(tokens))}
        context = view.config.get_text_config(decoder=True).max_position_embeddings
        if longer.length > context:
            raise ExampleError(f"{longer.length} tokens do not fit the context of {context}")
        return replace(longer, spans=Spans(longer.length, spans), answer_tokens=tokens)

    def words(self, example: Example) -> tuple[FollowedWord, ...]:
        """The words of the answer that was given to an example of this batch."""
        return self._known[example.id].words

    def right(self, example: Example, text: str) -> bool:
        """Whether an answer is the labelled one; without a label, whether it names no object that is not there."""
        if example.answer.strip():
            return correct(text, example.answer)
        return all(word.group != NOT_THERE for word in self.words(example))

    def _words(self, example: Example, answer: GeneratedAnswer) -> _Own:
        if not answer.finite:
            raise ExampleError("the model gives NaN or infinite logits for this example")
        if not answer.tokens:
            raise ExampleError("the model answers nothing: the first token that it gives ends the answer")
        text, offsets = token_offsets(self._view.tokenizer, answer.tokens)
        written = written_words(text, example, self._vocabulary)
        words = followed_words(text, written, offsets, ended=answer.ended)
        if not words:
            raise ExampleError(f"its answer {text.strip()!r} has no word to follow")
        return _Own(answer.tokens, words)
