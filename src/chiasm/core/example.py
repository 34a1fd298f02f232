"""One question about one perceptual input: the noun every study starts from."""

import hashlib
from dataclasses import astuple, dataclass, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Box(NamedTuple):
    """A named rectangle in pixels of the original image; `(x, y)` is the top-left corner, as in GQA."""

    name: str
    x: float
    y: float
    w: float
    h: float


# A path on disk, or a decoded image already in memory (PIL, or an array H x W x 3 of uint8).
Media = Path | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question, its perceptual inputs and what is known about them.

    `images`, `videos`, `audios` hold absolute paths or media in memory. `boxes` has the central object first.
    `type` is the group that results are averaged in. `options` keeps the order of the question. `answers`: what
    several annotators answered, one entry each, where there is more than the one `answer`.
    """

    id: str
    question: str
    answer: str = ""
    images: tuple[Media, ...] = ()
    videos: tuple[Media, ...] = ()
    audios: tuple[Media, ...] = ()
    options: tuple[str, ...] = ()
    type: str = "all"
    boxes: tuple[Box, ...] = ()
    captions: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def image(self) -> Media | tuple[Media, ...] | None:
        """The single image, the tuple of several, or None: the field as the data contract names it."""
        return _single(self.images)

    @property
    def video(self) -> Media | tuple[Media, ...] | None:
        return _single(self.videos)

    @property
    def audio(self) -> Media | tuple[Media, ...] | None:
        return _single(self.audios)

    @property
    def media(self) -> tuple[Media, ...]:
        """All that is perceived, in the order in which it stands before the question."""
        return (*self.images, *self.videos, *self.audios)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each of `media` is: `image`, `video` or `audio`."""
        given = {"image": self.images, "video": self.videos, "audio": self.audios}
        return tuple(kind for kind, items in given.items() for _ in items)


def _single(items: tuple[Media, ...]) -> Media | tuple[Media, ...] | None:
    if not items:
        return None
    return items[0] if len(items) == 1 else items


def input_key(example: Example) -> str:
    """Which input the example asks about: equal for questions on the same image, video or sound.

    Made from the path, or from the content of what is in memory, so that it is the same when a run is resumed. An
    example without any is its own.
    """
    return media_key(example.media or example.id)


def media_key(item: Media | tuple[Media, ...]) -> str:
    """Tells media apart without decoding them: by path, or by the content of what is in memory."""
    digest = hashlib.blake2b(digest_size=6)
    _digest(digest, item)
    return digest.hexdigest()


def _digest(digest: "hashlib.blake2b", item: Any) -> None:
    if isinstance(item, str | Path | int | float | None):
        digest.update(repr(item).encode())
    elif isinstance(item, tuple | list):
        for part in item:
            _digest(digest, part)
    elif is_dataclass(item) and not isinstance(item, type):
        _digest(digest, astuple(item))
    else:
        pixels = np.asarray(item)
        digest.update(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
