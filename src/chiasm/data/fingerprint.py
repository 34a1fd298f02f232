"""What examples are, in a few digests: two runs on the same examples have the same, wherever the files lie."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chiasm.core.example import Example, media_key

_FIELDS: dict[str, Callable[[Example], Any]] = {
    "ids": lambda one: (one.id, one.pair) if one.pair else one.id,
    "questions": lambda one: one.question,
    "answers": lambda one: (one.answer, one.answers),
    "options": lambda one: one.options,
    "types": lambda one: one.type,
    "boxes": lambda one: tuple((box.name, *map(float, box[1:])) for box in one.boxes),
    "captions": lambda one: one.captions,
}
_KINDS = ("images", "videos", "sounds")
_THREADS = 4  # reading files waits more than it computes
_AHEAD = 256


def fingerprint(examples: Sequence[Example]) -> dict[str, Any]:
    """`examples` (how many), `hash` of everything that can change a row, and `fields`: a digest for each part of that.

    The bytes of every file are read once; what cannot be read counts by its name.
    """
    digests = {name: hashlib.sha256() for name in (*_FIELDS, *_KINDS)}
    for example, media in _with_media(examples):
        for name, part in _FIELDS.items():
            digests[name].update(repr(part(example)).encode("utf-8", "surrogatepass") + b"\n")
        for name, keys in media.items():
            digests[name].update(repr(keys).encode() + b"\n")
    fields = {name: digest.hexdigest()[:16] for name, digest in digests.items()}
    whole = hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()[:16]
    return {"examples": len(examples), "hash": whole, "fields": fields}


def _with_media(examples: Sequence[Example]) -> Iterator[tuple[Example, dict[str, tuple[str, ...]]]]:
    def keys(example: Example) -> dict[str, tuple[str, ...]]:
        given = {"images": example.images, "videos": example.videos, "sounds": example.audios}
        return {name: tuple(media_key(item) for item in items) for name, items in given.items()}

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fingerprint") as pool:
        for start in range(0, len(examples), _AHEAD):
            some = list(examples[start : start + _AHEAD])
            yield from zip(some, pool.map(keys, some), strict=True)
