"""A variant is a clean run with changes; a tap is a place where the clean run is read."""

from dataclasses import dataclass
from typing import Literal

from chiasm.interventions.windows import Window

Component = Literal["attention", "mlp"]


@dataclass(frozen=True, slots=True)
class KnockOut:
    """In the layers of `window` the rows `queries` do not attend to the columns `keys` (all heads).

    A query whose every visible key would be blocked keeps none: executors refuse such a variant.
    """

    window: Window
    queries: tuple[int, ...]
    keys: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return self.queries


@dataclass(frozen=True, slots=True)
class Zero:
    """In the layers of `window` the output of the attention or MLP branch is zero at `positions`.

    The residual stream passes on. Source: Zhang et al. 2025, released code (hooks on o_proj and down_proj).
    """

    window: Window
    component: Component
    positions: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return self.positions


Change = KnockOut | Zero


@dataclass(frozen=True, slots=True)
class Variant:
    """A set of changes made together. `name` identifies it in results; an empty key set is a no-op on the same path.

    Positions count from the first token of the example, without padding.
    """

    name: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        if not self.changes:
            raise ValueError("a variant has at least one change; a no-op is a KnockOut without keys")
        for change in self.changes:
            if not change.rows:
                raise ValueError(f"variant `{self.name}` changes no row")
            if change.window.stop <= change.window.start:
                raise ValueError(
                    f"variant `{self.name}` has an empty window {change.window.start}..{change.window.stop}"
                )

    @property
    def start(self) -> int:
        """The first layer at which the variant differs from the clean run."""
        return min(change.window.start for change in self.changes)

    @property
    def first_row(self) -> int:
        """The lowest position that any change touches."""
        return min(min(change.rows) for change in self.changes)


@dataclass(frozen=True, slots=True)
class Tap:
    """Read the residual stream of the clean run: states 0..L (0 = embeddings, k = output of block k-1) at `positions`.

    State L is read before the final norm, as the others are.
    """

    name: str
    positions: tuple[int, ...]
