"""Whose answers are explained, and the images that stand in place of theirs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, input_key
from chiasm.core.media import load_image
from chiasm.data.scoring import correct
from chiasm.models.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.inside.rerun import projected_positions, projected_states
from chiasm.models.skipping.plans import span_tokens
from chiasm.models.view import ModelView
from chiasm.training.batches import mean_colour

_BATCH_SIZE = 24
_ANSWER_TOKENS = 16
Failures = list[tuple[str, str]]


class ExplainedAnswer(NamedTuple):
    """An example, its prompt, the tokens of the answer that is explained, and the answer's text."""

    example: Example
    prompt: Encoded
    answer: tuple[int, ...]
    text: str

    @property
    def row(self) -> dict[str, str]:
        """The columns that name the example."""
        return {"example_id": self.example.id, "type": self.example.type, "input": input_key(self.example)}


def explained_answers(
    view: ModelView,
    examples: Sequence[Example],
    *,
    instruction: str,
    labelled: bool = False,
    right: bool = False,
) -> tuple[list[ExplainedAnswer], Failures]:
    """The examples with the answers to explain: the model's own (greedy), or with `labelled` the given one.

    `right`: examples that the model answers wrongly are left out.
    """
    found, failures = [], []
    placeholders = {token for tokens in span_tokens(view).values() for token in tokens}
    for start in range(0, len(examples), _BATCH_SIZE):
        encoded = []
        for example in examples[start : start + _BATCH_SIZE]:
            try:
                prompt = view.encode(example, instruction=instruction)
                projected_positions(prompt)
            except ExampleError as error:
                failures.append((example.id, str(error)))
            else:
                encoded.append((example, prompt))
        answers = generate(view, [prompt for _, prompt in encoded], _ANSWER_TOKENS)
        for (example, prompt), answer in zip(encoded, answers, strict=True):
            if right and not correct(answer.text, example.answer):
                continue
            tokens = answer.tokens
            if labelled:
                try:
                    tokens = view.encode(example, instruction=instruction, answer=example.answer).answer_tokens
                except ExampleError as error:
                    failures.append((example.id, str(error)))
                    continue
            if not tokens or placeholders & set(tokens):
                failures.append((example.id, "the model's answer has no token, or stands for an image itself"))
                continue
            found.append(ExplainedAnswer(example, prompt, tokens, example.answer if labelled else answer.text))
    return found, failures


def encode_image(view: ModelView, example: Example) -> Encoded:
    """The images of an example before an empty question: they come first, so no word of a question is in them."""
    return view.encode(replace(example, question="?", boxes=()), instruction="")


class Background:
    """What the projector gives for other images: the mean stands in place of an image, and paths start at single ones.

    `states`: per image (n x D), by the image's `input_key`.
    """

    def __init__(self, states: Mapping[str, Float[Tensor, "n D"]]) -> None:
        self._states = dict(states)

    def __len__(self) -> int:
        return len(self._states)

    def like(self, one: ExplainedAnswer, count: int) -> Float[Tensor, "K n D"] | None:
        """Other images of as many tokens; None where there are fewer than two."""
        own = input_key(one.example)
        found = [s for key, s in self._states.items() if key != own and len(s) == count]
        return torch.stack(found) if len(found) > 1 else None

    def mean(self, one: ExplainedAnswer, count: int) -> Float[Tensor, "n D"]:
        """The mean over other images, place by place where enough have as many tokens, else over all tokens.

        **Errors:** `ExampleError` without another image.
        """
        alike = self.like(one, count)
        if alike is not None:
            return alike.mean(0)
        own = input_key(one.example)
        others = [s for key, s in self._states.items() if key != own]
        if not others:
            raise ExampleError("there is no other image whose mean could stand in its place")
        return torch.cat(others).mean(0).expand(count, -1)


def background_of(view: ModelView, examples: Iterable[Example]) -> Background:
    """The projector's output for the images of `examples`, each image once; what cannot be encoded is left out."""
    states: dict[str, Tensor] = {}
    for example in examples:
        key = input_key(example)
        if key in states:
            continue
        try:
            states[key] = projected_states(view, encode_image(view, example))
        except ExampleError:
            continue
    return Background(states)


def grey_of(view: ModelView, explained: Sequence[ExplainedAnswer]) -> dict[str, Float[Tensor, "n D"]]:
    """The projector's output for images of the same size in the mean colour of the image processor, by example."""
    found = {}
    for one in explained:
        sizes = [load_image(image).size for image in one.example.images]
        blank = tuple(Image.new("RGB", size, mean_colour(view)) for size in sizes)
        found[one.example.id] = projected_states(view, encode_image(view, replace(one.example, images=blank)))
    return found
