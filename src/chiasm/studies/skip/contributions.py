"""What each part of each layer contributes for the rows of a span, and what it costs to measure that.

Leaving a part out is a variant of one walk down the layers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions import Component, Variant, Window, ZeroedBranch
from chiasm.interventions.skips import PERCEPTUAL, SkipSpan
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.pruning.calibrate import span_rows
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.view import ModelView
from chiasm.studies.skip.spec import SkipSpec

_PARTS: dict[str, tuple[Component, ...]] = {
    "ffn": ("mlp",),
    "attention": ("attention",),
    "block": ("attention", "mlp"),
}
_PEERS = 11
_RANDOM_DROPS = 2  # of every draw
_SAMPLE = 15


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
    kl = divergences(outcome)
    untouched = float(outcome.clean.double().mean())
    rows = []
    for k, variant in enumerate(job.variants):
        part, _, layer = variant.name.partition(":")
        measured = {"kl": float(kl[k]), "logprob_skip": float(outcome.logprobs[k].double().mean())}
        place = {"example_id": example.id, "type": example.type, "layer": int(layer), "part": part}
        rows.append(place | measured | {"logprob_clean": untouched})
    return rows


def divergences(outcome: JobResult) -> Float[torch.Tensor, " V"]:
    """KL(untouched || variant) of every variant, mean over the positions read (nat)."""
    assert outcome.full is not None
    clean, variants = outcome.full[0].double(), outcome.full[1:].double()
    # A token that is impossible on both sides adds nothing; inf - inf would make it NaN.
    terms = torch.where(clean.isneginf(), 0.0, clean.exp() * (clean - variants))
    return terms.sum(-1).mean(-1)


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
    span = spec.skipped_span
    encoded = typical(view, [*calibrating, *examples], span, spec.instruction)
    rows = encoded.length - rows_of(encoded, span)[0]
    layers = view.n_layers
    passes = 1 + len(_PARTS) * rows / encoded.length * sum(layers - layer for layer in range(layers)) / layers
    draws = spec.draws if spec.controls else 0
    plans = 1 + (1 + draws) * spec.proposals + (_PEERS + _RANDOM_DROPS * max(draws, 1) if spec.peers else 0)
    return Price(
        variants=len(_PARTS) * layers,
        passes=passes * (2 if spec.controls and spec.baseline is not None else 1),
        calibrating=len(calibrating),
        plans=plans,
        verifying=len(examples),
        operations=prefill_operations(view, encoded.inputs).total,
    )


def typical(view: ModelView, examples: Sequence[Example], span: SkipSpan, instruction: str) -> Encoded:
    """The prompt of median length among the first examples with the span.

    **Errors:** `ChiasmError` if there is none.
    """
    found: list[Encoded] = []
    reason = "there is no example"
    for example in examples:
        if len(found) == _SAMPLE:
            break
        try:
            encoded = view.encode(example, instruction=instruction)
            rows_of(encoded, span)
            found.append(encoded)
        except ExampleError as error:
            reason = str(error)
    if not found:
        todo = "Give others with --data, or name another --span"
        raise ChiasmError(f"skip work on {span} tokens", f"no example can be used ({reason})", todo)
    return sorted(found, key=lambda one: one.length)[len(found) // 2]
