"""What every source guarantees: at least one example, and no id twice."""

from collections.abc import Iterable, Iterator

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example


def unique(source: str, found: Iterable[tuple[str, Example]]) -> Iterator[Example]:
    """The examples of `(where, example)` pairs; results are joined on ids, so a repeated one would mix two examples.

    **Errors:** `ChiasmError` that names both places of a repeated id, or that `source` holds no example.
    """
    seen: dict[str, str] = {}
    for where, example in found:
        if example.id in seen:
            raise ChiasmError(
                f"read {where}", f"the id `{example.id}` was already used in {seen[example.id]}", "Make ids unique"
            )
        seen[example.id] = where
        yield example
    if not seen:
        raise ChiasmError(f"read {source}", "it holds no example", "Name a source with at least one example")
