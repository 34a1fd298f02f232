"""What each part of each layer contributes for the rows of a span: leaving it out is a variant of one walk."""

from typing import Any

import torch

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.interventions import Component, Variant, Window, ZeroedBranch
from chiasm.interventions.skips import PERCEPTUAL, SkipSpan
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.pruning.calibrate import span_rows

_PARTS: dict[str, tuple[Component, ...]] = {
    "ffn": ("mlp",),
    "attention": ("attention",),
    "block": ("attention", "mlp"),
}


def rows_of(encoded: Encoded, span: SkipSpan) -> tuple[int, ...]:
    """The positions whose work a skip of `span` leaves out; `text` is everything that is not perceptual.

    **Errors:** `ExampleError` if the example has none.
    """
    if span in PERCEPTUAL and span not in encoded.spans:
        raise ExampleError(f"it has no {span} tokens")
    [marked] = span_rows([encoded], span)
    if not bool(marked.any()):
        raise ExampleError(f"it has no {span} tokens")
    return tuple(marked.nonzero()[:, 0].tolist())


def contribution_job(forced: Encoded, layers: int, span: SkipSpan = "image") -> Job:
    """Leaving out each part of each layer for the rows of `span`, read where the forced answer is foretold."""
    rows = rows_of(forced, span)
    variants = tuple(
        Variant(
            f"{part}:{layer}", tuple(ZeroedBranch(Window(layer, layer + 1, layer), name, rows) for name in components)
        )
        for layer in range(layers)
        for part, components in _PARTS.items()
    )
    last = int(forced.spans.require("last")[-1])
    positions = (last, *(int(p) for p in forced.spans["answer"][:-1]))
    return Job(forced, variants, Readout(positions=positions, tokens=forced.answer_tokens, full=True))


def contribution_rows(example: Example, job: Job, outcome: JobResult) -> list[dict[str, Any]]:
    """Divergence and log-probabilities of every variant, as means over the answer's tokens."""
    assert outcome.full is not None
    clean, variants = outcome.full[0].double(), outcome.full[1:].double()
    # A token that is impossible on both sides adds nothing; inf - inf would make it NaN.
    terms = torch.where(clean.isneginf(), 0.0, clean.exp() * (clean - variants))
    kl = terms.sum(-1).mean(-1)
    rows = []
    for k, variant in enumerate(job.variants):
        part, _, layer = variant.name.partition(":")
        rows.append(
            {
                "example_id": example.id,
                "type": example.type,
                "layer": int(layer),
                "part": part,
                "kl": float(kl[k]),
                "logprob_clean": float(outcome.clean.double().mean()),
                "logprob_skip": float(outcome.logprobs[k].double().mean()),
            }
        )
    return rows
