"""What the decoder itself shows: what its layers return, whether it is causal, what is done to its head's output."""

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.models.adopting.inputs import Candidate
from chiasm.models.adopting.refusals import UnansweredError
from chiasm.models.conformance.trial import noise, noise_example
from chiasm.models.encoded import Encoded
from chiasm.models.frame import record_frame
from chiasm.models.generic.rules import GenericRules
from chiasm.models.masks import allowed_rows
from chiasm.models.view import ModelView

_STEPS = 80
_SATURATED = 0.99
_FEW = 8
_BOUNDS = (-18.0, 7.0)
"""Logarithms of how far a cap may lie above the largest value, as a share of that."""
_CLOSE = 1e-4
"""Largest relative difference between the logits and what is made of the head's output, for the two to be the same."""


def followed(candidate: Candidate, rules: GenericRules) -> GenericRules:
    """`rules` with what layers return and which way they attend."""
    kind = rules.modalities[0]
    view = candidate.view(rules)
    encoded = view.encode(noise_example(kind, (noise(kind, 0),)))
    returned = _returned(view, encoded)
    rules = replace(rules, layers_return_tuples=returned > 0, layer_extras=max(returned - 1, 0))
    view = candidate.view(rules)
    return replace(rules, causal=not _attends_ahead(view, encoded))


@torch.no_grad()
def _returned(view: ModelView, encoded: Encoded) -> int:
    """How many things a layer returns in its tuple; 0 where it returns its states alone."""
    seen: list[int] = []
    with ExitStack() as stack:
        for layer in view.layers:
            stack.enter_context(layer.register_forward_hook(lambda layer, args, output: seen.append(_length(output))))
        stack.enter_context(view.readable_attention())
        view.model(**encoded.inputs, use_cache=False)
    return max(seen, default=0)


def _length(output: Any) -> int:
    return len(output) if isinstance(output, tuple) else 0


def _attends_ahead(view: ModelView, encoded: Encoded) -> bool:
    """Whether any layer lets a token attend to a later one."""
    with view.readable_attention():
        frame, kind = record_frame(view, encoded.inputs), view.attention_implementation
        if frame.length != encoded.length:
            raise UnansweredError(
                f"its decoder runs over {frame.length} rows of its own, and not over the {encoded.length} tokens of "
                "the prompt"
            )
        rows = torch.arange(frame.length, device=frame.hidden.device)
        # A layer without attention may be given a mask of another kind.
        attending = [named for named, of in zip(frame.arguments, view.kinds, strict=True) if of == "attention"]
        masks = {id(named.get("attention_mask")): named.get("attention_mask") for named in attending}
        allowed = [allowed_rows(mask, rows, frame.length, len(encoded.input_ids), kind) for mask in masks.values()]
    return any(bool(one.triu(1).any()) for one in allowed)


@torch.no_grad()
def measured_head(candidate: Candidate, rules: GenericRules) -> GenericRules:
    """`rules` with the factor and the soft cap that lie between the head's output and the logits, fitted to both.

    The suite tries afterwards whether they hold on other inputs.
    """
    kind = rules.modalities[0]
    view = candidate.view(replace(rules, scale=1.0, cap=None))
    encoded = view.encode(noise_example(kind, (noise(kind, 0),)))
    own: list[Tensor] = []
    with view.readable_attention():
        hook = view.head.register_forward_hook(lambda head, args, output: own.append(output))
        with hook:
            logits = view.model(**encoded.inputs, use_cache=False).logits
    if not own or own[-1].shape[-1] != logits.shape[-1]:
        return rules
    x = own[-1].reshape(-1, logits.shape[-1])[-1].double()
    y = logits.reshape(-1, logits.shape[-1])[-1].double()
    shown = x.isfinite() & y.isfinite()
    scale, cap = fitted(x[shown], y[shown])
    return replace(rules, scale=scale, cap=cap)


def fitted(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> tuple[float, float | None]:
    """The factor and the cap by which `y` is cap x tanh(factor x x / cap); (1, None) where no pair of them does it."""
    bound = _CLOSE * float(y.abs().max())
    factor = float((x * y).sum() / (x * x).sum())
    if float((factor * x - y).abs().max()) <= bound:
        return _round(factor), None
    most = float(y.abs().max())
    # Values at the cap itself say nothing of the factor.
    open_ = y.abs() < _SATURATED * most
    if int(open_.sum()) < _FEW:
        return 1.0, None
    # For the true cap atanh(y / cap) x cap is linear in x; how far the cap lies above the largest value is searched.
    low, high = _BOUNDS
    for _ in range(_STEPS):
        a, b = low + (high - low) * 0.382, low + (high - low) * 0.618
        one, other = (_misfit(x[open_], y[open_], most * (1 + math.exp(at))) for at in (a, b))
        low, high = (low, b) if one < other else (a, high)
    cap = _round(most * (1 + math.exp((low + high) / 2)))
    factor = _round(_factor(x[open_], y[open_], cap))
    if float((torch.tanh(factor * x / cap) * cap - y).abs().max()) <= bound:
        return factor, cap
    return 1.0, None


def _misfit(x: Float[Tensor, " n"], y: Float[Tensor, " n"], cap: float) -> float:
    """How far `y` is from a capped multiple of `x`."""
    return float((torch.tanh(_factor(x, y, cap) * x / cap) * cap - y).abs().max())


def _factor(x: Float[Tensor, " n"], y: Float[Tensor, " n"], cap: float) -> float:
    """The multiple of `x` whose capped form is `y`, from the smaller half of the values."""
    small = y.abs() <= y.abs().median()
    z = torch.atanh((y[small] / cap).clamp(-1 + 1e-12, 1 - 1e-12)) * cap
    return float((x[small] * z).sum() / (x[small] * x[small]).sum())


def _round(value: float) -> float:
    """`value` as the six digits that configurations are written in, where it is one of those."""
    near = float(f"{value:.6g}")
    return near if abs(near - value) <= 1e-5 * abs(value) else value
