"""From logits to outcomes: shared by all executors, so that they can differ only in how logits come about."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.models.executors.base import Job, Outcome


def read_positions(job: Job) -> Int[Tensor, " P"]:
    """The positions a job reads; without a choice, the last of the prompt."""
    if job.readout.positions is not None:
        return torch.tensor(job.readout.positions, dtype=torch.long)
    return torch.tensor([int(job.encoded.spans.require("last")[-1])], dtype=torch.long)


def log_probabilities(logits: Float[Tensor, "*n N"]) -> Float[Tensor, "*n N"]:
    """Log-softmax over the vocabulary in at least float32, whatever the model computes in."""
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


class Reader:
    """Takes what a job asks for from log-probabilities as they come: whole vocabularies are kept only if asked for.

    `clean` is the clean run at the positions read.

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
        self._found: dict[int, _Read] = {}

    def take(self, variant: int, rows: Float[Tensor, "P N"]) -> None:
        """The log-probabilities of the job's variant number `variant`."""
        self._found[variant] = self._read(rows)

    def outcome(self, taps: dict[str, Tensor]) -> Outcome:
        """All that was taken; variants that were not are proved to equal the clean run."""
        variants = range(len(self._job.variants))
        reads = [self._found.get(v, self._clean) for v in variants]
        empty = self._tokens.new_zeros((0, len(self._tokens)))
        full = [read.full for read in (self._clean, *reads) if read.full is not None]
        return Outcome(
            tokens=self._tokens.cpu(),
            clean=self._clean.scored.cpu(),
            logprobs=torch.stack([r.scored for r in reads]).cpu() if reads else empty.to(self._clean.scored).cpu(),
            top=torch.stack([r.top for r in reads]).cpu() if reads else empty.cpu(),
            proved_zero=torch.tensor([v not in self._found for v in variants], dtype=torch.bool),
            full=torch.stack(full) if self._job.readout.full else None,
            taps=taps,
        )

    def _read(self, rows: Float[Tensor, "P N"]) -> "_Read":
        scored = rows.gather(-1, self._tokens[:, None]).squeeze(-1)
        return _Read(scored, rows.argmax(dim=-1), rows.cpu() if self._job.readout.full else None)


class _Read(NamedTuple):
    """What is kept of one run."""

    scored: Float[Tensor, " P"]
    top: Int[Tensor, " P"]
    full: Float[Tensor, "P N"] | None
