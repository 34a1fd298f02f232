"""What executors are given and give back: one signature, so that how variants are computed is interchangeable.

Shape legend: B examples, V variants, T positions of the sequence, P positions read, L layers, D width, N vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.interventions import Site, Variant
from chiasm.models.encoded import Encoded
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
class StateReadout:
    """Read the clean run at `positions`: the residual stream, states 0..L, or what a branch adds in layers 0..L-1.

    State 0 are the embeddings, state k is the output of block k-1; state L is read before the final norm, as the
    others are.
    """

    name: str
    positions: tuple[int, ...]
    site: Site = "residual"


@dataclass(frozen=True, slots=True, eq=False)
class RecordedStates:
    """A donor whose states were read before: by site, L+1 x n x D (residual stream) or L x n x D (branches).

    The mean over examples, another layer of the same run, or a donor that no batch can hold beside the example. A
    patch's `donor_positions` count its n.
    """

    states: Mapping[Site, Float[Tensor, "L n D"]]


Donor = Encoded | RecordedStates
"""Where a patch takes its states from: an example that is computed beside the patched one, or states that are given."""


@dataclass(frozen=True, slots=True)
class Job:
    """One example with all its variants: what an executor is given. `donors`: what its patches take states from."""

    encoded: Encoded
    variants: tuple[Variant, ...]
    readout: Readout = field(default_factory=Readout)
    states: tuple[StateReadout, ...] = ()
    donors: tuple[Donor, ...] = ()

    def read_positions(self) -> Int[Tensor, " P"]:
        """The positions at which the output is read; without a choice, the last of the prompt."""
        if self.readout.positions is not None:
            return torch.tensor(self.readout.positions, dtype=torch.long)
        return torch.tensor([int(self.encoded.spans.require("last")[-1])], dtype=torch.long)


@dataclass(frozen=True, slots=True, eq=False)
class JobResult:
    """What came out, as log-probabilities in float32 (float64 models: float64), on the CPU.

    `tokens` P: the scored ids. `clean` P and `logprobs` V x P: their log-probabilities without and with each variant.
    `top` V x P: the most probable token under each variant. `proved_zero` V: the change provably cannot reach what is
    read, so `logprobs` equals `clean` exactly. `full` (1 + V) x P x N (the clean run first) if asked for.
    `states`: by name, (L + 1) x positions x D (of a branch: L x positions x D).
    """

    tokens: Int[Tensor, " P"]
    clean: Float[Tensor, " P"]
    logprobs: Float[Tensor, "V P"]
    top: Int[Tensor, "V P"]
    proved_zero: Int[Tensor, " V"]
    full: Float[Tensor, "K P N"] | None
    states: dict[str, Float[Tensor, "S n D"]]


class Executor(ABC):
    """Computes variants. All executors agree (law: for every intervention and family, to the stated tolerance)."""

    @abstractmethod
    def run(self, view: ModelView, jobs: Sequence[Job]) -> list[JobResult | ExampleError]:
        """The results of `jobs`, in order. Jobs in one call may share work (questions on one image do).

        A job whose numbers would mean nothing (NaN logits, a row left without keys) gives its `ExampleError` in place
        of a result; the others are not touched by it.
        """


def log_probabilities(logits: Float[Tensor, "*n N"]) -> Float[Tensor, "*n N"]:
    """Log-softmax over the vocabulary in at least float32, whatever the model computes in."""
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


class JobReader:
    """Takes what a job asks for from log-probabilities as they come: whole vocabularies are kept only if asked for.

    `clean` is the clean run at the positions read. All executors read through it, so that they can differ only in how
    logits come about.

    **Errors:** `ExampleError` if it holds NaN or infinite values: nothing measured on it means anything.
    """

    def __init__(self, job: Job, clean: Float[Tensor, "P N"]) -> None:
        if not bool(torch.isfinite(clean.max(dim=-1).values).all()) or bool(torch.isnan(clean).any()):
            raise ExampleError("the model gives NaN or infinite logits for this example")
        self._job = job
        if job.readout.tokens is None:
            self._tokens = clean.argmax(dim=-1)
        else:
            self._tokens = torch.tensor(job.readout.tokens, dtype=torch.long, device=clean.device)
        self._clean = self._read(clean)
        self._found: dict[int, _ReadRun] = {}

    def take(self, variant: int, rows: Float[Tensor, "P N"]) -> None:
        """The log-probabilities of the job's variant number `variant`."""
        self._found[variant] = self._read(rows)

    def result(self, states: dict[str, Tensor]) -> JobResult:
        """All that was taken; variants that were not are proved to equal the clean run."""
        variants = range(len(self._job.variants))
        reads = [self._found.get(v, self._clean) for v in variants]
        empty = self._tokens.new_zeros((0, len(self._tokens)))
        full = [read.full for read in (self._clean, *reads) if read.full is not None]
        return JobResult(
            tokens=self._tokens.cpu(),
            clean=self._clean.scored.cpu(),
            logprobs=torch.stack([r.scored for r in reads]).cpu() if reads else empty.to(self._clean.scored).cpu(),
            top=torch.stack([r.top for r in reads]).cpu() if reads else empty.cpu(),
            proved_zero=torch.tensor([v not in self._found for v in variants], dtype=torch.bool),
            full=torch.stack(full) if self._job.readout.full else None,
            states=states,
        )

    def _read(self, rows: Float[Tensor, "P N"]) -> "_ReadRun":
        scored = rows.gather(-1, self._tokens[:, None]).squeeze(-1)
        return _ReadRun(scored, rows.argmax(dim=-1), rows.cpu() if self._job.readout.full else None)


def require_numbers(job: Job, result: JobResult) -> None:
    """Refuse an example that overflows under a variant alone, as half precision can.

    **Errors:** `ExampleError` with the variant's name.
    """
    spoiled = torch.isnan(result.logprobs).any(dim=-1).nonzero()
    if len(spoiled):
        name = job.variants[int(spoiled[0])].name
        raise ExampleError(f"the model gives NaN or infinite logits for this example under `{name}`")


class _ReadRun(NamedTuple):
    """What is kept of one run."""

    scored: Float[Tensor, " P"]
    top: Int[Tensor, " P"]
    full: Float[Tensor, "P N"] | None
