"""How far rounding alone moves log-probabilities, and so how far two ways to one number may lie apart."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.models.executors.jobs import log_probabilities
from chiasm.models.frame import keep_logits
from chiasm.models.precision import Precision
from chiasm.models.view import ModelView

TOLERANCE: Final = {torch.float64: 1e-5, torch.float32: 2e-4, torch.float16: 6e-2, torch.bfloat16: 0.25}
"""Largest difference in log-probability that rounding explains. float64 models still compute norms and rotary
embeddings in float32. Those of half precision stand in for a measurement where none can be made (quantised weights)."""

_TF32 = 2e-2
_MARGIN = 2.0  # both ways round: of normal errors, one comparison in millions is beyond it
_POSITIONS = 64
_QUANTILE = 0.99
_MOST = 1 << 20  # numbers that a quantile is taken of


def allowance(view: ModelView, inputs: Mapping[str, Any] | None = None) -> float:
    """Largest difference in log-probability (nat) that rounding explains on this model.

    Where it computes in half precision, as it is served, that depends on the model: it is measured on `inputs`, once
    for its weights, as twice the 99th percentile of what computing in float32 with the same weights changes.
    Without `inputs`, what was measured before holds.
    """
    if not view.precision.half:
        return _TF32 if view.precision.tf32 else TOLERANCE[view.dtype]
    question = ("rounding", view.precision)
    known = view.remembered.get(question)
    if known is None and inputs is not None and Precision.of(view.model).raised:
        known = _MARGIN * rounding(view, inputs) + TOLERANCE[torch.float32]
        view.remembered.put(question, known)
    return TOLERANCE[view.dtype] if known is None else known


@torch.no_grad()
def rounding(view: ModelView, inputs: Mapping[str, Any]) -> float:
    """The 99th percentile of |difference in log-probability| (nat) between `view` as it is and raised to float32.

    Over the whole vocabulary, at the last 64 positions: an answer that a cut has made improbable rounds like any
    other improbable token.
    """
    raised = view.in_precision(Precision.of(view.model))
    off = (_logprobs(view, inputs) - _logprobs(raised, inputs)).abs().flatten()
    return float(off[:: -(-len(off) // _MOST)].float().quantile(_QUANTILE))


def _logprobs(view: ModelView, inputs: Mapping[str, Any]) -> Float[Tensor, "T N"]:
    with view.readable_attention():
        keep = keep_logits(view, slice_to=_POSITIONS)
        logits = view.model(**view.cast(inputs), **keep, use_cache=False).logits[0]
    return log_probabilities(logits[-_POSITIONS:])
