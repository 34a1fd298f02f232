"""One question about one perceptual input: the noun every study starts from."""

import hashlib
import os
from dataclasses import astuple, dataclass, field, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from chiasm.core.digests import content_of, digest_of
from chiasm.core.errors import ExampleError
from chiasm.core.packed import Packed
from chiasm.core.text import reason_of, shortened

DEFAULT_INSTRUCTION = "Answer the question using a single word or phrase."
"""Zhang et al. 2025 put it after every question; it is short-answer prompting of LLaVA-1.5 (Liu et al. 2023)."""

Split = Literal["heldout", "train"]
"""The parts of data that have parts."""


class Box(NamedTuple):
    """A named rectangle in pixels of the original image; `(x, y)` is the top-left corner, as in GQA."""

    name: str
    x: float
    y: float
    w: float
    h: float


# A path on disk, a part of a file there (`Packed`), or a decoded image already in memory (PIL, or an array H x W x 3
# of uint8).
Media = Path | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question, its perceptual inputs and what is known about them.

    `images`, `videos`, `audios` hold absolute paths or media in memory. `boxes` has the central object first.
    `type` is the group that results are averaged in. `options` keeps the order of the question. `answers`: what
    several annotators answered, one entry each, where there is more than the one `answer`. `pair`: the id of another
    example that differs in what is studied, from which `chiasm patch` takes states.

    `fault`: why it cannot be used, where reading the data has shown it already (a malformed line); empty otherwise.
    `within`: the folder that its files must lie in, which readers of data set; None: they may lie anywhere.
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
    pair: str = ""
    fault: str = ""
    within: Path | None = field(default=None, compare=False, repr=False)

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


def require_usable(example: Example) -> None:
    """Refuse an example that its reader found malformed, or whose files lie outside the folder of its data.

    Data from somebody else may name any file of this machine, by an absolute path, by `..`, or through a link. So
    links are followed before the comparison, those to the frames of a video in a folder as well.

    **Errors:** `ExampleError`; no file is opened for it.
    """
    if example.fault:
        raise ExampleError(example.fault)
    if example.within is None:
        return
    for kind, item in zip(example.kinds, example.media, strict=True):
        if isinstance(item, Path):
            require_within(item, example.within, kind)


def require_within(path: Path, folder: Path, kind: str) -> None:
    """Refuse a file, or a folder of frames, outside `folder`.

    **Errors:** `ExampleError` that names it as the data do; also for a path that no system can have.
    """
    named = path.relative_to(folder) if path.is_relative_to(folder) else path
    if ":/" in str(path) and not path.is_absolute():
        # `Path` writes the two slashes of an address as one.
        raise ExampleError(f"{kind} {path}: it is an address; download it and write the path of the file")
    try:
        root = _root(folder)
        found = [path, *(sorted(path.iterdir()) if kind == "video" and path.is_dir() else ())]
        outside = next((one for one in found if not Path(os.path.realpath(one)).is_relative_to(root)), None)
    except (OSError, ValueError) as error:
        raise ExampleError(f"{kind} {shortened(str(named))}: {reason_of(error)}") from error
    if outside is not None:
        raise ExampleError(
            f"{kind} {shortened(str(named))}: it lies outside the folder of the data, and is not read; if that is "
            "meant, allow it (--allow-outside) or name the folder of the media (--media)"
        )


@lru_cache(maxsize=64)
def _root(folder: Path) -> Path:
    """The folder with links followed; in the hub's cache, whose files are links, that of the repository."""
    parts = (folder.absolute(), *folder.absolute().parents)
    snapshots = next((one for one in parts if one.name == "snapshots" and (one.parent / "blobs").is_dir()), None)
    return Path(os.path.realpath(folder if snapshots is None else snapshots.parent))


def check_boxes(example: Example, width: int, height: int) -> Example:
    """`example` with its boxes clipped to the upright image of `width` x `height` pixels.

    Annotators drew over the edge in about 2 % of GQA's boxes: what lies outside holds no patch and is cut off.

    **Errors:** `ExampleError` for a box without area or wholly outside, whose `image.object` would be empty and would
    show a false zero.
    """
    if not example.boxes:
        return example
    return replace(example, boxes=tuple(_clipped(box, width, height) for box in example.boxes))


def _clipped(box: Box, width: int, height: int) -> Box:
    where = f"box `{box.name}` (x {box.x:g}, y {box.y:g}, w {box.w:g}, h {box.h:g})"
    if box.w <= 0 or box.h <= 0:
        raise ExampleError(f"{where} has no area")
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.w, width), min(box.y + box.h, height)
    if left >= right or top >= bottom:
        raise ExampleError(f"{where} lies outside the image of {width} x {height} pixels")
    if (left, top, right, bottom) == (box.x, box.y, box.x + box.w, box.y + box.h):
        return box
    return Box(box.name, left, top, right - left, bottom - top)


def input_key(example: Example) -> str:
    """Which input the example asks about: equal for questions on the same image, video or sound.

    Made from the content, so that it is the same when a run is resumed, wherever the files lie by then. An example
    without any is its own.
    """
    return media_key(example.media or example.id)


def media_key(item: Media | tuple[Media, ...]) -> str:
    """A key by which media differ, without decoding them: from the bytes of a file, or of what is in memory.

    What cannot be read goes by its name.
    """
    digest = hashlib.blake2b(digest_size=6)
    _digest(digest, item)
    return digest.hexdigest()


def _content_of(item: Packed) -> str:
    """As of a file with the same bytes."""
    try:
        return digest_of(item.read())
    except (ExampleError, OSError):
        return item.name


def _digest(digest: "hashlib.blake2b", item: Any) -> None:
    if isinstance(item, Packed):
        digest.update(_content_of(item).encode("utf-8", "surrogateescape"))
    elif isinstance(item, Path):
        digest.update((content_of(item) or item.name).encode("utf-8", "surrogateescape"))
    elif isinstance(item, str | int | float | None):
        digest.update(repr(item).encode())
    elif isinstance(item, tuple | list):
        for part in item:
            _digest(digest, part)
    elif is_dataclass(item) and not isinstance(item, type):
        _digest(digest, astuple(item))
    else:
        import numpy as np  # most examples name files, and help on the command line needs no arrays

        pixels = np.asarray(item)
        digest.update(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
