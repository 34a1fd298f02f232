"""What differs from the clean run: changes at positions of one example, in a window of its decoder's layers."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Component = Literal["attention", "mlp"]
Site = Literal["residual", "attention", "mlp"]
"""Where a state is replaced: what a layer is given (the residual stream), or what one of its branches adds to it."""


class Window(NamedTuple):
    """Layers `start .. stop-1`, 0-based. `centre` is the layer it is drawn at."""

    start: int
    stop: int
    centre: int

    def __contains__(self, layer: object) -> bool:
        return isinstance(layer, int) and self.start <= layer < self.stop


def centred(layers: int, width: int) -> tuple[Window, ...]:
    """One window of `width` layers around every layer, clipped at the ends, not shifted.

    Source: Zhang et al. 2025 (Cross-modal Information Flow), section 3 and released code:
    `max(0, l - K//2) .. min(L, l + ceil(K/2))`. An even width leans to the lower layers.
    """
    if width < 1:
        raise ValueError(f"a window has at least one layer, got {width}")
    return tuple(Window(max(0, c - width // 2), min(layers, c + (width + 1) // 2), c) for c in range(layers))


def prefixes(layers: int) -> tuple[Window, ...]:
    """Layers `0 .. l` for every l, drawn at their last layer."""
    return tuple(Window(0, stop, stop - 1) for stop in range(1, layers + 1))


def suffixes(layers: int) -> tuple[Window, ...]:
    """Layers `l .. L-1` for every l, drawn at their first layer."""
    return tuple(Window(start, layers, start) for start in range(layers))


def all_windows(layers: int) -> tuple[Window, ...]:
    """Every contiguous range of layers: L(L+1)/2 windows."""
    return tuple(Window(a, b, (a + b - 1) // 2) for a in range(layers) for b in range(a + 1, layers + 1))


@dataclass(frozen=True, slots=True)
class BlockedAttention:
    """In the layers of `window` the rows `queries` do not attend to the columns `keys`, in `heads` (None: in all).

    A query whose every visible key would be blocked keeps none: executors refuse such a variant.
    """

    window: Window
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    heads: tuple[int, ...] | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        return self.queries


@dataclass(frozen=True, slots=True)
class ZeroedBranch:
    """In the layers of `window` the output of the attention or MLP branch is zero at `positions`.

    The residual stream passes on. Source: Zhang et al. 2025, released code (hooks on o_proj and down_proj).
    """

    window: Window
    component: Component
    positions: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return self.positions


@dataclass(frozen=True, slots=True)
class ZeroedHeads:
    """In the layers of `window` what the attention `heads` give is zero at `positions`, before the output projection.

    All of a head's output goes, whatever it attended to: `BlockedAttention` in a head takes away some of its keys, and
    what it read of the others grows.
    """

    window: Window
    heads: tuple[int, ...]
    positions: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return self.positions


@dataclass(frozen=True, slots=True)
class Patch:
    """In the layers of `window` the state at `site` of `positions` is the donor's at `donor_positions`, one by one.

    `donor`: which of the job's donors. `layer`: the donor's layer (state, for the residual stream), where it is not
    the one at hand (back-patching). In the layers behind the window each row goes on from what it was given.
    Source: Meng et al. 2022, "Locating and Editing Factual Associations in GPT", section 2 (causal tracing).
    """

    window: Window
    site: Site
    positions: tuple[int, ...]
    donor_positions: tuple[int, ...]
    donor: int = 0
    layer: int | None = None

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.donor_positions):
            found = f"{len(self.positions)} positions and {len(self.donor_positions)} of the donor's"
            raise ValueError(f"a patch has as many positions as its donor gives states: {found}")
        if len(set(self.positions)) != len(self.positions):
            raise ValueError("a patch names each of its positions once")

    @property
    def rows(self) -> tuple[int, ...]:
        return self.positions


@dataclass(frozen=True, slots=True)
class AveragedKeys:
    """In the layers of `window` the rows `queries` read, at each of `keys`, what the mean state of `keys` would give.

    The mean is the clean run's residual stream over `keys`, at the layer's input; each key keeps its position. All
    keys can still be attended to (how much each gets may change, since the keys' vectors are averaged too), and only
    their positions distinguish them. `keys` themselves go on unchanged, and so does what other rows read. Where a layer
    mixes tokens without attention, it is given the mean in place of `keys`, and its output at `queries` counts.
    """

    window: Window
    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def __post_init__(self) -> None:
        if not set(self.queries).isdisjoint(self.keys):
            raise ValueError("a row cannot read the mean of positions that it is one of")

    @property
    def rows(self) -> tuple[int, ...]:
        return self.queries


Change = BlockedAttention | ZeroedBranch | ZeroedHeads | AveragedKeys | Patch


@dataclass(frozen=True, slots=True)
class Variant:
    """A set of changes made together. `name` identifies it in results; an empty key set is a no-op on the same path.

    Positions count from the first token of the example, without padding.
    """

    name: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        if not self.changes:
            raise ValueError("a variant has at least one change; a no-op is a BlockedAttention without keys")
        for change in self.changes:
            if not change.rows:
                raise ValueError(f"variant `{self.name}` changes no row")
            if change.window.stop <= change.window.start:
                raise ValueError(
                    f"variant `{self.name}` has an empty window {change.window.start}..{change.window.stop}"
                )
        averaged = any(isinstance(change, AveragedKeys) for change in self.changes)
        if averaged and any(
            isinstance(change, BlockedAttention) and change.heads is not None for change in self.changes
        ):
            raise ValueError(f"variant `{self.name}` averages keys for all heads and blocks keys in some")

    @property
    def start(self) -> int:
        """The first layer at which the variant differs from the clean run."""
        return min(change.window.start for change in self.changes)
