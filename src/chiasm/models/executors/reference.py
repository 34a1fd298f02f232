"""The yardstick: one full masked forward of the untouched model per variant."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import (
    AveragedKeys,
    BlockedAttention,
    Patch,
    Site,
    Variant,
    ZeroedBranch,
    ZeroedHeads,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import (
    Donor,
    Executor,
    Job,
    JobReader,
    JobResult,
    RecordedStates,
    StateReadout,
    log_probabilities,
    require_numbers,
)
from chiasm.models.executors.reuse import encoded_once
from chiasm.models.frame import Frame, change_arguments, keep_logits, layer_arguments, layer_output, record_frame
from chiasm.models.hooks import hook_sites
from chiasm.models.masks import (
    allowed_rows,
    as_layer_mask,
    branch_of,
    hidden_images,
    hide_images,
    replaced_branches,
    require_keys,
    zeroed_branches,
    zeroed_heads,
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
            _require_one_stream(view, frame, job)
            with ExitStack() as stack:
                states: dict[str, list[Tensor]] = {read.name: [] for read in job.states}
                for read in job.states:
                    _record(view, read, states[read.name], stack)
                layer_inputs = _recorded_inputs(view, job.variants, stack)
                reader = JobReader(job, log_probabilities(self._logits(view, inputs, positions)))
            donors = [self._recorded(view, job, number) for number in range(len(job.donors))]
            for index, variant in enumerate(job.variants):
                with ExitStack() as stack:
                    _apply_variant(view, job.encoded, frame, variant, layer_inputs, stack)
                    _apply_patches(view, variant, donors, frame.length, stack)
                    reader.take(index, log_probabilities(self._logits(view, inputs, positions)))
        result = reader.result({name: torch.stack(found) for name, found in states.items()})
        require_numbers(job, result)
        return result

    def _recorded(self, view: ModelView, job: Job, number: int) -> RecordedStates:
        """The states of the job's donor at every position, at the sites that its patches need."""
        donor: Donor = job.donors[number]
        if isinstance(donor, RecordedStates):
            return donor
        changes = [change for variant in job.variants for change in variant.changes]
        sites: set[Site] = {change.site for change in changes if isinstance(change, Patch) and change.donor == number}
        states: dict[Site, list[Tensor]] = {site: [] for site in sites}
        with ExitStack() as stack, encoded_once(*(view.towers if self.reuse_vision else ())):
            for site, found in states.items():
                _record(view, StateReadout(site, tuple(range(donor.length)), site), found, stack)
            self._logits(view, dict(donor.inputs), torch.tensor([donor.length - 1]))
        return RecordedStates({site: torch.stack(found) for site, found in states.items()})

    def _logits(self, view: ModelView, inputs: dict[str, Any], positions: Tensor) -> Float[Tensor, "P N"]:
        keep = keep_logits(view, slice_to=positions.to(view.device))
        logits = view.model(**inputs, **keep, use_cache=False).logits[0]
        return logits if keep else logits.index_select(0, positions.to(logits.device))


def _require_one_stream(view: ModelView, frame: Frame, job: Job) -> None:
    """Refuse to read or to patch the states between layers where a token has several of them.

    **Errors:** `ChiasmError`.
    """
    sites = [read.site for read in job.states]
    sites += [change.site for variant in job.variants for change in variant.changes if isinstance(change, Patch)]
    averaged = any(isinstance(change, AveragedKeys) for variant in job.variants for change in variant.changes)
    if frame.streams > 1 and ("residual" in sites or averaged):
        raise ChiasmError(
            f"the states between layers of `{view.name}`",
            f"its layers carry {frame.streams} streams of them at once: a token has no one state",
            "Use what cuts attention or leaves branches out",
        )


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
            require_keys(allowed if allowed.ndim == 3 else allowed.all(1), f"variant `{variant.name}`")
            mask = as_layer_mask(allowed, view.attention_implementation, frame.hidden.dtype)
            change_arguments(layer, _replace("attention_mask", mask), stack)
        for change in (c for c in variant.changes if isinstance(c, AveragedKeys) and index in c.window):
            _read_average(layer, change, layer_inputs[index], stack)
        for change in zeroed:
            marked = torch.zeros(frame.batch, frame.length, dtype=torch.bool, device=frame.hidden.device)
            marked[:, list(change.positions)] = True
            stack.enter_context(zeroed_branches(view, layer, {change.component: marked}))
        for change in (c for c in variant.changes if isinstance(c, ZeroedHeads) and index in c.window):
            if kind == "attention":
                shape = (frame.batch, frame.length, view.n_heads)
                heads = torch.zeros(shape, dtype=torch.bool, device=frame.hidden.device)
                heads[:, torch.tensor(change.positions)[:, None], torch.tensor(change.heads)[None]] = True
                stack.enter_context(zeroed_heads(view, layer, heads))


def _apply_patches(
    view: ModelView, variant: Variant, donors: Sequence[RecordedStates], length: int, stack: ExitStack
) -> None:
    """Hook the patches of `variant` into the model for as long as `stack` is open, in their order."""
    for change in (c for c in variant.changes if isinstance(c, Patch)):
        for index in range(change.window.start, change.window.stop):
            layer = view.layers[index]
            states = donors[change.donor].states[change.site][index if change.layer is None else change.layer]
            put = partial(_put, list(change.positions), states[list(change.donor_positions)])
            if change.site == "residual":
                change_arguments(layer, lambda hidden, named, put=put: (put(hidden), named), stack)
            else:
                # One example: all rows are one sequence.
                stack.enter_context(replaced_branches(view, layer, {change.site: put}, (1, length)))


def _put(positions: list[int], states: Float[Tensor, "n D"], hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
    hidden = hidden.clone()
    hidden[:, positions] = states.to(hidden)
    return hidden


def _blocked_mask(
    view: ModelView, frame: Frame, index: int, changes: Sequence[BlockedAttention]
) -> Bool[Tensor, "B T T"] | Bool[Tensor, "B H T T"]:
    """The model's own mask of layer `index` without the blocked pairs; by head where some read less than others."""
    length, device = frame.length, frame.hidden.device
    mask = frame.arguments[index].get("attention_mask")
    rows = torch.arange(length, device=device)
    allowed = allowed_rows(mask, rows, length, frame.batch, view.attention_implementation).clone()
    if any(change.heads is not None for change in changes):
        allowed = allowed[:, None].repeat(1, view.n_heads, 1, 1)
    for change in changes:
        if change.keys:
            queries = torch.tensor(change.queries, device=device)[:, None]
            keys = torch.tensor(change.keys, device=device)[None, :]
            for head in range(view.n_heads) if change.heads is None and allowed.ndim == 4 else change.heads or ():
                allowed[:, head, queries, keys] = False
            if allowed.ndim == 3:
                allowed[:, queries, keys] = False
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
        # Heads are those of the layers that attend within the sequence.
        for number in hidden_images(encoded, change) if change.heads is None else ():
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


def _record(view: ModelView, read: StateReadout, states: list[Tensor], stack: ExitStack) -> None:
    """Keep what `read` asks for of the next forward: every residual state, or a branch's output in every layer."""
    positions = list(read.positions)
    if read.site == "residual":
        hook_sites(view, (), frozenset(), lambda layer, site, hidden: states.append(hidden[0, positions].cpu()), stack)
        return

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        found = layer_output(output)
        states.append(found.reshape(-1, found.shape[-1])[positions].cpu())

    for layer in view.layers:
        stack.enter_context(branch_of(view, layer, read.site).register_forward_hook(keep))
