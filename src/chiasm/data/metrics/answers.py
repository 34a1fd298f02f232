"""Short answers: equality with the label, and agreement with several annotators."""

from collections import Counter
from collections.abc import Sequence

from chiasm.data.metrics.base import Answered, Measure, metric
from chiasm.data.metrics.objects import Objects
from chiasm.data.metrics.words import normalised
from chiasm.data.scoring import correct

_ANNOTATORS = 10


def vqa_accuracy(generated: str, answers: Sequence[str]) -> float:
    """How far annotators agree with an answer, 0 to 1: min(others who gave it / 3, 1), mean over leaving each one out.

    Both sides are compared as `normalised`. A single label counts as given by ten annotators.

    Source: Antol et al. 2015 (VQA), with the leave-one-out mean of https://visualqa.org/evaluation.html. The released
    code leaves labels on which all ten agree as they are; here they are put into the same form too, so that "Yes" is
    right where all said "yes".
    """
    given = Counter(map(normalised, answers if len(answers) > 1 else list(answers) * _ANNOTATORS))
    same, total = given[normalised(generated)], sum(given.values())
    if not total:
        return 0.0
    # Leaving out one of those who gave the answer leaves `same - 1` of them; leaving out another leaves all.
    return (same * min((same - 1) / 3, 1) + (total - same) * min(same / 3, 1)) / total


@metric("exact", first="accuracy")
def exact(answered: Sequence[Answered], objects: Objects | None = None) -> list[Measure]:
    """Equality with the label: as the studies filter answers, and with articles, marks and number words forgiven."""
    same = [_one_of(item.text, item.example.answers or (item.example.answer,)) for item in answered]
    return [
        Measure.share("accuracy", [float(correct(item.text, item.example.answer)) for item in answered]),
        Measure.share("exact_match", same),
    ]


def _one_of(text: str, labels: Sequence[str]) -> float:
    said = normalised(text)
    return float(any(normalised(label) == said for label in labels if label.strip()))


@metric("vqa", first="vqa_accuracy")
def vqa(answered: Sequence[Answered], objects: Objects | None = None) -> list[Measure]:
    """Agreement with the annotators of VQAv2, OKVQA and TextVQA (`vqa_accuracy`)."""
    scores = [vqa_accuracy(item.text, item.example.answers or (item.example.answer,)) for item in answered]
    return [Measure.share("vqa_accuracy", scores)]
