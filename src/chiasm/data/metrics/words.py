"""Texts as words: the answers of VQA made comparable, and the tokens of captions."""

import re
from collections.abc import Iterator

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


_TOKEN = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,:]\d+)*\w*|[^\W\d]+?(?=n't\b)|\w+(?:-\w+)*")


def tokens(caption: str) -> list[str]:
    """The words of a caption: lower case, clitics apart ("isn't" -> "is", "n't"; "man's" -> "man", "'s"), no marks.

    Words with hyphens and numbers with a point stay whole. This follows the Penn Treebank's rules, which the published
    captioning scores use through a Java program, in what captions hold; it is one tokenizer for all data, so scores
    compare with each other, and differ from published ones by the rare token that the programs split otherwise.
    """
    return _TOKEN.findall(caption.lower().replace("’", "'"))
