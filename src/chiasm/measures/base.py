"""The contract of a measure: what it reads, what it keeps, what it costs."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import TOP_LEVEL
from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.streaming import GroupSums, Kept
from chiasm.measures.centres import Centres
from chiasm.models.hooks import SITES
from chiasm.models.observe import Batch, SiteStates
from chiasm.models.view import ModelView

SAMPLED = 9
"""Hidden states that the costly measures read: so many, evenly spread, the first and the last among them."""

RowsByTable = dict[str, list[dict[str, Any]]]


class MeasureCost(NamedTuple):
    """What a measure costs: `operations` per example beside the forward, `bytes` held for any number of examples."""

    operations: float
    bytes: float


class ReadSizes(NamedTuple):
    """What costs depend on. `tokens`: of each span in a typical example; `sampled`: layers read by costly measures."""

    layers: int
    width: int
    inner: int
    vocabulary: int
    tokens: Mapping[str, int]
    sampled: int

    @property
    def read(self) -> int:
        """Tokens read per example and site."""
        return sum(self.tokens.values())


def sampled(layers: int) -> tuple[int, ...]:
    """The hidden states that costly measures read, of a model with so many layers."""
    return tuple(int(k) for k in np.unique(np.linspace(0, layers, SAMPLED).round()))


@dataclass(frozen=True, slots=True)
class MeasureConfig:
    """What measures are made for: spans of a model, and the options of a run.

    `vocabulary_tokens`: tokens per span that are read in words (0: none). `as_released` adds the forms of the released
    code. `inside`: also read inside the blocks; `token_pairs`: all pairs of tokens there too, which is costly. `maps`:
    also lay mean tokens out in a plane.
    `task_of`: the task of an example, for masks by task (none without).
    """

    spans: tuple[str, ...]
    view: ModelView
    centres: Centres
    vocabulary_tokens: int = 64
    as_released: bool = False
    inside: bool = True
    token_pairs: bool = False
    maps: bool = True
    task_of: Mapping[str, str] | None = None
    seed: int = 0

    @property
    def sampled(self) -> tuple[int, ...]:
        """The hidden states that costly measures read."""
        return sampled(self.view.n_layers)


class Measure(ABC):
    """Reads states batch by batch into sums, so that memory does not grow with the number of examples.

    Law: measures fed with parts of the examples and merged give the rows of one that was fed with all, in any order,
    up to rounding. While a batch is on its way values wait in the measure; `end_batch` adds those of valid examples.
    What it keeps beside `sums` it names in `kept`, which is merged, saved and restored in turn.
    """

    name: ClassVar[str]
    # Its place among all measures, which is that of its rows in a table that it shares; equal ones go by their files.
    order: ClassVar[int] = 100
    # Whether it also reads the sites inside the blocks.
    inside: bool = False

    def __init__(self, *kept: Kept) -> None:
        self.sums = GroupSums()
        self.kept: tuple[Kept, ...] = (self.sums, *kept)

    @classmethod
    @abstractmethod
    def for_model(cls, config: MeasureConfig) -> Self | None:
        """The measure as a run takes it; None where its options leave it out."""

    def sites(self) -> frozenset[str]:
        """The sites whose states it needs; `update` is called with no others."""
        return frozenset(SITES) if self.inside else frozenset({"residual"})

    @property
    def needs_inputs(self) -> bool:
        """Whether it also needs what the matrices of every block read (`update_inputs`)."""
        return False

    def update_inputs(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        """What the matrices called `names` of a block read, at the batch's tokens."""
        raise NotImplementedError(f"{self.name} does not read inputs of matrices")

    @abstractmethod
    def cost(self, sizes: ReadSizes) -> MeasureCost:
        """What it costs on a model and examples of these sizes."""

    @abstractmethod
    def update(self, seen: SiteStates) -> None:
        """The states at one site; layers come in order within a batch."""

    @abstractmethod
    def end_batch(self, batch: Batch) -> None:
        """The batch has passed and its invalid examples are known."""

    @abstractmethod
    def tables(self) -> RowsByTable:
        """The rows of its tables, by name."""

    def merge(self, other: Self) -> None:
        """Take in what another measure of the same kind and options has read."""
        for own, more in zip(self.kept, other.kept, strict=True):
            own.merge(more)

    def take_in(self, state: Mapping[str, np.ndarray]) -> None:
        """`merge` with a measure of the same kind and options that gave `state`."""
        for own in self.kept:
            more = copy.deepcopy(own)
            more.restore(state)
            own.merge(more)

    def state(self) -> dict[str, np.ndarray]:
        """All that was read so far, as arrays by name."""
        return {key: array for own in self.kept for key, array in own.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        for own in self.kept:
            own.restore(state)


M = TypeVar("M", bound=Measure)
NamedState = tuple[str, Mapping[str, np.ndarray]]


def join_states(make: Callable[[], M], states: Sequence[NamedState]) -> M:
    """The measure that `make` gives, made for the spans of all `states` (`qualified_span`).

    What several models of one decoder, or one model on several data, have read, as if read at once: a state is that of
    a measure, with the name of its part. What measures keep are sums by span, so rows over pairs of spans
    then cross from part to part: image with video, the text of one data set with that of another, their masks on
    the weights they share.

    Assumption: parts share the decoder, or a cosine between them compares axes that mean different things. Pairs of
    parts are pairs of different examples, also where both have read the same ones. Rows without outlier dimensions
    are left out, since each part leaves out dimensions of its own.
    """
    measures = []
    for name, state in states:
        measure = make()
        kept = {key: value for key, value in state.items() if "no_outliers" not in _split_key(key)[1]}
        measure.restore({_with_part(key, name): value for key, value in kept.items()})
        measures.append(measure)
    for other in measures[1:]:
        measures[0].merge(other)
    return measures[0]


def qualified_span(span: str, part: str) -> str:
    """The name of a span of `part`: `image [photos]`."""
    return f"{span} [{part}]"


def _split_key(key: str) -> tuple[str, list[str], str]:
    kind, _, rest = key.partition(":")
    body, newline, example = rest.partition("\n")
    return kind, body.split("/"), newline + example


def _with_part(key: str, part: str) -> str:
    kind, places, example = _split_key(key)
    named = [qualified_span(p, part) if p.partition("+")[0].partition(".")[0] in TOP_LEVEL else p for p in places]
    return f"{kind}:{'/'.join(named)}{example}"


def interval_columns(e: Estimate, at: tuple[int, ...] = ()) -> dict[str, Any]:
    """Mean, bounds and n of one of an estimate's values, as columns of a table."""
    return {"mean": float(e.mean[at]), "low": bound(e.low[at]), "high": bound(e.high[at]), "n": e.n}


def bound(value: float) -> float | None:
    """A bound of an interval for a table, which holds nothing rather than NaN."""
    return None if np.isnan(value) else float(value)
