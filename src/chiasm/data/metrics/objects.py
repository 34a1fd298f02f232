"""Which objects a text names: a list of objects with their synonyms, looked up as whole words."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# Words that end like a plural or are irregular, of the objects that captions name.
_IRREGULAR = {
    pair.partition(":")[0]: pair.partition(":")[2]
    for pair in """
    people:person men:man women:woman children:child mice:mouse geese:goose feet:foot teeth:tooth oxen:ox knives:knife
    wolves:wolf calves:calf loaves:loaf shelves:shelf leaves:leaf halves:half scarves:scarf buses:bus glasses:glass
    ties:tie skis:ski policemen:policeman gentlemen:gentleman
    """.split()  # noqa: SIM905
}
# The cases of Rohrbach et al. 2018, section 3.1: a qualifier that is an object's name elsewhere.
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
_VEHICLES = ("jet", "train")
_NO_OBJECT = ("home plate", "train track")

Phrase = tuple[str, ...]


class Mention(NamedTuple):
    """An object that a text names, and the characters (`start` to `stop`) that name it."""

    start: int
    stop: int
    name: str


@dataclass(frozen=True, slots=True)
class Objects:
    """A list of objects. `synonyms`: every written form (words in lower case) -> the object; None: of no object."""

    synonyms: Mapping[Phrase, str | None]
    longest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", max(map(len, self.synonyms), default=0))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in self.synonyms.values() if name is not None)

    def of(self, name: str) -> str:
        """The object that a box's name stands for; a name that is not in the list is its own."""
        return self._known(_words(name)) or name.strip().lower()

    def mentions(self, text: str) -> list[str]:
        """The objects that `text` names, in order, as often as it does (`places`)."""
        return [found.name for found in self.places(text)]

    def places(self, text: str) -> list[Mention]:
        """Where `text` names an object, in order: the longest written form at each place.

        Words are compared in lower case, as they are and in the singular. As published, "baby bird" and "adult bird"
        name a bird and no person, "passenger train" a train, "train track" and "home plate" nothing, and in a text
        with a toilet no seat is a chair.
        """
        written = list(_WORD.finditer(text))
        words = tuple(map(_plain, written))
        found: list[tuple[Phrase, Mention]] = []
        at = 0
        while at < len(words):
            for size in range(min(self.longest, len(words) - at), 0, -1):
                phrase = words[at : at + size]
                if phrase in self.synonyms or _singular(phrase) in self.synonyms:
                    name = self._known(phrase)
                    if name is not None:
                        place = Mention(written[at].start(), written[at + size - 1].end(), name)
                        found.append((phrase, place))
                    at += size
                    break
            else:
                at += 1
        if any(place.name == "toilet" for _, place in found):
            found = [one for one in found if _singular(one[0]) != ("seat",)]
        return [place for _, place in found]

    def there(self, example: Example) -> frozenset[str] | None:
        """The objects that an input has: the names of its boxes, and what its captions name. None without either."""
        if not example.boxes and not example.captions:
            return None
        boxes = {self.of(box.name) for box in example.boxes} & self.names
        return frozenset(boxes | {name for caption in example.captions for name in self.mentions(caption)})

    def _known(self, phrase: Phrase) -> str | None:
        if not phrase:  # a name without a word, as "?!"
            return None
        return self.synonyms[phrase] if phrase in self.synonyms else self.synonyms.get(_singular(phrase))


def objects(lines: Iterable[Sequence[str]]) -> Objects:
    """A list from `(object, synonym, synonym, ...)`; the published rules for words in two senses apply where they can.

    Where two objects claim a word, the first has it.
    """
    synonyms: dict[Phrase, str | None] = {}
    for name, *others in lines:
        for form in (name, *others):
            if words := _words(form):
                synonyms.setdefault(words, name.strip().lower())
    rules = [((before, word), (word,)) for word in _ANIMALS for before in ("baby", "adult")]
    rules += [(("passenger", word), (word,)) for word in _VEHICLES]
    rules += [(("toilet", "seat"), ("toilet",))]
    given = dict(synonyms)
    for phrase, meant in rules:
        if meant in given:
            synonyms.setdefault(phrase, given[meant])
        elif meant in (("animal",), ("cub",)):
            synonyms.setdefault(phrase, None)
    for phrase in _NO_OBJECT:
        synonyms.setdefault(_words(phrase), None)
    return Objects(synonyms)


def read_objects(path: Path) -> Objects:
    """A file with one object per line: its name, then its synonyms, with commas between.

    This is the layout of `data/synonyms.txt` of CHAIR (https://github.com/LisaAnne/Hallucination), which lists the 80
    objects of COCO.

    **Errors:** `ChiasmError` for a file that cannot be read or names no object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ChiasmError(f"read the objects in {path}", str(error), "Name a text file, one object per line") from error
    lines = [[part.strip() for part in line.split(",") if part.strip()] for line in text.splitlines()]
    if not any(lines):
        raise ChiasmError(f"read the objects in {path}", "it names none", "Write one object per line, then synonyms")
    return objects(line for line in lines if line)


def objects_for(examples: Iterable[Example], named: str | None = None) -> Objects | None:
    """The list of objects for CHAIR: `scenes`, a file (see `read_objects`), or else the names of the boxes.

    None where no example has a box.

    **Errors:** `ChiasmError` for a file that cannot be read.
    """
    if named == "scenes":
        # Drawing is not needed to score texts.
        from chiasm.data.scenes.world import SHAPES

        return objects([shape] for shape in SHAPES)
    if named is not None:
        return read_objects(Path(named))
    boxes = sorted({box.name.strip().lower() for example in examples for box in example.boxes})
    return objects([name] for name in boxes if name) if boxes else None


def has_word(name: str) -> bool:
    """Whether the name of a box can name anything."""
    return bool(_words(name))


def _words(text: str) -> Phrase:
    return tuple(map(_plain, _WORD.finditer(text)))


def _plain(word: re.Match[str]) -> str:
    return word.group().lower().replace("’", "'")


def _singular(phrase: Phrase) -> Phrase:
    """The phrase with its last word in the singular."""
    return (*phrase[:-1], next(_singulars(phrase[-1])))


def _singulars(word: str) -> Iterator[str]:
    word = word.removesuffix("'s")
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif len(word) > 4 and word.endswith("ies"):
        yield f"{word[:-3]}y"
    elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes", "oes")):
        yield word[:-2]
    elif len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        yield word[:-1]
    yield word
