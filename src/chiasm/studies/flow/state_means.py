"""The mean state of a span over the examples of a run, layer by layer: what a mean ablation puts in place of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, require_usable
from chiasm.core.positions import Spans
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import only_this_example
from chiasm.models.executors.jobs import Executor, Job, RecordedStates, StateReadout
from chiasm.models.view import ModelView

_BYTES = 1 << 28
"""Of states that are read at once."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class StateMeans:
    """One vector per span and state 0..L: the mean over the span's tokens, then over the examples that have it.

    So spans need not be equally long, and every example weighs the same. Beside the mean of a span stands that of all
    other positions (without the first and the last one), for the control that replaces as many of those. `states`:
    donors of a patch, whose `donor_positions` are `place`; `counts`: examples behind each span.
    """

    states: RecordedStates
    spans: tuple[str, ...]
    counts: dict[str, int]

    def place(self, span: str, *, elsewhere: bool = False) -> int:
        """Where the mean of `span`, or of all that is not in it, stands among the states."""
        return 2 * self.spans.index(span) + elsewhere


def others(spans: Spans, span: str) -> np.ndarray:
    """All positions of the prompt that are not in `span`, without the first one, the usual attention sink, and the last
    one, where the answer is read.
    """
    return np.setdiff1d(np.arange(1, int(spans["last"][-1])), spans[span])


def mean_states(
    view: ModelView, examples: Sequence[Example], spans: Sequence[str], executor: Executor, *, instruction: str
) -> StateMeans:
    """The means of `spans` over `examples`, in one clean pass each; those that cannot be used are passed over.

    Sums are taken in float64, so that the order of the examples changes nothing that float32 can hold.
    """
    sums: dict[tuple[str, bool], Float[Tensor, "S D"]] = {}
    counts = dict.fromkeys(spans, 0)
    for encoded in _batches(view, examples, instruction):
        jobs = [Job(one, (), states=_reads(one, spans)) for one in encoded]
        for result in executor.run(view, jobs):
            if isinstance(result, ExampleError):
                continue
            for span in spans:
                for elsewhere in (False, True):
                    states = result.states.get(_name(span, elsewhere))
                    if states is not None:
                        mean = states.to(torch.float64).mean(dim=1).cpu()
                        sums[span, elsewhere] = sums.get((span, elsewhere), 0) + mean
                counts[span] += _name(span, False) in result.states
    size = next(iter(sums.values())).shape if sums else (view.n_layers + 1, 1)
    means = [
        sums.get((span, elsewhere), torch.full(size, torch.nan, dtype=torch.float64)) / max(1, counts[span])
        for span in spans
        for elsewhere in (False, True)
    ]
    states = torch.stack(means, dim=1).to(torch.promote_types(view.dtype, torch.float32))
    return StateMeans(RecordedStates({"residual": states}), tuple(spans), counts)


def _reads(encoded: Encoded, spans: Sequence[str]) -> tuple[StateReadout, ...]:
    """In an example that has both the span and something beside it: the two means are over the same examples."""
    found = []
    for span in spans:
        own, rest = encoded.spans[span], others(encoded.spans, span)
        if len(own) and len(rest):
            found += [StateReadout(_name(span, False), tuple(own.tolist()))]
            found += [StateReadout(_name(span, True), tuple(rest.tolist()))]
    return tuple(found)


def _name(span: str, elsewhere: bool) -> str:
    return f"not {span}" if elsewhere else span


def _batches(view: ModelView, examples: Sequence[Example], instruction: str) -> Iterator[list[Encoded]]:
    """The examples encoded, as many at once as the states of have room."""
    batch: list[Encoded] = []
    for example in examples:
        try:
            require_usable(example)
            with only_this_example():
                batch.append(view.encode(example, instruction=instruction))
        except ExampleError:
            continue
        each = 4 * 2 * (view.n_layers + 1) * batch[-1].length * view.width
        if (len(batch) + 1) * each > _BYTES:
            yield batch
            batch = []
    if batch:
        yield batch
