"""Which other example gives an example its states, and which ones stand in as controls; drawn by a hash of the id."""

import bisect
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, final

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, media_key
from chiasm.data.scenes import changed_answer, is_scene, same_answer
from chiasm.data.sequences import all_without_media
from chiasm.studies.patch.spec import PairsFrom

BY_DATA, MINIMAL, BY_QUESTION, BY_IMAGE = "data", "minimal", "question", "image"
"""Where a donor is from: the field `pair`; a scene with one attribute changed; the same question with another answer in
the data; the same question asked of the image of another example of the type that has another answer."""
_TRIED: Final = 64
"""Examples looked at before it is given up: by far more than ask about one image."""

_Wanted = Callable[[str], bool]


class Pair(NamedTuple):
    """A donor and where it is from. `like_own`, `like_donor`: examples with the answer of either, for controls;
    `unrelated`: another example's input under the same question. None where there is none."""

    donor: Example
    how: str
    like_own: Example | None = None
    like_donor: Example | None = None
    unrelated: Example | None = None


class _Marked(NamedTuple):
    mark: bytes
    place: int
    answer: str


@final
class Pairs:
    """The pair of every example: the next one on a ring on which all stand by a keyed hash of their ids.

    So the order of the examples changes nothing, and one more example changes the donors of those just before it alone.
    Of every example its hash, place and answer are held, not the example.
    """

    def __init__(
        self, examples: Sequence[Example], mode: PairsFrom, seed: int, *, controls: bool = True, scenes: bool = False
    ) -> None:
        self.examples, self.mode, self.seed, self.controls, self.scenes = examples, mode, seed, controls, scenes
        self._places: dict[str, int] = {}
        rings: dict[tuple[str, ...], list[_Marked]] = {}
        for place, one in enumerate(all_without_media(examples)):
            self._places[one.id] = place
            marked = _Marked(self._mark(one.id), place, _plain(one.answer))
            for key in (_question(one), _type(one)):
                rings.setdefault(key, []).append(marked)
        self._rings = {key: sorted(ring) for key, ring in rings.items()}

    def of(self, example: Example) -> Pair:
        """The pair of an example.

        **Errors:** `ExampleError` in words where it has none.
        """
        if not example.media:
            raise ExampleError("it shows and plays nothing, so nothing of it can be another's")
        found = self._found(example)
        if not self.controls:
            return found
        own, donor = self._like(example, found, of_donor=False), self._like(example, found, of_donor=True)
        return found._replace(like_own=own, like_donor=donor, unrelated=self._unrelated(example, found.donor))

    def _found(self, example: Example) -> Pair:
        if self.mode == "data" or (self.mode == "auto" and example.pair):
            return self._by_data(example)
        if self.mode == "minimal" or (self.mode == "auto" and self.scenes and is_scene(example)):
            if not is_scene(example):
                raise ExampleError("it is none of `scenes`, whose objects alone can be changed")
            return Pair(changed_answer(example), MINIMAL)
        return self._by_rule(example)

    def _by_data(self, example: Example) -> Pair:
        if not example.pair:
            raise ExampleError("it names no `pair`")
        if example.pair == example.id:
            raise ExampleError("it names itself as its `pair`")
        if example.pair not in self._places:
            raise ExampleError(f"its pair `{example.pair}` is not among the examples that are used")
        return Pair(self.examples[self._places[example.pair]], BY_DATA)

    def _by_rule(self, example: Example) -> Pair:
        answer = _plain(example.answer)
        other = self._next(example, _question(example), lambda a: a != answer)
        if other is not None:
            return Pair(other, BY_QUESTION)
        other = self._next(example, _type(example), lambda a: a != answer)
        if other is None:
            raise ExampleError("no other example of its type has another answer and another input of the same kind")
        return Pair(_asked_of(example, other), BY_IMAGE)

    def _like(self, example: Example, pair: Pair, *, of_donor: bool) -> Example | None:
        """Another input to which the question of `example` has the same answer as to its own, or to the donor's."""
        like = pair.donor if of_donor else example
        if pair.how == MINIMAL:
            try:
                return same_answer(example, of=pair.donor if of_donor else None)
            except ExampleError:
                return None
        answer = _plain(self._answer_of(like) if of_donor else example.answer)
        found = self._next(like, _question(like), lambda a: a == answer)
        if found is not None:
            return found
        found = self._next(like, _type(example), lambda a: a == answer)
        return None if found is None else _asked_of(like, found)

    def _answer_of(self, donor: Example) -> str:
        """The label of a donor; of an image asked another question, that of the example that shows it."""
        return donor.answer or self.examples[self._places[donor.id]].answer

    def _unrelated(self, example: Example, donor: Example) -> Example | None:
        known = {media_key(donor.media)}
        found = self._next(example, _type(example), lambda answer: True, known)
        return None if found is None else _asked_of(example, found)

    def _next(
        self, example: Example, key: tuple[str, ...], wanted: _Wanted, known: set[str] | None = None
    ) -> Example | None:
        """The next on the ring of `key` whose answer is wanted, with other media of the same kinds."""
        seen = {media_key(example.media)} | (known or set())
        for place in self._after(example.id, key, wanted):
            other = self.examples[place]
            if other.id != example.id and other.kinds == example.kinds and media_key(other.media) not in seen:
                return other
        return None

    def _after(self, name: str, key: tuple[str, ...], wanted: _Wanted) -> Iterator[int]:
        ring = self._rings.get(key, [])
        first = bisect.bisect_right(ring, (self._mark(name),))
        tried = 0
        for step in range(len(ring)):
            one = ring[(first + step) % len(ring)]
            if wanted(one.answer):
                yield one.place
                tried += 1
                if tried == _TRIED:
                    return

    def _mark(self, name: str) -> bytes:
        written = name.encode("utf-8", "surrogatepass")
        # The id behind the hash: two examples never stand at one place.
        return hashlib.blake2b(written, digest_size=16, key=f"pair/{self.seed}".encode()).digest() + written


def _plain(answer: str) -> str:
    return answer.strip().casefold()


def _question(example: Example) -> tuple[str, ...]:
    return "question", example.question


def _type(example: Example) -> tuple[str, ...]:
    return "type", example.type


def _asked_of(example: Example, other: Example) -> Example:
    """The question of `example`, asked of what `other` shows or plays: what is right is not known."""
    shown = {"images": other.images, "videos": other.videos, "audios": other.audios}
    return replace(example, id=other.id, answer="", answers=(), boxes=(), captions=(), pair="", **shown)
