"""How far rounding alone moves log-probabilities, and so how far two ways to one number may lie apart."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

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

# Half of what effects in float32 may be off by (1e-3 nat on average, 1e-2 at most): an effect is a difference of two.
_TF32_MEAN, _TF32_QUANTILE = 5e-4, 5e-3
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
        return TOLERANCE[view.dtype] + (_MARGIN * _TF32_QUANTILE if view.precision.tf32 else 0.0)
    question = ("rounding", view.precision)
    known = view.remembered.get(question)
    if known is None and inputs is not None and Precision.of(view.model).raised:
        known = _MARGIN * rounding(view, inputs) + TOLERANCE[torch.float32]
        view.remembered.put(question, known)
    return TOLERANCE[view.dtype] if known is None else known


def rounding(view: ModelView, inputs: Mapping[str, Any]) -> float:
    """The 99th percentile of |difference in log-probability| (nat) between `view` as it is and raised to float32.

    Over the whole vocabulary, at the last 64 positions: an answer that a cut has made improbable rounds like any
    other improbable token.
    """
    return _distance(view, view.in_precision(Precision.of(view.model)), inputs).quantile


class Distance(NamedTuple):
    """How far log-probabilities (nat) of two ways to compute lie apart: on average, and the 99th percentile."""

    mean: float
    quantile: float


def tf32_distance(view: ModelView, inputs: Mapping[str, Any]) -> Distance:
    """What rounding the factors of matrix products to TF32 changes on a GPU."""
    return _distance(view.in_precision(view.precision.with_tf32()), view, inputs)


def with_tf32(
    view: ModelView,
    inputs: Mapping[str, Any],
    *,
    measured: Callable[[ModelView, Mapping[str, Any]], Distance] = tf32_distance,
) -> tuple[ModelView, Distance]:
    """`view` with TF32 products if they are `measured` to be accurate enough on `inputs`, else as it is.

    Half-precision weights are TF32 numbers already: of each product only the activations are rounded.
    """
    off = measured(view, inputs)
    exact = off.mean <= _TF32_MEAN and off.quantile <= _TF32_QUANTILE
    return (view.in_precision(view.precision.with_tf32()) if exact else view), off


@torch.no_grad()
def _distance(one: ModelView, other: ModelView, inputs: Mapping[str, Any]) -> Distance:
    off = (_logprobs(one, inputs) - _logprobs(other, inputs)).abs().flatten()
    return Distance(float(off.mean()), float(off[:: -(-len(off) // _MOST)].float().quantile(_QUANTILE)))


def _logprobs(view: ModelView, inputs: Mapping[str, Any]) -> Float[Tensor, "T N"]:
    with view.readable_attention():
        keep = keep_logits(view, slice_to=_POSITIONS)
        logits = view.model(**view.cast(inputs), **keep, use_cache=False).logits[0]
    return log_probabilities(logits[-_POSITIONS:])
