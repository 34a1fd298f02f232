"""One question about one perceptual input: the noun every study starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


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
    `type` is the group that results are averaged in. `options` keeps the order of the question.
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


def _single(items: tuple[Media, ...]) -> Media | tuple[Media, ...] | None:
    if not items:
        return None
    return items[0] if len(items) == 1 else items
