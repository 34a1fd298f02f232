"""Parts are what their names say: spans, places of tokens, the head behind the last state, live sites, undone hooks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.interventions import centred
from chiasm.models.conformance.trial import (
    BrokenLawError,
    NotApplicableError,
    Trial,
    depths,
    forward_cuts,
    full_logprobs,
    job_of,
    noop,
    run_all,
    run_plain,
    variants_of,
)
from chiasm.models.executors.jobs import Job, Readout, StateReadout, log_probabilities
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.reuse import encoded_once
from chiasm.models.frame import keep_logits, record_frame
from chiasm.models.hooks import find_blocks
from chiasm.models.view import ModelView

# What configurations call a change between the head and the logits, and a value that shows whether it is followed.
_SCALINGS = {"final_logit_softcapping": 2.0, "logits_scaling": 3.0, "logit_scale": 0.4}


def spans_partition(trial: Trial) -> None:
    """Top-level spans cover the prompt, every position once."""
    for e in trial.encoded:
        joined = np.concatenate(list(e.spans.top_level().values()))
        if not np.array_equal(np.sort(joined), np.arange(e.length)):
            raise BrokenLawError(f"{len(joined)} positions in spans, {e.length} in the sequence")


def tokens_have_places(trial: Trial) -> None:
    """Every token of an image, or of a video's frames, has a place or is known to have none."""
    if trial.modality == "audio":
        raise NotApplicableError("sounds have no places")
    for e in trial.encoded:
        parts = e.layouts if trial.modality == "image" else e.frames
        covered = np.concatenate([np.zeros(0, dtype=np.int64), *(part.positions for part in parts)])
        if not np.array_equal(np.sort(covered), e.spans[trial.modality]):
            raise BrokenLawError(
                f"{len(covered)} tokens have a place, {len(e.spans[trial.modality])} are {trial.modality} tokens"
            )


@torch.no_grad()
def head_follows_norm(trial: Trial) -> float:
    """head(norm(last state)) are the logits; head(last state) are not, so that no norm is applied twice."""
    state, own = _last_state(trial)
    wide, read = state.shape[-1], cast(Tensor, trial.view.head.weight).shape[-1]
    if wide != read and isinstance(trial.view.final_norm, nn.Identity):
        raise BrokenLawError(
            f"its layers hand on {wide} numbers for each token and its head reads {read}: more than a norm lies between"
        )
    value = trial.require_equal(_lens_error(trial.view, state, own))
    if not isinstance(trial.view.final_norm, nn.Identity):
        without = log_probabilities(trial.view.unembed(state, normed=False)).cpu()
        if float((without - own).abs().max()) <= trial.allowed:
            raise BrokenLawError("the last state is normed already: its norm would be applied twice")
    return value


@torch.no_grad()
def scaled_logits_are_followed(trial: Trial) -> float:
    """The same with soft-capping and scaling of logits switched on, where the configuration has a word for them."""
    if trial.view.family.measures_head:
        raise NotApplicableError("what lies between head and logits is measured on it, not read off its configuration")
    config = trial.view.text_config
    known = [name for name in _SCALINGS if hasattr(config, name)]
    if not known:
        raise NotApplicableError("its configuration names neither soft-capping nor a scale of logits")
    values = []
    for name in known:
        with _setting(config, name, _SCALINGS[name]):
            # What the model does with it is found when a view is made.
            view = ModelView(
                trial.view.model,
                trial.view.processor,
                trial.view.name,
                family=trial.view.family,
                precision=trial.view.precision,
            )
            state, own = _last_state(trial)
            difference = _lens_error(view, state, own)
        if not difference <= trial.allowed:
            raise BrokenLawError(f"with `{name}` switched on the lens differs by {difference:.2g}", difference)
        values.append(difference)
    return max(values)


@torch.no_grad()
def states_are_live(trial: Trial) -> None:
    """A hook on a dead tensor reads nicely and means nothing: disturb each layer's output and look at the logits."""
    with trial.view.readable_attention():
        streams = record_frame(trial.view, dict(trial.first.inputs)).streams
    if streams > 1:
        raise BrokenLawError(f"its layers carry {streams} streams of states at once: a token has no one state")
    dead = _dead(trial, {str(k): (layer, "output") for k, layer in enumerate(trial.view.layers)})
    if dead:
        raise BrokenLawError(f"layers {', '.join(dead)} can be changed without any effect")


@torch.no_grad()
def sites_are_live(trial: Trial) -> None:
    """The same for every site within the first, a middle and the last layer."""
    blocks = find_blocks(trial.view, trial.first)
    sites = {
        f"{site} of layer {depth}": (point.module, point.side)
        for depth in depths(trial.view)
        for site, point in blocks[depth].sites.items()
    }
    dead = _dead(trial, sites)
    if dead:
        raise BrokenLawError(f"can be changed without any effect: {', '.join(dead)}")


@torch.no_grad()
def hooks_are_undone(trial: Trial) -> None:
    """After runs of the executors the model has its hooks, its forwards, its mode, and gives the same logits."""
    view = trial.view

    def state() -> tuple[list[int], list[bool]]:
        modules = list(view.model.modules())
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
        return hooks, ["forward" in m.__dict__ for m in modules]

    # transformers puts its own hooks in with the first forward.
    first = _logits(trial)
    before, training = state(), view.model.training
    _run_executors(trial)
    if not torch.equal(first, _logits(trial)):
        raise BrokenLawError("the model gives other logits than before a run")
    if state() != before or view.model.training != training:
        raise BrokenLawError("hooks, forwards or the mode of the model are not as before a run")


@torch.no_grad()
def own_capturing_works(trial: Trial) -> None:
    """transformers collects hidden states by hooks of its own, which a run must leave in place."""
    view = trial.view

    def states() -> tuple[Tensor, ...]:
        with view.readable_attention():
            output = view.model(**trial.first.inputs, use_cache=False, output_hidden_states=True)
        return _hidden_states(output)

    try:
        with _taken_out_on_failure(view.model):
            before = states()
    except Exception as error:
        # What it cannot do before any run, no run has spoilt.
        found = f"the model itself fails where transformers collects its hidden states ({type(error).__name__})"
        raise NotApplicableError(found) from error
    if len(before) <= view.n_layers:
        raise NotApplicableError("the model itself gives out no hidden states")
    _run_executors(trial)
    after = states()
    if len(before) != len(after) or not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise BrokenLawError("`output_hidden_states` gives something else than before a run")


@contextmanager
def _taken_out_on_failure(model: nn.Module) -> Iterator[None]:
    """Within, an error takes out what was put into the model's modules on the way: hooks, and marks of them.

    Hooks that transformers put in twice (Phi-4's tower collects for itself) would spoil every later forward.
    """
    before = [(module, dict(module._forward_hooks), set(vars(module))) for module in model.modules()]
    try:
        yield
    except Exception:
        for module, hooks, names in before:
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks)
            for name in vars(module).keys() - names:
                delattr(module, name)
        raise


def _hidden_states(output: Any) -> tuple[Tensor, ...]:
    """The decoder's hidden states, wherever the output keeps them (query transformers nest theirs)."""
    found = output.get("hidden_states")
    if found is None and "language_model_outputs" in output:
        found = output["language_model_outputs"].get("hidden_states")
    return tuple(found or ())


def _run_executors(trial: Trial) -> None:
    view = trial.view
    jobs = [job_of(e, *variants_of(view, e, forward_cuts(trial.modality))) for e in trial.encoded[:2]]
    if trial.walks:
        run_all(LockstepExecutor(), view, jobs)
    run_all(ReferenceExecutor(), view, jobs[:1])


def _last_state(trial: Trial) -> tuple[Float[Tensor, "1 D"], Float[Tensor, "1 N"]]:
    """The last state before the final norm, and the log-probabilities that the model itself makes of it."""
    view, encoded = trial.view, trial.first
    last = int(encoded.spans["last"][-1])
    change = noop(encoded, centred(view.n_layers, 1)[0])
    found = run_plain(view, [Job(encoded, (change,), Readout(full=True), (StateReadout("last", (last,)),))])[0]
    return found.states["last"][-1].to(view.device), full_logprobs(found)[0]


def _lens_error(view: ModelView, state: Float[Tensor, "1 D"], own: Float[Tensor, "1 N"]) -> float:
    return float((log_probabilities(view.unembed(state)).cpu() - own).abs().max())


@contextmanager
def _setting(config: Any, name: str, value: float) -> Iterator[None]:
    before = getattr(config, name)
    setattr(config, name, value)
    try:
        yield
    finally:
        setattr(config, name, before)


def _dead(trial: Trial, points: dict[str, tuple[nn.Module, str]]) -> list[str]:
    """The points that can be disturbed while the logits stay the same to the last bit."""
    dead = []
    with encoded_once(*trial.view.towers):
        clean = _logits(trial)
        for name, (module, side) in points.items():
            with ExitStack() as stack:
                if side == "output":
                    stack.callback(module.register_forward_hook(_disturb_output).remove)
                else:
                    stack.callback(module.register_forward_pre_hook(_disturb_input, with_kwargs=True).remove)
                if torch.equal(_logits(trial), clean):
                    dead.append(name)
    return dead


def _logits(trial: Trial) -> Float[Tensor, " N"]:
    view, inputs = trial.view, trial.first.inputs
    with view.readable_attention():
        return view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False).logits[0, -1]


def _disturbed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """With its first states changed, and not by a factor, which the norm behind them would take out again."""
    for index, value in enumerate(values):
        if isinstance(value, Tensor) and value.is_floating_point():
            return (*values[:index], value + 0.5 * value.roll(1, dims=-1), *values[index + 1 :])
    return values


def _disturb_output(module: nn.Module, args: Any, output: Any) -> Any:
    return _disturbed(output) if isinstance(output, tuple) else _disturbed((output,))[0]


def _disturb_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    changed = _disturbed((*args, *kwargs.values()))
    return changed[: len(args)], dict(zip(kwargs, changed[len(args) :], strict=True))
