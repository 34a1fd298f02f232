"""Classification domains: images with one label each, published or procedural."""

from dataclasses import replace
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.data.domains.base import Domain, Item, classify, make_domain, parsed, stratified
from chiasm.data.domains.procedural import LEAVES, PROCEDURAL, SURFACES, drawn_domain
from chiasm.data.domains.readers import read_domain
from chiasm.data.layouts import readable


def domain(
    source: str | Path,
    *,
    topic: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    allow_outside: bool = False,
) -> Domain:
    """The domain called `source`: `surfaces`, `leaves`, a folder, a .csv or a .jsonl (docs/project.md).

    `topic` fills the prompt's "categories relating to". `seed` picks what is held out where the data has no such part.
    `limit`: at most so many images per part, classes in turn. `allow_outside`: images may lie outside the folder.

    **Errors:** `ChiasmError` for what cannot be read as a classification task.
    """
    if str(source) in PROCEDURAL:
        return drawn_domain(str(source), topic, limit)
    path = Path(source).expanduser()
    if not path.exists():
        known = ", ".join(PROCEDURAL)
        raise ChiasmError(f"the domain `{source}`", "there is no such folder, file or name", f"Name a path or {known}")
    with readable(path):
        found = read_domain(path, path.stem, topic, seed).limited(limit, seed)
    return _anywhere(found) if allow_outside else found


def _anywhere(found: Domain) -> Domain:
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    return replace(found, **{name: tuple(replace(one, within=None) for one in own) for name, own in parts.items()})


__all__ = [
    "LEAVES",
    "PROCEDURAL",
    "SURFACES",
    "Domain",
    "Item",
    "classify",
    "domain",
    "make_domain",
    "parsed",
    "stratified",
]
