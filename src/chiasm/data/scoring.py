"""Whether an answer is right, how often, and how often the best blind guess would be."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


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

    `low`, `high`: 95 % Wilson interval, which assumes independent questions. `majority`: the share of the group's most
    frequent label, which is what a model that never sees the image can reach.
    """

    type: str
    n: int
    right: int
    accuracy: float
    low: float
    high: float
    majority_answer: str
    majority: float


def accuracy(rows: Iterable[tuple[str, str, bool]]) -> tuple[Accuracy, ...]:
    """One entry per type in alphabetical order, then `all`, from rows (type, labelled answer, correct).

    The blind guess of `all` may differ by type, so its `majority` is the mean over questions and it has no one
    `majority_answer`.
    """
    groups: dict[str, list[tuple[str, bool]]] = {}
    for group, answer, right in rows:
        groups.setdefault(group, []).append((answer.strip().lower(), right))
    by_type = tuple(_accuracy(group, scored) for group, scored in sorted(groups.items()))
    if len(by_type) < 2:
        return by_type
    n, right = sum(part.n for part in by_type), sum(part.right for part in by_type)
    majority = sum(part.majority * part.n for part in by_type) / n
    return (*by_type, Accuracy("all", n, right, right / n, *_wilson(right, n), "", majority))


def _accuracy(type: str, rows: list[tuple[str, bool]]) -> Accuracy:
    n, right = len(rows), sum(right for _, right in rows)
    answer, count = Counter(answer for answer, _ in rows).most_common(1)[0]
    return Accuracy(type, n, right, right / n, *_wilson(right, n), answer, count / n)


def _wilson(right: int, n: int) -> tuple[float, float]:
    # Slow to import (scipy), and reading files does not need it.
    from chiasm.core.statistics.intervals import proportion_interval

    interval = proportion_interval(right, n)
    return float(interval.low), float(interval.high)
