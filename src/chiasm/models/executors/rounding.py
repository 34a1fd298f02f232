"""How far rounding alone moves log-probabilities, and so how far two ways to one number may lie apart."""

import math
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
_MARGIN = 2.0  # of two ways that both round, each is off by as much
_POSITIONS = 64
_QUANTILE = 0.99
_MOST = 1 << 20  # numbers that a quantile is taken of


_PLAIN = 20.0
"""Log-probabilities (nat) down to minus this, a probability of 2e-9, are compared as they are."""


def largest_difference(ours: Float[Tensor, "..."], plain: Float[Tensor, "..."]) -> float:
    """The largest difference of two ways to one set of log-probabilities (nat); NaN where either has one.

    Of a token at -250 nat the logits are as large, and round by as much more: beyond 20 nat a difference counts in
    proportion to the log-probability.
    """
    return float(((ours - plain).abs() / (plain.abs() / _PLAIN).clamp(min=1.0)).max())


class Distance(NamedTuple):
    """How far log-probabilities (nat) of two ways to compute lie apart: on average, and the 99th percentile.

    Infinite where one of them gives no numbers at all.
    """

    mean: float
    quantile: float


def allowance(view: ModelView, inputs: Mapping[str, Any]) -> float:
    """Largest difference in log-probability (nat) that rounding explains on this model.

    Where it rounds more than float32 does (half precision as it is served, TF32), that depends on the model: it is
    twice the 99th percentile of what was measured on `inputs`, once for its weights.
    """
    exact = Precision.of(view.model)
    if view.precision == exact or exact.half:
        return TOLERANCE[view.dtype]
    found = rounding(view, inputs).quantile
    return _MARGIN * found + TOLERANCE[torch.float32] if math.isfinite(found) else TOLERANCE[view.dtype]


def rounding(view: ModelView, inputs: Mapping[str, Any]) -> Distance:
    """How far `view` is off from computing in float32 with the same weights; kept with the view.

    Over the whole vocabulary, at the last 64 positions: an answer that a cut has made improbable rounds like any
    other improbable token.
    """
    question = ("rounding", view.precision)
    known = view.remembered.get(question)
    if known is None:
        known = _distance(view, view.in_precision(Precision.of(view.model)), inputs)
        if math.isfinite(known.quantile):
            view.remembered.put(question, known)
    return known


def with_tf32(
    view: ModelView,
    inputs: Mapping[str, Any],
    *,
    measured: Callable[[ModelView, Mapping[str, Any]], Distance] = rounding,
) -> tuple[ModelView, Distance]:
    """`view` with TF32 products if they are `measured` to be accurate enough on `inputs`, else as it is.

    Half-precision weights are TF32 numbers already: of each product only the activations are rounded.
    """
    fast = view.in_precision(view.precision.with_tf32())
    off = measured(fast, inputs)
    exact = off.mean <= _TF32_MEAN and off.quantile <= _TF32_QUANTILE
    return (fast if exact else view), off


@torch.no_grad()
def _distance(one: ModelView, other: ModelView, inputs: Mapping[str, Any]) -> Distance:
    off = (_logprobs(one, inputs) - _logprobs(other, inputs)).abs()
    off = off[off.isfinite()]
    if not len(off):
        return Distance(math.inf, math.inf)
    return Distance(float(off.mean()), float(off[:: -(-len(off) // _MOST)].float().quantile(_QUANTILE)))


def _logprobs(view: ModelView, inputs: Mapping[str, Any]) -> Float[Tensor, "T N"]:
    with view.readable_attention():
        keep = keep_logits(view, slice_to=_POSITIONS)
        logits = view.model(**view.cast(inputs), **keep, use_cache=False).logits[0]
    return log_probabilities(logits[-_POSITIONS:])
