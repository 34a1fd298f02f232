"""Answers under a mask or a plan: in which written form labels are scored, and how greedy answers are judged."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.data.scoring import correct
from chiasm.models.encoded import Encoded
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.view import ModelView


class JudgedExample(NamedTuple):
    """An example ready to be judged: its prompt, and the same with the answer that is scored behind it."""

    example: Example
    prompt: Encoded
    forced: Encoded


def answer_rows(
    view: ModelView, judged: Sequence[JudgedExample], max_new_tokens: int
) -> Iterator[tuple[Example, Float[Tensor, " A"], dict[str, Any]]]:
    """Every example with the log-probabilities (nat) of its scored answer and its `answer_columns`."""
    answers = generate(view, [one.prompt for one in judged], max_new_tokens)
    scored = answer_logprobs(view, [one.forced for one in judged])
    for one, answer, logprobs in zip(judged, answers, scored, strict=True):
        yield one.example, logprobs, answer_columns(one.example, answer, logprobs)


def answer_columns(example: Example, answer: GeneratedAnswer, logprobs: Float[Tensor, " A"]) -> dict[str, Any]:
    """What tables of answers hold about one: example, greedy answer, whether it is right, and the scored answer."""
    return {
        "example_id": example.id,
        "type": example.type,
        "answer": example.answer,
        "generated": answer.text,
        "correct": correct(answer.text, example.answer),
        "logprob": float(logprobs.double().sum()),
    }


def written_answers(view: ModelView, examples: Sequence[Example], instruction: str, batch_size: int) -> dict[str, str]:
    """By example, the labelled answer as given, in lower case or capitalised: whichever the model finds most probable.

    Scoring forgives case, so probabilities must as well: a model that answers `Red` finds the label `red` absurd.
    Examples that cannot be used are left out.
    """
    found: dict[str, str] = {}
    for start in range(0, len(examples), batch_size):
        tried, encoded = [], []
        for example in examples[start : start + batch_size]:
            for form in _forms(example.answer):
                try:
                    encoded.append(view.encode(example, instruction=instruction, answer=form))
                except ExampleError:
                    break  # whoever uses the example records the reason
                tried.append((example.id, form))
        best: dict[str, float] = {}
        for (name, form), logprobs in zip(tried, answer_logprobs(view, encoded), strict=True):
            total = float(logprobs.double().sum())
            if name not in best or total > best[name]:
                best[name], found[name] = total, form
    return found


def _forms(answer: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((answer, answer.lower(), answer[:1].upper() + answer[1:])))
