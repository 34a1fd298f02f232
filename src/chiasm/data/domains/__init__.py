"""Classification domains: pictures with one label each, published or procedural."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.data.domains.answers import classify, normalised, parsed
from chiasm.data.domains.base import Domain, Item, Part, make_domain, stratified
from chiasm.data.domains.leaves import LEAVES, leaf
from chiasm.data.domains.readers import read_domain
from chiasm.data.domains.surfaces import SURFACES, surface

_DRAWN: Final[dict[str, tuple[tuple[str, ...], Callable[[str, np.random.Generator], Image.Image], str]]] = {
    "surfaces": (SURFACES, surface, "surface textures"),
    "leaves": (LEAVES, leaf, "plant leaf diseases"),
}
PROCEDURAL: Final = tuple(_DRAWN)
_SIZES: Final[dict[Part, int]] = {"train": 32, "validation": 6, "test": 20}
"""Pictures per class of the procedural domains."""


def domain(source: str | Path, *, topic: str | None = None, seed: int = 0, limit: int | None = None) -> Domain:
    """The domain called `source`: `surfaces`, `leaves`, a folder, a .csv or a .jsonl (docs/project.md).

    `topic` fills the prompt's "categories relating to". `seed` sets pictures apart where the data has no such part.
    `limit`: at most so many pictures per part, classes in turn.

    **Errors:** `ChiasmError` for what cannot be read as a classification task.
    """
    if str(source) in _DRAWN:
        return _drawn(str(source), topic, limit)
    path = Path(source).expanduser()
    if not path.exists():
        known = ", ".join(PROCEDURAL)
        raise ChiasmError(f"the domain `{source}`", "there is no such folder, file or name", f"Name a path or {known}")
    return read_domain(path, path.stem, topic, seed).limited(limit, seed)


def _drawn(name: str, topic: str | None, limit: int | None) -> Domain:
    """Classes take turns, so that a smaller number is still balanced; every picture depends on its own number alone."""
    classes, draw, words = _DRAWN[name]
    if limit is not None and limit < 1:
        raise ChiasmError(f"take {limit} pictures", "that is none", "Ask for at least one")

    def items(part: Part) -> tuple[Item, ...]:
        made = []
        for number in range(min(_SIZES[part] * len(classes), limit or 10**9)):
            label, key = classes[number % len(classes)], f"{name}-{part}-{number:04d}"
            made.append(Item(key, draw(label, np.random.default_rng(list(key.encode()))), label))
        return tuple(made)

    return make_domain(
        name, topic or words, items("train"), items("test"), validation=items("validation"), classes=classes
    )


__all__ = [
    "LEAVES",
    "PROCEDURAL",
    "SURFACES",
    "Domain",
    "Item",
    "Part",
    "classify",
    "domain",
    "make_domain",
    "normalised",
    "parsed",
    "stratified",
]
