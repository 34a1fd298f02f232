"""What studies compute in a shorter way equals the long one: chosen attention rows, and branches that are left out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Component, Variant, Window, ZeroedBranch
from chiasm.interventions.skips import ModelIdentity, Skip, SkipPart, SkipPlan
from chiasm.models.conformance.trial import BrokenLawError, NotApplicableError, Trial, full_logprobs, run_plain
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, Readout, log_probabilities
from chiasm.models.executors.rounding import largest_difference
from chiasm.models.inside.attention_rows import attention_rows
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.plans import span_tokens
from chiasm.models.view import ModelView, attending_by

_BRANCHES: dict[SkipPart, tuple[Component, ...]] = {
    "ffn": ("mlp",),
    "attention": ("attention",),
    "block": ("attention", "mlp"),
}


@torch.no_grad()
def attention_rows_are_eager(trial: Trial) -> float:
    """One example, and a padded batch of two where the family takes it: every layer that attends, a few queries."""
    view, both = trial.view, trial.encoded[1:]
    batches = [trial.encoded[:1], both] if view.family.can_batch(both, view.config) else [trial.encoded[:1]]
    return trial.require_equal(max(_rows_difference(view, batch, trial.modality) for batch in batches))


def _rows_difference(view: ModelView, batch: Sequence[Encoded], modality: str) -> float:
    queries = [sorted({0, *(int(e.spans[span][-1]) for span in (modality, "question", "last"))}) for e in batch]
    rows: dict[tuple[int, int], Tensor] = {}
    try:
        attention_rows(view, batch, queries, lambda layer, index, weights: rows.update({(layer, index): weights}))
    except ChiasmError as error:
        raise NotApplicableError(error.found) from error
    inputs, padding = view.collate(batch)
    with _eager(view) as whole:
        view.model(**inputs, use_cache=False)
    if {layer for layer, _ in rows} - whole.keys():
        raise NotApplicableError("its eager attention hands out no weights to compare with")
    worst = 0.0
    for (layer, index), found in rows.items():
        own = whole[layer][index, :, padding[index] :, padding[index] :][:, queries[index]]
        worst = max(worst, float((found - own).abs().max()))
        if not torch.allclose(found.sum(-1), torch.ones_like(found[..., 0])):
            raise BrokenLawError(f"rows of layer {layer} do not add up to 1")
    return worst


@contextmanager
def _eager(view: ModelView) -> Iterator[dict[int, Float[Tensor, "B H T T"]]]:
    """Within: the attention weights of every layer that hands them out, as the model runs."""
    whole: dict[int, Tensor] = {}

    def keep(number: int, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, tuple) and isinstance(output[1], Tensor):
            whole[number] = output[1]

    with ExitStack() as stack:
        for number, (layer, kind) in enumerate(zip(view.layers, view.kinds, strict=True)):
            if kind == "attention":
                stack.enter_context(view.attention_of(layer).register_forward_hook(partial(keep, number)))
        stack.enter_context(view.readable_attention())
        stack.enter_context(attending_by(view.decoder, "eager"))
        yield whole


def feed_forward_is_left_out(trial: Trial) -> float:
    """Of the perceptual tokens, in two layers that attend."""
    return _skip_error(trial, ("ffn",))


def attention_is_left_out(trial: Trial) -> float:
    """Of the perceptual tokens, alone and, where that one can be left out too, with the feed-forward branch."""
    return _skip_error(trial, ("attention", "block"))


def _with_branches(view: ModelView, branches: Sequence[Component]) -> tuple[int, ...]:
    """Two layers that attend and have `branches`, not the last of them where there are others."""
    kinds = zip(view.layers, view.kinds, strict=True)
    having = [
        number
        for number, (layer, kind) in enumerate(kinds)
        if kind == "attention" and all(view.has_branch(layer, branch) for branch in branches)
    ]
    if not having:
        raise NotApplicableError("its layers have one branch each: none that attends has a feed-forward branch too")
    return tuple((having[:-1] or having)[-2:])


@torch.no_grad()
def _skip_error(trial: Trial, parts: tuple[SkipPart, ...]) -> float:
    view, encoded = trial.view, trial.first
    found = span_tokens(view).get(trial.modality)
    if found is None:
        raise NotApplicableError(f"no token is known by its id to stand for {trial.modality} and for nothing else")
    rows = tuple(torch.isin(encoded.input_ids[0].cpu(), torch.tensor(found)).nonzero().flatten().tolist())
    own = ModelIdentity(model_type=view.config.model_type, layers=view.n_layers, width=view.width, weights="")
    # Where rows are left out the change is largest: what comes of it at the last may be next to nothing.
    read = tuple(sorted({rows[0], rows[-1], encoded.length - 1}))
    worst = 0.0
    for number, part in enumerate(parts):
        layers = _with_branches(view, _BRANCHES[part])
        plan = SkipPlan(name="check", model=own, skips=(Skip(part=part, span=trial.modality, layers=layers),))
        try:
            with view.readable_attention(), skipping(view, plan, same_weights=False):
                got = log_probabilities(view.model(**encoded.inputs, use_cache=False).logits[0, list(read)]).cpu()
        except ChiasmError as error:
            if number:  # what both take together says nothing against the one that was left out alone
                break
            raise NotApplicableError(error.found) from error
        zeros = tuple(ZeroedBranch(Window(k, k + 1, k), branch, rows) for k in layers for branch in _BRANCHES[part])
        job = Job(encoded, (Variant("zero", zeros),), Readout(read, full=True))
        expected = full_logprobs(run_plain(view, [job])[0])
        if largest_difference(expected[1], expected[0]) <= trial.allowed:
            raise BrokenLawError("leaving them out has no effect on this model, so equality says nothing")
        worst = max(worst, trial.require_equal(largest_difference(got, expected[1])))
    return worst
