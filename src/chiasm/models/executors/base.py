"""The one signature of all executors: how variants of a clean run are computed is interchangeable.

Shape legend: B examples, V variants, T positions of the sequence, P positions read, L layers, D width, N vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.interventions import Tap, Variant
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.view import ModelView


@dataclass(frozen=True, slots=True)
class Readout:
    """Where the output distribution is read, and which tokens are scored there.

    `positions` count from the example's first token, without padding; None means the last one. `tokens` are scored
    at those positions; None means the clean run's own most probable token at each of them. `full` keeps the whole
    vocabulary (for tests and small runs).
    """

    positions: tuple[int, ...] | None = None
    tokens: tuple[int, ...] | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One example with all its variants: what an executor is given."""

    encoded: Encoded
    variants: tuple[Variant, ...]
    readout: Readout = field(default_factory=Readout)
    taps: tuple[Tap, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came out, as log-probabilities in float32 (float64 models: float64), on the CPU.

    `tokens` P: the scored ids. `clean` P and `logprobs` V x P: their log-probabilities without and with each variant.
    `top` V x P: the most probable token under each variant. `proved_zero` V: the change provably cannot reach what is
    read, so `logprobs` equals `clean` exactly. `full` (1 + V) x P x N (the clean run first) if asked for.
    `taps`: by name, (L + 1) x positions x D.
    """

    tokens: Int[Tensor, " P"]
    clean: Float[Tensor, " P"]
    logprobs: Float[Tensor, "V P"]
    top: Int[Tensor, "V P"]
    proved_zero: Int[Tensor, " V"]
    full: Float[Tensor, "K P N"] | None
    taps: dict[str, Float[Tensor, "S n D"]]


class Executor(ABC):
    """Computes variants. All executors agree (law: for every intervention and family, to the stated tolerance)."""

    @abstractmethod
    def run(self, view: ModelView, jobs: Sequence[Job]) -> list[Outcome | ExampleError]:
        """The outcomes of `jobs`, in order. Jobs in one call may share work (questions on one image do).

        A job whose numbers would mean nothing (NaN logits, a row left without keys) gives its `ExampleError` in place
        of an outcome; the others are not touched by it.
        """
