"""Whose image (video, sound) an example is shown in the swapped control: drawn by a hash, found in constant time."""

import bisect
import hashlib
from collections.abc import Sequence
from typing import NamedTuple, final

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, media_key

_TRIED = 64
"""Examples looked at before another answer is given up: by far more than ask about one image."""
_NAMES = {"image": "an image", "video": "a video", "audio": "a sound"}


@final
class Donors:
    """Every example's donor: the next one on a ring on which all stand by a keyed hash of their ids.

    The donor shows or plays as much of each kind, nothing of what the example has, and has another answer if one of the
    next `_TRIED` has: an image to which the same answer belongs could leave the answer as probable as it was. So the
    order of the examples changes nothing, and one more example changes the donors of those just before it alone. The
    ring is made once; who follows with another answer or other media is known for every place of it, so that finding a
    donor takes as long among a million examples as among a hundred.
    """

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self.seed = seed
        kinds: dict[tuple[str, ...], list[_Marked]] = {}
        for place, example in enumerate(examples):
            if example.media:
                marked = _Marked(self._mark(example), place, _keys(example), example.answer.lower())
                kinds.setdefault(example.kinds, []).append(marked)
        self._rings = {kind: _Ring(examples, sorted(ring)) for kind, ring in kinds.items()}

    def of(self, example: Example) -> Example:
        """The donor of an example that shows or plays something.

        **Errors:** `ExampleError` if no other one has anything else of these kinds.
        """
        ring = self._rings.get(example.kinds)
        found = None if ring is None else ring.after(self._mark(example), example)
        if found is None:
            raise ExampleError(f"no other example has {_NAMES[example.kinds[0]]} to swap in")
        return found

    def several(self, example: Example, most: int) -> list[Example]:
        """Up to `most` others with other media, its donor first; those with another answer stand before the rest."""
        ring = self._rings.get(example.kinds)
        return [] if ring is None else ring.several(self._mark(example), example, most)

    def _mark(self, example: Example) -> bytes:
        name = example.id.encode("utf-8", "surrogatepass")
        # The id behind the hash: two examples never stand at one place.
        return hashlib.blake2b(name, digest_size=16, key=f"swap/{self.seed}".encode()).digest() + name


class _Marked(NamedTuple):
    """What is known of an example on a ring: its place among the examples, keys of its media, its answer."""

    mark: bytes
    place: int
    media: tuple[str, ...]
    answer: str


def _keys(example: Example) -> tuple[str, ...]:
    return tuple(media_key(item) for item in example.media)


@final
class _Ring:
    """Examples of one kind, by their marks. Where they stand is held, not they themselves."""

    def __init__(self, examples: Sequence[Example], marked: Sequence[_Marked]) -> None:
        self.examples = examples
        self.marks = [one.mark for one in marked]
        self.places = [one.place for one in marked]
        self.media = [one.media for one in marked]
        self.answers = [one.answer for one in marked]
        self.other_answer = _next_other(self.answers)
        self.other_media = _next_other(self.media)

    def after(self, mark: bytes, example: Example) -> Example | None:
        own, answer = _keys(example), example.answer.lower()
        first = bisect.bisect_right(self.marks, mark)
        return self._search(first, own, answer) or self._search(first, own, None)

    def several(self, mark: bytes, example: Example, most: int) -> list[Example]:
        size, own, answer = len(self.marks), set(_keys(example)), example.answer.lower()
        first = bisect.bisect_right(self.marks, mark)
        near = [(first + step) % size for step in range(min(size, _TRIED))]
        apart = [place for place in near if own.isdisjoint(self.media[place])]
        apart.sort(key=lambda place: self.answers[place] == answer)
        return [self.examples[self.places[place]] for place in apart[:most]]

    def _search(self, first: int, own: tuple[str, ...], answer: str | None) -> Example | None:
        """The first from place `first` on with other media, and with another answer than `answer`."""
        size, step = len(self.marks), 0
        for _ in range(_TRIED):
            if step >= size:
                return None
            place = (first + step) % size
            if answer is not None and self.answers[place] == answer:
                step += self.other_answer[place]
            elif self.media[place] == own:
                step += self.other_media[place]
            elif not set(own).isdisjoint(self.media[place]):
                step += 1
            else:
                return self.examples[self.places[place]]
        return None


def _next_other(values: Sequence[object]) -> list[int]:
    """How many steps after each place of a ring the first other value stands; the size of the ring if there is none."""
    size = len(values)
    steps = [size] * size
    for place in range(2 * size - 1, -1, -1):
        here, following = place % size, (place + 1) % size
        steps[here] = 1 if values[following] != values[here] else min(size, steps[following] + 1)
    return steps
