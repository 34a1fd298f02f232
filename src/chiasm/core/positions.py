"""Named sets of positions on the sequence axis."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from chiasm.core.errors import ChiasmError, EmptySpanError
from chiasm.core.spans import PERCEPTUAL, TOP_LEVEL

Positions = np.ndarray  # 1-D int64, sorted, unique


@dataclass(frozen=True, eq=False)
class Spans(Mapping[str, Positions]):
    """Positions by span name for one example of `length` tokens (padding excluded).

    **Errors:** `EmptySpanError` when a known span has no position here; `ChiasmError` for an unknown name.
    """

    length: int
    positions: Mapping[str, Positions]

    def __post_init__(self) -> None:
        clean = {name: np.unique(np.asarray(p, dtype=np.int64)) for name, p in self.positions.items()}
        for name, p in clean.items():
            if len(p) and (p[0] < 0 or p[-1] >= self.length):
                raise ValueError(f"span `{name}` reaches {p[-1]}, outside 0..{self.length - 1}")
        object.__setattr__(self, "positions", MappingProxyType(clean))

    def __getitem__(self, name: str) -> Positions:
        parts = [part.strip() for part in name.split("+")]
        for part in parts:
            if part not in self.positions:
                raise ChiasmError(
                    f"span `{part}`",
                    f"this example has {', '.join(self.positions)}",
                    "Name one of those, or a union `a+b`",
                )
        return np.unique(np.concatenate([self.positions[part] for part in parts]))

    @property
    def perceptual(self) -> Positions:
        """All that an encoder produced."""
        found = [self.positions[name] for name in PERCEPTUAL if name in self.positions]
        return np.unique(concatenate(found))

    def require(self, name: str) -> Positions:
        """The positions of `name`, or `EmptySpanError` if there are none (a cut of nothing shows a false zero)."""
        found = self[name]
        if not len(found):
            raise EmptySpanError(f"span `{name}` is empty in this example")
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and all(part.strip() in self.positions for part in name.split("+"))

    def __iter__(self) -> Iterator[str]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def top_level(self) -> dict[str, Positions]:
        """The spans that partition the sequence, in order, empty ones left out."""
        return {n: self.positions[n] for n in TOP_LEVEL if n in self.positions and len(self.positions[n])}

    def label(self, position: int) -> str:
        """The top-level span that holds `position`."""
        for name, p in self.top_level().items():
            if position in p:
                return name
        raise ValueError(f"position {position} belongs to no top-level span")

    def shifted(self, offset: int, length: int) -> "Spans":
        """The same spans after `offset` positions of left padding in a row of `length` tokens."""
        return Spans(length, {n: p + offset for n, p in self.positions.items()})


def concatenate(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The positions of all `parts`, one after the other; none where there is no part."""
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
