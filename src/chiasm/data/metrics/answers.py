"""Short answers: equality with the label, agreement with several annotators (VQA), and yes or no (POPE)."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from chiasm.core.errors import ChiasmError
from chiasm.core.text import shortened
from chiasm.data.metrics.base import Answered, AnswerRatio, metric
from chiasm.data.metrics.objects import Objects
from chiasm.data.scoring import correct

_ANNOTATORS = 10
_NO = re.compile(r"\b(?:no|not|none|neither|nor|never|nothing|cannot)\b|n['’]t\b")
_YES_OR_NO = re.compile(rf"\byes\b|{_NO.pattern}")
_UNTOLD = r"(?:say|tell|determine)"
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|unsure|uncertain|unclear|unknown|not (?:sure|certain|clear|known)"
    rf"|(?:hard|impossible|not possible|unable) to {_UNTOLD}|(?:cannot|can['’]t|can not) {_UNTOLD}"
    r"|(?:don['’]t|do not|doesn['’]t|does not) know|yes (?:or|and) no)\b"
)
# The marks that VQA's evaluation takes out, and how: see `normalised`.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NUMBERS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905
} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_PERIOD = re.compile(r"\.(?!\d)")
_COMMA = re.compile(r"\d,\d")


def _contractions() -> dict[str, str]:
    """From a contraction without some of its apostrophes to the whole one, for those that are no other word."""
    endings = {
        "n't": "ai are ca could did does do had has have is might must need ought sha should was were wo would",
        "'ve": "could might must should they we what where who would you not",
        "'d": "he how it somebody someone something that there they where who you",
        "'ll": "how it somebody someone something they what who why you y'all",
        "'re": "there they what why you",
        "'s": "he how somebody someone that there what when where who why",
        "'d've": "he it she somebody someone something there they we who you y'all",
        "n't've": "could had might should would",
        "": "ma'am o'clock 'twas y'all",
    }
    made: dict[str, str] = {}
    for ending, stems in endings.items():
        for whole in (stem + ending for stem in stems.split()):
            for form in _without_some(whole):
                made.setdefault(form, whole)
    return made


def _without_some(whole: str) -> Iterator[str]:
    """The forms that lack at least one apostrophe."""
    places = [at for at, letter in enumerate(whole) if letter == "'"]
    for chosen in range(1, 1 << len(places)):
        gone = {place for bit, place in enumerate(places) if chosen >> bit & 1}
        yield "".join(letter for at, letter in enumerate(whole) if at not in gone)


_CONTRACTIONS = _contractions()


def normalised(answer: str) -> str:
    """An answer as VQA compares it: no marks, lower case, numbers up to ten as digits, no articles, apostrophes back.

    A mark is dropped where it stands beside a space anywhere in the answer, or the answer has a comma between digits;
    else it becomes a space. A full stop goes unless a digit follows.

    Source: the rules of https://visualqa.org/evaluation.html and of the evaluation code that it links
    (https://github.com/GT-Vision-Lab/VQA). Apostrophes and colons stay (girl's, 2:50). The code's table of contractions
    is given by rule here; its entries that can never match (upper case) or break a word (somebody'd) are left out.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    dropped = _COMMA.search(text) is not None
    made = text
    for mark in _MARKS:
        made = made.replace(mark, "" if dropped or f"{mark} " in text or f" {mark}" in text else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", made).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(generated: str, answers: Sequence[str]) -> float:
    """How far annotators agree with an answer, 0 to 1: min(others who gave it / 3, 1), mean over leaving each one out.

    Both sides are compared as `normalised`. A single label counts as given by ten annotators.

    Source: Antol et al. 2015 (VQA), with the leave-one-out mean of https://visualqa.org/evaluation.html. The released
    code leaves labels on which all ten agree as they are; here they are put into the same form too, so that "Yes" is
    right where all answered "yes".
    """
    given = Counter(map(normalised, answers if len(answers) > 1 else list(answers) * _ANNOTATORS))
    same, total = given[normalised(generated)], sum(given.values())
    if not total:
        return 0.0
    # Leaving out one of those who gave the answer leaves `same - 1` of them; leaving out another leaves all.
    return (same * min((same - 1) / 3, 1) + (total - same) * min(same / 3, 1)) / total


@metric("exact", first="accuracy")
def exact(answered: Sequence[Answered], objects: Objects | None = None) -> list[AnswerRatio]:
    """Equality with the label: as the studies filter answers, and with articles, marks and number words forgiven."""
    right, same = [], []
    for text, example in ((item.text, item.example) for item in answered):
        right.append(float(correct(text, example.answer)))
        same.append(_one_of(text, example.answers or (example.answer,)))
    return [AnswerRatio.of("accuracy", right), AnswerRatio.of("exact_match", same)]


def _one_of(text: str, labels: Sequence[str]) -> float:
    given = normalised(text)
    return float(any(normalised(label) == given for label in labels if label.strip()))


@metric("vqa", first="vqa_accuracy")
def vqa(answered: Sequence[Answered], objects: Objects | None = None) -> list[AnswerRatio]:
    """Agreement with the annotators of VQAv2, OKVQA and TextVQA (`vqa_accuracy`)."""
    scores = [
        vqa_accuracy(text, example.answers or (example.answer,))
        for text, example in ((item.text, item.example) for item in answered)
    ]
    return [AnswerRatio.of("vqa_accuracy", scores)]


def yes_or_no(text: str) -> Literal["yes", "no", "unclear"]:
    """What an answer says, by its words before the first full stop.

    1. It hedges ("maybe", "not sure", "cannot tell"), or has no word: unclear. That is neither yes nor no, so it is
       wrong whatever the label.
    2. It negates (no, not, none, neither, nor, never, nothing, cannot, ...n't): no.
    3. Else yes: a sentence that names the object need not say "yes".

    Source: Li et al. 2023 (POPE, arXiv 2305.10355), released evaluation, whose rule is "no" for the words no and not,
    else yes. The first case and the other negations are ours: there, "None." and "Maybe." claim an object.
    """
    first = text.partition(".")[0].lower()
    if _HEDGE.search(first) or not re.search(r"\w", first):
        return "unclear"
    return "no" if _NO.search(first) else "yes"


@metric("pope", first="pope_f1")
def pope(answered: Sequence[Answered], objects: Objects | None = None) -> list[AnswerRatio]:
    """POPE's measures, answers being read by `yes_or_no`.

    `pope_unclear`: answers that hedge or are empty (neither yes nor no), and those that count as yes without the word.
    Assumption: as many objects asked for are there as are not, or precision and F1 mean little.

    **Errors:** `ChiasmError` for a label other than yes and no.
    """
    true, said, unclear = [], [], []
    for item in answered:
        label = item.example.answer.strip().lower()
        if label not in ("yes", "no"):
            found = f"example `{item.example.id}` has the label `{shortened(item.example.answer)}`"
            raise ChiasmError("measure POPE", found, "Its questions are answered by yes or no")
        true.append(label)
        said.append(yes_or_no(item.text))
        unclear.append(float(said[-1] == "unclear" or not _YES_OR_NO.search(item.text.lower())))
    pairs = list(zip(true, said, strict=True))
    claimed = [float(one == "yes") for one in said]
    there = [float(one == "yes") for one in true]
    both = [float(label == one == "yes") for label, one in pairs]
    return [
        AnswerRatio.of("pope_f1", [2 * b for b in both], [t + s for t, s in zip(there, claimed)]),
        AnswerRatio.of("pope_accuracy", [float(label == one) for label, one in pairs]),
        AnswerRatio.of("pope_precision", both, claimed),
        AnswerRatio.of("pope_recall", both, there),
        AnswerRatio.of("pope_yes_share", claimed),
        AnswerRatio.of("pope_unclear", unclear),
    ]
