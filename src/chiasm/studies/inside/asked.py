"""From examples to what "where inside?" is asked about: whose answers, and against which pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, input_key
from chiasm.core.media import load_image
from chiasm.data.scoring import correct
from chiasm.models.generation import generate
from chiasm.models.inside.rerun import picture_rows, picture_states
from chiasm.models.skipping.plans import span_tokens
from chiasm.models.view import ModelView
from chiasm.results.tables import conform
from chiasm.studies.inside.spec import Asked, Background, Frames
from chiasm.studies.inside.tables import INSIDE
from chiasm.training.batches import mean_colour

_UNIT = 24
_MOST = 16
Failures = list[tuple[str, str]]


def asked_of(
    view: ModelView,
    examples: Sequence[Example],
    *,
    instruction: str,
    labelled: bool = False,
    right: bool = False,
) -> tuple[list[Asked], Failures]:
    """The examples with the answers to explain: what the model says (greedy), or with `labelled` the given answer.

    `right`: examples that the model answers wrongly are left out.
    """
    found, failures = [], []
    placeholders = {token for tokens in span_tokens(view).values() for token in tokens}
    for start in range(0, len(examples), _UNIT):
        encoded = []
        for example in examples[start : start + _UNIT]:
            try:
                prompt = view.encode(example, instruction=instruction)
                picture_rows(prompt)
            except ExampleError as error:
                failures.append((example.id, str(error)))
            else:
                encoded.append((example, prompt))
        said = generate(view, [prompt for _, prompt in encoded], _MOST)
        for (example, prompt), answer in zip(encoded, said, strict=True):
            if right and not correct(answer.text, example.answer):
                continue
            try:
                tokens = (
                    view.encode(example, instruction=instruction, answer=example.answer).answer_tokens
                    if labelled
                    else answer.tokens
                )
            except ExampleError as error:
                failures.append((example.id, str(error)))
                continue
            if not tokens or placeholders & set(tokens):
                failures.append((example.id, "the model's answer has no token, or stands for a picture itself"))
                continue
            found.append(Asked(example, prompt, tokens, example.answer if labelled else answer.text))
    return found, failures


def background_of(view: ModelView, examples: Iterable[Example]) -> Background:
    """The projector's output for the pictures of `examples`, each picture once; what cannot be encoded is left out."""
    states: dict[str, Tensor] = {}
    for example in examples:
        key = input_key(example)
        if key in states:
            continue
        try:
            # Pictures come before the question, whose words are none of theirs.
            states[key] = picture_states(view, view.encode(replace(example, question="?", boxes=()), instruction=""))
        except ExampleError:
            continue
    return Background(states)


def grey_of(view: ModelView, asked: Sequence[Asked]) -> dict[str, Float[Tensor, "n D"]]:
    """The projector's output for pictures of the same size in the mean colour of the image processor, by example."""
    found = {}
    for one in asked:
        sizes = [load_image(image).size for image in one.example.images]
        blank = tuple(Image.new("RGB", size, mean_colour(view)) for size in sizes)
        shown = replace(one.example, images=blank, question="?", boxes=())
        found[one.example.id] = picture_states(view, view.encode(shown, instruction=""))
    return found


def with_about(frames: Frames, about: Mapping[str, Any]) -> Frames:
    """The rows of all tables with the columns that say which domain, setting, seed and projector they are of."""
    return {name: [{**about, **row} for row in rows] for name, rows in frames.items() if rows}


def as_tables(frames: Frames) -> dict[str, pl.DataFrame]:
    """Rows as the tables that a run would write."""
    return {schema.name: conform(schema, frames[schema.name]) for schema in INSIDE if frames.get(schema.name)}
