"""Whether an answer is right, how often, and how often the best blind guess would be."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


def correct(generated: str, answer: str, relaxed: bool = False) -> bool:
    """Whether the generated text is the labelled answer, both stripped and in lower case; nothing else is forgiven.

    `relaxed` also drops full stops at the end. Source: Zhang et al. 2025, released code (the filter of correctly
    answered questions; there the labels are lower case already). An empty label is never matched.
    """
    given, label = _plain(generated, relaxed), _plain(answer, relaxed)
    return bool(label) and given == label


def _plain(text: str, relaxed: bool) -> str:
    text = text.strip().lower()
    return text.rstrip(".").rstrip() if relaxed else text


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy in one group of questions, as shares of 1.

    `low`, `high`: 95 % interval of `share_interval`. `majority`: the share of the group's most frequent label, which is
    what a model that never sees the image can reach.
    """

    type: str
    n: int
    right: int
    accuracy: float
    low: float
    high: float
    majority_answer: str
    majority: float


def accuracy(rows: Iterable[tuple[str, str, bool]], inputs: Sequence[str] | None = None) -> tuple[Accuracy, ...]:
    """One entry per type in alphabetical order, then `all`, from rows (type, labelled answer, correct).

    `inputs`: the image (video, sound) of every row; questions on one count together. The blind guess of `all` may
    differ by type, so its `majority` is the mean over questions and it has no one `majority_answer`.
    """
    groups: dict[str, list[tuple[str, bool, str]]] = {}
    for number, (group, answer, right) in enumerate(rows):
        about = str(number) if inputs is None else inputs[number]
        groups.setdefault(group, []).append((answer.strip().lower(), right, about))
    by_type = tuple(_accuracy(group, scored) for group, scored in sorted(groups.items()))
    if len(by_type) < 2:
        return by_type
    every = _accuracy("all", [row for scored in groups.values() for row in scored])
    guessed = sum(part.majority * part.n for part in by_type) / every.n
    return (*by_type, replace(every, majority_answer="", majority=guessed))


def _accuracy(type: str, rows: list[tuple[str, bool, str]]) -> Accuracy:
    # Slow to import, and reading files does not need it.
    import numpy as np

    from chiasm.core.statistics.intervals import share_interval

    labels, right, inputs = zip(*rows, strict=True)
    found = share_interval(np.array(right), inputs)
    answer, count = Counter(labels).most_common(1)[0]
    share, low, high = float(found.mean), float(found.low), float(found.high)
    return Accuracy(type, len(rows), sum(right), share, low, high, answer, count / len(rows))
