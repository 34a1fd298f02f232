"""What `chiasm skip` leaves out equals branches that were computed and set to zero."""

import torch

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Variant, Window, ZeroedBranch
from chiasm.interventions.skips import ModelIdentity, Skip, SkipPart, SkipPlan
from chiasm.models.conformance.law import BrokenLawError, NotApplicableError, Trial, own_logprobs, plain, whole
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.plans import span_tokens

_BRANCHES: dict[SkipPart, tuple[str, ...]] = {
    "ffn": ("mlp",),
    "attention": ("attention",),
    "block": ("attention", "mlp"),
}


def feed_forward_is_left_out(trial: Trial) -> float:
    """Of the perceptual tokens, in two layers that attend."""
    return _equal(trial, ("ffn",))


def attention_is_left_out(trial: Trial) -> float:
    """Of the perceptual tokens, alone and with the feed-forward branch."""
    return _equal(trial, ("attention", "block"))


@torch.no_grad()
def _equal(trial: Trial, parts: tuple[SkipPart, ...]) -> float:
    view, encoded = trial.view, trial.first
    found = span_tokens(view).get(trial.kind)
    if found is None:
        raise NotApplicableError(f"its configuration names no token that stands for {trial.kind}")
    rows = tuple(torch.isin(encoded.input_ids[0].cpu(), torch.tensor(found)).nonzero().flatten().tolist())
    attending = [number for number, kind in enumerate(view.kinds) if kind == "attention"]
    layers = tuple(attending[:-1][-2:])
    own = ModelIdentity(model_type=view.config.model_type, layers=view.n_layers, width=view.width, weights="")
    last, worst = encoded.length - 1, 0.0
    for part in parts:
        plan = SkipPlan(name="check", model=own, skips=(Skip(part=part, span=trial.kind, layers=layers),))
        try:
            with view.readable_attention(), skipping(view, plan, same_weights=False):
                got = own_logprobs(view.model(**encoded.inputs, use_cache=False).logits[0, -1])
        except ChiasmError as error:
            raise NotApplicableError(str(error)) from error
        zeros = tuple(ZeroedBranch(Window(k, k + 1, k), branch, rows) for k in layers for branch in _BRANCHES[part])
        expected = whole(plain(view, [Job(encoded, (Variant("zero", zeros),), Readout((last,), full=True))])[0])
        if float((expected[1] - expected[0]).abs().max()) <= trial.allowed:
            raise BrokenLawError("leaving them out has no effect on this model, so equality says nothing")
        worst = max(worst, trial.require_equal(float((got - expected[1, 0]).abs().max())))
    return worst
