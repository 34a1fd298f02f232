"""The words of an answer and what kind each is of, as far as that is known without guessing.

No tagger is used, so there are no parts of speech: a word is an object because a list of objects has it, a function
word because the list below has it, a colour because the data's own vocabulary has it. What no list has is an other
word.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from chiasm.core.example import Example
from chiasm.data.metrics.objects import Objects

OBJECT, OTHER, FUNCTION = "object", "other", "function"
NUMBER, YES_NO = "number", "yes or no"
THERE, NOT_THERE, OBJECTS = "objects that are there", "objects that are not there", "objects"
OTHER_WORDS, FUNCTION_WORDS = "other words", "function words"
_GROUPS: Final = {
    "colour": "colours",
    "size": "sizes",
    "place": "places",
    NUMBER: "numbers",
    YES_NO: "yes or no",
    OTHER: OTHER_WORDS,
    FUNCTION: FUNCTION_WORDS,
}
GROUPS: Final = (THERE, NOT_THERE, OBJECTS, *_GROUPS.values())
"""All groups of words, in the order in which they are shown."""

_NUMBERS: Final = frozenset(
    """
    zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million
    """.split()  # noqa: SIM905
)
# Articles, pronouns, determiners, prepositions, conjunctions, auxiliaries, and their contractions. "One" is here, since
# it is as often a pronoun as a number.
_FUNCTION: Final = frozenset(
    """
    a an the this that these those some any each every either neither both all no none one ones another other
    others such i me my mine myself you your yours yourself he him his himself she her hers herself
    it its itself we us our ours
    ourselves they them their theirs themselves who whom whose which what where when why how there here
    of in on at by for with from to into onto upon over under between among through across along around near behind
    beside besides beneath within without against toward towards off out up down about as than like per via
    and or but nor so yet if while because although though since unless until whether
    is are was were be been being am has have had having do does did doing can could will would shall should may might
    must ought not also very too just only then
    isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't can't couldn't won't wouldn't shouldn't
    it's that's there's here's he's she's they're we're you're i'm i've they've we've you've what's who's
    """.split()  # noqa: SIM905
)
_WORD: Final = re.compile(r"\d+(?:[.,:]\d+)+|\w+(?:['’-]\w+)*")
_DIGITS: Final = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What words of an answer are compared with. `objects`: a list of objects, where one is known; `classes`: the words
    of each further class, by its name (`colour`, `size`, `place`), in lower case.
    """

    objects: Objects | None = None
    classes: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def class_of(self, word: str) -> str:
        """The class of a word that names no object: the data's own first, as "left" is a place where they say so."""
        plain = word.lower().replace("’", "'")
        own = next((name for name, words in self.classes.items() if plain in words), None)
        if own is not None:
            return own
        if plain in ("yes", "no"):
            return YES_NO
        if plain in _FUNCTION:
            return FUNCTION
        return NUMBER if plain in _NUMBERS or _DIGITS.fullmatch(plain) else OTHER


class WrittenWord(NamedTuple):
    """A word of an answer, or the words that name one object. `start`, `stop`: its characters; `group`: of its class,
    of objects whether they are there.
    """

    start: int
    stop: int
    text: str
    kind: str
    group: str


def written_words(text: str, example: Example, vocabulary: Vocabulary) -> list[WrittenWord]:
    """The words of `text` in order: runs of letters and digits, with hyphens and apostrophes inside them; and numbers
    with the marks inside them.

    An object that is named in several words ("traffic light") is one word, as CHAIR counts it. Whether it is there is
    known by CHAIR's rule: from the names of the example's boxes and what its captions name; without either it is not
    known.
    """
    objects = vocabulary.objects
    named = [] if objects is None else objects.places(text)
    there = None if objects is None else objects.there(example)
    found = []
    for place in named:
        group = OBJECTS if there is None else THERE if place.name in there else NOT_THERE
        found.append(WrittenWord(place.start, place.stop, text[place.start : place.stop], OBJECT, group))
    for match in _WORD.finditer(text):
        if any(match.start() < place.stop and place.start < match.end() for place in named):
            continue
        kind = vocabulary.class_of(match.group())
        found.append(WrittenWord(match.start(), match.end(), match.group(), kind, _GROUPS[kind]))
    return sorted(found)


def scene_classes(name: str) -> Mapping[str, frozenset[str]]:
    """The words of each class in the procedural world called `name`, where all of them are known; else none.

    Where shapes move, the words for where they are and for where they go are the same: both are places.
    """
    # Drawing is not needed to know words.
    from chiasm.data.scenes.moving import WAYS
    from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SIZES

    if name not in ("scenes", "scenes-video"):
        return {}
    places = {*ROWS, *COLUMNS, "above", "below", *(WAYS if name == "scenes-video" else ())}
    return {"colour": frozenset(COLORS), "size": frozenset(SIZES), "place": frozenset(places)}
