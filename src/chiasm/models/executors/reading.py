"""From logits to outcomes: shared by all executors, so that they can differ only in how logits come about."""

import torch
from jaxtyping import Bool, Float, Int
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


def outcome(
    job: Job, rows: Float[Tensor, "K P N"], proved_zero: Bool[Tensor, " V"], taps: dict[str, Tensor]
) -> Outcome:
    """The outcome of a job from log-probabilities, clean first, then every variant (K = 1 + V).

    **Errors:** `ExampleError` if the clean run gives NaN or infinite values: nothing measured on it means anything.
    """
    clean = rows[0]
    if not bool(torch.isfinite(clean.max(dim=-1).values).all()) or bool(torch.isnan(clean).any()):
        raise ExampleError("the model gives NaN or infinite logits for this example")
    if job.readout.tokens is None:
        tokens = clean.argmax(dim=-1)
    else:
        tokens = torch.tensor(job.readout.tokens, dtype=torch.long, device=rows.device)
    scored = rows.gather(-1, tokens[None, :, None].expand(rows.shape[0], -1, 1)).squeeze(-1)
    return Outcome(
        tokens=tokens.cpu(),
        clean=scored[0].cpu(),
        logprobs=scored[1:].cpu(),
        top=rows[1:].argmax(dim=-1).cpu(),
        proved_zero=proved_zero.cpu(),
        full=rows.cpu() if job.readout.full else None,
        taps=taps,
    )
