"""The yardstick: one full masked forward of the untouched model per variant."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from chiasm.core.errors import ExampleError
from chiasm.interventions import AveragedKeys, BlockedAttention, Variant, ZeroedBranch
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Executor, Job, JobReader, JobResult, log_probabilities
from chiasm.models.executors.reuse import encoded_once
from chiasm.models.frame import Frame, change_arguments, keep_logits, layer_arguments, layer_output, record_frame
from chiasm.models.hooks import hook_sites
from chiasm.models.masks import (
    allowed_rows,
    as_layer_mask,
    hidden_images,
    hide_images,
    require_keys,
    zeroed_branches,
)
from chiasm.models.view import ModelView


class ReferenceExecutor(Executor):
    """One plain forward per variant, with the attention mask of the window's layers replaced.

    `reuse_vision` computes the vision tower once per example (off: every pass pays for it, as published code does).
    """

    def __init__(self, *, reuse_vision: bool = False) -> None:
        self.reuse_vision = reuse_vision

    @torch.no_grad()
    def run(self, view: ModelView, jobs: Sequence[Job]) -> list[JobResult | ExampleError]:
        results: list[JobResult | ExampleError] = []
        with view.readable_attention():
            for job in jobs:
                try:
                    results.append(self._run_one(view, job))
                except ExampleError as error:
                    results.append(error)
        return results

    def _run_one(self, view: ModelView, job: Job) -> JobResult:
        inputs = dict(job.encoded.inputs)
        positions = job.read_positions()
        with encoded_once(*(view.towers if self.reuse_vision else ())):
            frame = record_frame(view, inputs)
            with ExitStack() as stack:
                states: dict[str, list[Tensor]] = {read.name: [] for read in job.states}
                for read in job.states:
                    hook_sites(view, (), frozenset(), _recorder(states[read.name], list(read.positions)), stack)
                layer_inputs = _recorded_inputs(view, job.variants, stack)
                reader = JobReader(job, log_probabilities(self._logits(view, inputs, positions)))
            for index, variant in enumerate(job.variants):
                with ExitStack() as stack:
                    _apply_variant(view, job.encoded, frame, variant, layer_inputs, stack)
                    reader.take(index, log_probabilities(self._logits(view, inputs, positions)))
        return reader.result({name: torch.stack(found) for name, found in states.items()})

    def _logits(self, view: ModelView, inputs: dict[str, Any], positions: Tensor) -> Float[Tensor, "P N"]:
        keep = keep_logits(view, slice_to=positions.to(view.device))
        logits = view.model(**inputs, **keep, use_cache=False).logits[0]
        return logits if keep else logits.index_select(0, positions.to(logits.device))


def _apply_variant(
    view: ModelView,
    encoded: Encoded,
    frame: Frame,
    variant: Variant,
    layer_inputs: Sequence[Tensor],
    stack: ExitStack,
) -> None:
    """Hook the changes of `variant` into the model for as long as `stack` is open."""
    for index, layer in enumerate(view.layers):
        blocked = [c for c in variant.changes if isinstance(c, BlockedAttention) and index in c.window]
        zeroed = [c for c in variant.changes if isinstance(c, ZeroedBranch) and index in c.window]
        kind = view.kinds[index]
        if blocked and kind == "cross_attention":
            _hide_images(view, frame, index, layer, encoded, blocked, stack)
        # A layer that mixes tokens without attention has no pair of positions to block.
        if blocked and kind == "attention":
            allowed = _blocked_mask(view, frame, index, blocked)
            require_keys(allowed, f"variant `{variant.name}`")
            mask = as_layer_mask(allowed, view.attention_implementation, frame.hidden.dtype)
            change_arguments(layer, _replace("attention_mask", mask), stack)
        for change in (c for c in variant.changes if isinstance(c, AveragedKeys) and index in c.window):
            _read_average(layer, change, layer_inputs[index], stack)
        for change in zeroed:
            marked = torch.zeros(frame.hidden.shape[:2], dtype=torch.bool, device=frame.hidden.device)
            marked[:, list(change.positions)] = True
            stack.enter_context(zeroed_branches(view, layer, {change.component: marked}))


def _blocked_mask(
    view: ModelView, frame: Frame, index: int, changes: Sequence[BlockedAttention]
) -> Bool[Tensor, "B T T"]:
    """The model's own mask of layer `index` without the blocked pairs."""
    length, device = frame.length, frame.hidden.device
    mask = frame.arguments[index].get("attention_mask")
    rows = torch.arange(length, device=device)
    allowed = allowed_rows(mask, rows, length, frame.hidden.shape[0], view.attention_implementation).clone()
    for change in changes:
        if change.keys:
            queries = torch.tensor(change.queries, device=device)[:, None]
            allowed[:, queries, torch.tensor(change.keys, device=device)[None, :]] = False
    return allowed


def _hide_images(
    view: ModelView,
    frame: Frame,
    index: int,
    layer: nn.Module,
    encoded: Encoded,
    changes: Sequence[BlockedAttention],
    stack: ExitStack,
) -> None:
    """Block the columns of hidden images in a cross-attention layer."""
    hidden = torch.zeros(1, frame.length, len(encoded.layouts), dtype=torch.bool, device=frame.hidden.device)
    for change in changes:
        for number in hidden_images(encoded, change):
            hidden[0, list(change.queries), number] = True
    if not bool(hidden.any()):
        return
    mask, emptied = hide_images(frame.arguments[index]["cross_attention_mask"], hidden)
    change_arguments(layer, _replace("cross_attention_mask", mask), stack)
    stack.enter_context(zeroed_branches(view, layer, {"attention": emptied}))


def _recorded_inputs(view: ModelView, variants: Sequence[Variant], stack: ExitStack) -> list[Tensor]:
    """The clean states that go into every layer, filled by the next forward; empty where no variant averages any."""
    states: list[Tensor] = []
    if any(isinstance(change, AveragedKeys) for variant in variants for change in variant.changes):
        for layer in view.layers:
            change_arguments(layer, lambda hidden, named: (states.append(hidden) or hidden, named), stack)
    return states


def _read_average(layer: nn.Module, change: AveragedKeys, clean: Float[Tensor, "B T D"], stack: ExitStack) -> None:
    """Call `layer` again on states with the clean mean at the keys; the queries' rows of that are its output."""
    keys, queries = list(change.keys), list(change.queries)
    mean = clean[:, keys].mean(dim=1, keepdim=True)
    again = [False]

    def replaced(layer: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if again[0]:
            return None
        hidden, named = layer_arguments(layer, args, kwargs)
        hidden = hidden.clone()
        hidden[:, keys] = mean
        again[0] = True
        try:
            second = layer_output(layer(hidden, **named))
        finally:
            again[0] = False
        states = layer_output(output).clone()
        states[:, queries] = second[:, queries]
        return (states, *output[1:]) if isinstance(output, tuple) else states

    stack.enter_context(layer.register_forward_hook(replaced, with_kwargs=True))


def _replace(name: str, value: Tensor) -> Any:
    return lambda hidden, named: (hidden, named | {name: value})


def _recorder(states: list[Tensor], positions: list[int]) -> Any:
    """Keeps every residual state 0..L at `positions`."""
    return lambda layer, site, hidden: states.append(hidden[0, positions].cpu())
