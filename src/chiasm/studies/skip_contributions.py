"""What each part of each layer contributes for the image rows: leaving it out is a variant of one walk."""

from typing import Any

import torch

from chiasm.core.example import Example
from chiasm.interventions import Variant, Window, Zero
from chiasm.interventions.variant import Component
from chiasm.models.encoded import Encoded
from chiasm.models.executors.base import Job, Outcome, Readout

_PARTS: dict[str, tuple[Component, ...]] = {
    "ffn": ("mlp",),
    "attention": ("attention",),
    "block": ("attention", "mlp"),
}


def contribution_job(forced: Encoded, layers: int) -> Job:
    """Leaving out each part of each layer for the image rows, read where the forced answer is foretold."""
    image = tuple(int(p) for p in forced.spans.require("image"))
    variants = tuple(
        Variant(f"{part}:{layer}", tuple(Zero(Window(layer, layer + 1, layer), name, image) for name in components))
        for layer in range(layers)
        for part, components in _PARTS.items()
    )
    last = int(forced.spans.require("last")[-1])
    positions = (last, *(int(p) for p in forced.spans["answer"][:-1]))
    return Job(forced, variants, Readout(positions=positions, tokens=forced.answer_tokens, full=True))


def contribution_rows(example: Example, job: Job, outcome: Outcome) -> list[dict[str, Any]]:
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
