"""What a skipping run will cost, said before it starts."""

from collections.abc import Sequence
from typing import NamedTuple

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.view import ModelView
from chiasm.studies.skip.contributions import rows_of
from chiasm.studies.skip.spec import SHARES, SkipSpec

_PARTS = 3  # feed-forward, attention, both
_PEERS = 11
_RANDOM_DROPS = 2  # of every draw
_SAMPLE = 15


class Price(NamedTuple):
    """`passes`: clean passes per calibration example, at the least; `plans`: plans whose answers are generated, at
    most; `operations`: of one clean pass of a typical prompt."""

    variants: int
    passes: float
    calibrating: int
    plans: int
    verifying: int
    operations: int

    def __str__(self) -> str:
        return (
            f"Price: {self.calibrating} examples x {self.variants} variants (about {self.passes:.0f} clean passes "
            f"each), then answers to {self.verifying} examples under up to {self.plans} plans; a clean pass is "
            f"{self.operations / 1e9:.3g} GFLOP."
        )


def price(spec: SkipSpec, view: ModelView, calibrating: Sequence[Example], examples: Sequence[Example]) -> Price:
    """The work ahead, from one typical prompt.

    A variant joins at its layer, with the rows from the first token of the span on; skipping layer l of L costs
    (L - l) / L of these rows' share of a pass.
    """
    encoded = typical(view, spec, [*calibrating, *examples])
    rows = encoded.length - rows_of(encoded, spec.span)[0]
    layers = view.n_layers
    passes = 1 + _PARTS * rows / encoded.length * sum(layers - layer for layer in range(layers)) / layers
    draws = spec.draws if spec.controls else 0
    plans = 1 + (1 + draws) * len(SHARES) + (_PEERS + _RANDOM_DROPS * max(draws, 1) if spec.peers else 0)
    return Price(
        variants=_PARTS * layers,
        passes=passes * (2 if spec.controls and spec.twin else 1),
        calibrating=len(calibrating),
        plans=plans,
        verifying=len(examples),
        operations=prefill_operations(view, encoded.inputs).total,
    )


def typical(view: ModelView, spec: SkipSpec, examples: Sequence[Example]) -> Encoded:
    """The prompt of median length among the first examples with the span.

    **Errors:** `ChiasmError` if there is none.
    """
    found: list[Encoded] = []
    reason = "there is no example"
    for example in examples:
        if len(found) == _SAMPLE:
            break
        try:
            encoded = view.encode(example, instruction=spec.instruction)
            rows_of(encoded, spec.span)
            found.append(encoded)
        except ExampleError as error:
            reason = str(error)
    if not found:
        todo = "Give others with --data, or name another --span"
        raise ChiasmError(f"skip work on {spec.span} tokens", f"no example can be used ({reason})", todo)
    return sorted(found, key=lambda one: one.length)[len(found) // 2]
