"""Sets of keys as text: `0-5,7`."""

from collections.abc import Iterable


def to_ranges(keys: Iterable[int]) -> str:
    """The keys, ascending, those that follow each other as one range."""
    found: list[list[int]] = []
    for key in sorted(keys):
        if found and found[-1][1] == key - 1:
            found[-1][1] = key
        else:
            found.append([key, key])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def from_ranges(text: str | Iterable[int]) -> set[int]:
    """The keys of `to_ranges`, or of a list of them as earlier versions wrote it."""
    if not isinstance(text, str):
        return set(text)
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
