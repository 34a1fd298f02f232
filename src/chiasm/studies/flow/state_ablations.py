"""The variants of state ablations in one example, with what stands beside them: mean and resample ablation of spans.

Source: Wang et al. 2022, "Interpretability in the Wild" (mean ablation); Chan et al. 2022, "Causal Scrubbing"
(resample ablation).
"""

import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, final

import numpy as np

from chiasm.core.errors import EmptySpanError, ExampleError
from chiasm.core.example import Example
from chiasm.core.positions import Spans
from chiasm.interventions import BlockedAttention, Patch, StateAblation, Variant, Window, replaced
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Donor
from chiasm.models.view import ModelView
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.state_means import StateMeans, others
from chiasm.studies.flow.swaps import Donors
from chiasm.studies.flow.tables import DOSES, FEWEST_DOSED, KNOCKOUT, SIZE_MATCHED, dose

_TRIED: Final = 8
"""Examples looked at for a span of equally many tokens before it is left out."""


@final
class StateSources:
    """Where the states come from that one example is given: means over examples, and other examples.

    The other example is the one whose image the example is shown in the swapped control, if its span has as many
    tokens; else the next ones on the same ring. What was encoded for one span serves the others too.
    """

    def __init__(
        self, means: StateMeans | None, view: ModelView, example: Example, donors: Donors, instruction: str
    ) -> None:
        self.means = means
        self._examples = iter(donors.several(example, _TRIED) if example.media else ())
        self._encode = partial(view.encode, instruction=instruction)
        self._encoded: list[Encoded] = []

    def mean_place(self, span: str, *, elsewhere: bool) -> int:
        """Where the mean over examples stands in `means.states`.

        **Errors:** `EmptySpanError` where no example has it.
        """
        if self.means is None or not self.means.counts.get(span):
            raise EmptySpanError(f"no example has `{span}` and anything beside it to take the mean of")
        return self.means.place(span, elsewhere=elsewhere)

    def other(self, span: str, count: int) -> Encoded:
        """Another example, whose `span` has `count` tokens as well.

        **Errors:** `ExampleError` if none of the first few has.
        """
        seen = []
        for one in self._others():
            seen.append(len(one.spans[span]))
            if seen[-1] == count:
                return one
        found = f"the {len(seen)} others looked at have {', '.join(map(str, sorted(set(seen))))}"
        raise EmptySpanError(f"no other example has `{span}` of {count} tokens ({found if seen else 'there is none'})")

    def _others(self) -> Iterator[Encoded]:
        yield from self._encoded
        for example in self._examples:
            try:
                encoded = self._encode(example)
            except ExampleError:
                continue
            self._encoded.append(encoded)
            yield encoded


class PlannedChange(NamedTuple):
    """One variant of an ablation: the table and columns of its rows. `control` columns are empty for the ablation."""

    variant: Variant
    table: str
    window: Window
    columns: dict[str, Any]


def state_variants(
    spec: FlowSpec,
    ablation: StateAblation,
    windows: Sequence[Window],
    layers: int,
    example: Example,
    encoded: Encoded,
    sources: StateSources,
    donors: list[Donor],
    *,
    causal: bool,
    attending: Sequence[bool],
) -> Iterator[PlannedChange]:
    """The ablation in every window, and with controls as many random positions (or growing shares of the span, where it
    leaves too few others), and the knockout of the span from all rows behind it. What states are taken from is
    appended to the `donors` of the example's job.

    `attending`: of which layers positions attend to each other, so that a knockout takes anything away.

    **Errors:** `EmptySpanError` for a span that is empty here, that nothing reads, or that no donor has so many of.
    """
    own = encoded.spans.require(ablation.span)
    queries = _readers(encoded, own, causal)
    if not len(queries):
        raise EmptySpanError(f"no position reads `{ablation.span}`")
    restored = _place(donors, encoded) if any(window.stop < layers for window in windows) else None
    change = _Replacing(ablation, encoded.spans, sources, donors, restored, layers)
    text, columns = ablation.text, {"cut": ablation.text}
    whole = change.of(own)
    for window in windows:
        yield PlannedChange(Variant(text, whole(window)), "effects", window, columns)
    if not spec.controls:
        return
    for control, sample, positions in _random(spec, ablation, example, own, others(encoded.spans, ablation.span)):
        made = change.elsewhere(positions) if control == SIZE_MATCHED else change.of(positions)
        beside = columns | {"control": control, "sample": sample}
        for window in windows:
            yield PlannedChange(Variant(f"{text} {control}", made(window)), "controls", window, beside)
    beside = columns | {"control": KNOCKOUT, "sample": 0}
    keys = tuple(own.tolist())
    for window in windows:
        if any(attending[window.start : window.stop]):
            closed = BlockedAttention(window, tuple(queries.tolist()), keys)
            yield PlannedChange(Variant(f"{text} {KNOCKOUT}", (closed,)), "controls", window, beside)


class _Replacing(NamedTuple):
    """Makes the changes of one ablation in one example, at the span or elsewhere."""

    ablation: StateAblation
    spans: Spans
    sources: StateSources
    donors: list[Donor]
    restored: int | None
    layers: int

    def of(self, positions: np.ndarray) -> "_Patches":
        """At some or all of the span."""
        own = self.spans[self.ablation.span]
        if self.ablation.method == "mean":
            return self._mean(positions, elsewhere=False)
        other = self.sources.other(self.ablation.span, len(own))
        theirs = other.spans[self.ablation.span][np.searchsorted(own, positions)]
        return self._patches(positions, theirs, _place(self.donors, other))

    def elsewhere(self, positions: np.ndarray) -> "_Patches":
        """At positions that are not in the span; of another example those at the same share of its own such ones."""
        span = self.ablation.span
        if self.ablation.method == "mean":
            return self._mean(positions, elsewhere=True)
        other = self.sources.other(span, len(self.spans[span]))
        mine, theirs = others(self.spans, span), others(other.spans, span)
        if not len(theirs):
            theirs = other.spans[span]
        share = np.searchsorted(mine, positions) / max(1, len(mine) - 1)
        at = theirs[np.rint(share * (len(theirs) - 1)).astype(int)]
        return self._patches(positions, at, _place(self.donors, other))

    def _mean(self, positions: np.ndarray, *, elsewhere: bool) -> "_Patches":
        place = self.sources.mean_place(self.ablation.span, elsewhere=elsewhere)
        assert self.sources.means is not None
        donor = _place(self.donors, self.sources.means.states)
        return self._patches(positions, np.full(len(positions), place), donor)

    def _patches(self, positions: np.ndarray, theirs: np.ndarray, donor: int) -> "_Patches":
        at, given = tuple(positions.tolist()), tuple(theirs.tolist())
        return _Patches(at, given, donor, self.restored, self.layers)


class _Patches(NamedTuple):
    """The changes in any window."""

    positions: tuple[int, ...]
    theirs: tuple[int, ...]
    donor: int
    own: int | None
    layers: int

    def __call__(self, window: Window) -> tuple[Patch, ...]:
        return replaced(window, self.layers, self.positions, self.theirs, donor=self.donor, own=self.own)


def _place(donors: list[Donor], donor: Donor) -> int:
    """The number of a donor of the job, which is appended where it is not there yet."""
    for place, one in enumerate(donors):
        if one is donor:
            return place
    donors.append(donor)
    return len(donors) - 1


def _readers(encoded: Encoded, own: np.ndarray, causal: bool) -> np.ndarray:
    """All positions outside of the span that can read it: in a causal decoder those behind its first one."""
    first = int(own.min()) + 1 if causal else 0
    return np.setdiff1d(np.arange(first, encoded.length), own)


def _random(
    spec: FlowSpec, ablation: StateAblation, example: Example, own: np.ndarray, rest: np.ndarray
) -> Iterator[tuple[str, int, np.ndarray]]:
    """(control, sample, positions), drawn by seed, example and ablation alone."""
    for sample in range(spec.draws):
        key = [spec.seed, zlib.crc32(example.id.encode()), zlib.crc32(ablation.text.encode()), sample]
        rng = np.random.default_rng(key)
        if len(rest) >= len(own):
            yield SIZE_MATCHED, sample, np.sort(rng.choice(rest, len(own), replace=False))
            continue
        order = rng.permutation(own)
        for share in DOSES if len(own) >= FEWEST_DOSED else ():
            yield dose(share), sample, np.sort(order[: round(share * len(own))])
