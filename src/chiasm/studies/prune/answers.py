"""In which written form a model gives the labelled answers."""

from collections.abc import Sequence

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.view import ModelView


def written_answers(view: ModelView, examples: Sequence[Example], instruction: str, unit: int) -> dict[str, str]:
    """By example, the labelled answer as given, in lower case or capitalised: whichever the model finds most probable.

    Scoring forgives case, so probabilities must as well: a model that answers `Red` finds the label `red` absurd.
    Examples that cannot be used are left out.
    """
    found: dict[str, str] = {}
    for start in range(0, len(examples), unit):
        tried, encoded = [], []
        for example in examples[start : start + unit]:
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
