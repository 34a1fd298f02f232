"""Plain masked forwards cut what they say, and the walk of all cuts equals them, for every change and kind of input.

Of a model that no walk can be made through, the laws about kinds of input ask the plain forwards themselves.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import BlockedAttention, Variant, Window, centred
from chiasm.models.conformance.trial import (
    BrokenLawError,
    NotApplicableError,
    Trial,
    backward_cuts,
    forward_cuts,
    full_logprobs,
    job_of,
    modalities,
    noise,
    noise_example,
    noise_like,
    noop,
    run_packed,
    run_plain,
    trial_on,
    variants_of,
    variants_within_input,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, JobResult, log_probabilities
from chiasm.models.executors.rounding import largest_difference
from chiasm.models.view import ModelView


def plain_is_the_models_own(trial: Trial) -> float:
    """The clean run of the plain executor against the untouched model, and cuts without keys against both."""
    view, encoded = trial.view, trial.first
    job = job_of(encoded, *(noop(encoded, window) for window in centred(view.n_layers, 1)))
    result = run_plain(view, [job])[0]
    return trial.require_equal(max(_off_the_models_own(view, job, result), _largest_effect(result)))


def unread_input_has_no_effect(trial: Trial) -> float:
    """No other token may read the input, in any layer: then its content makes no difference, and otherwise it does."""
    view, encoded = trial.view, trial.first
    kinds = zip(view.layers, view.kinds, strict=True)
    if any(kind == "token_mixer" or view.mixes_beside_attention(layer) for layer, kind in kinds):
        raise NotApplicableError("some of its layers move information between tokens without attention")
    other = view.encode(noise_example(trial.modality, (noise_like(noise(trial.modality, 0), seed=10),)))
    if not torch.equal(other.input_ids, encoded.input_ids):
        raise NotApplicableError(f"another {trial.modality} of one size makes another prompt of it")
    keys = tuple(encoded.spans.require(trial.modality).tolist())
    queries = tuple(sorted(set(range(encoded.length)) - set(keys)))
    unread = Variant("unread", (BlockedAttention(Window(0, view.n_layers, 0), queries, keys),))
    one, two = (full_logprobs(result) for result in run_plain(view, [job_of(e, unread) for e in (encoded, other)]))
    if not largest_difference(one[0], two[0]) > trial.allowed:
        raise BrokenLawError(f"its {trial.modality} has no effect on this model, so equality says nothing")
    value = largest_difference(one[1], two[1])
    if not value <= trial.allowed:
        raise BrokenLawError(
            f"with its {trial.modality} closed to every other token in all layers, another {trial.modality} still "
            f"changes what comes out by {value:.2g}: something beside the attention mask carries it",
            value,
        )
    return value


def nothing_changes_nothing(trial: Trial) -> float:
    """Cuts without keys, in windows of no effect everywhere: no row may move."""
    view, encoded = trial.view, trial.first
    none = tuple(noop(encoded, window) for window in centred(view.n_layers, 1))
    return trial.require_equal(_largest_effect(run_packed(view, [job_of(encoded, *none)])[0]))


def one_example(trial: Trial) -> float:
    """Cuts of pairs and unions, and zeroed branches, one layer and three layers deep."""
    return _agree(trial, [job_of(trial.first, *_variants(trial, trial.first, (1, 3)))])


def against_the_order(trial: Trial) -> float:
    """Cuts against the order of reading; where a family is declared causal they must have no effect at all."""
    view, encoded = trial.view, trial.first
    cuts = variants_of(view, encoded, backward_cuts(trial.modality), zeroed=False)
    jobs = [job_of(encoded, *cuts, *variants_within_input(view, encoded, trial.modality))]
    value = _agree(trial, jobs, effect=False)
    if view.family.causal:
        moved = _largest_effect(run_plain(view, jobs)[0])
        if not moved <= trial.allowed:
            raise BrokenLawError(
                f"`{view.family.name}` is declared causal, but a later token is read by an earlier one", moved
            )
    return value


def questions_on_one_input(trial: Trial) -> float:
    """Two questions share the rows of their input."""
    _require_walk(trial)
    return _agree(trial, [job_of(e, *_variants(trial, e)) for e in trial.encoded[:2]])


def padded_batch(trial: Trial) -> float:
    """Two inputs of different shape in one batch, with padding on the left."""
    _require_walk(trial)
    *others, last = trial.encoded
    both = [next((e for e in reversed(others) if e.length != last.length), others[0]), last]
    if both[0].length == both[1].length:
        raise NotApplicableError("its prompts are as long as one another: nothing is padded")
    return _agree(trial, [job_of(e, *_variants(trial, e)) for e in both])


def several_inputs(trial: Trial) -> float:
    """Two inputs in one prompt, and a batch of two such prompts, which must not mix up whose inputs are whose."""
    media = [noise(trial.modality, seed) for seed in range(4)]
    asking = [noise_example(trial.modality, tuple(media[k : k + 2]), k // 2) for k in (0, 2)]
    try:
        encoded = [trial.view.encode(example) for example in asking]
    except (ChiasmError, ExampleError) as error:
        raise NotApplicableError(str(error)) from error
    return _agree(trial, [job_of(e, *_variants(trial, e)) for e in encoded])


def answers_of_several_tokens(trial: Trial) -> float:
    """A teacher-forced answer, every token scored where it is predicted."""
    media = (noise(trial.modality, 0),)
    forced = trial.view.encode(noise_example(trial.modality, media), answer="dark red and very large")
    if len(forced.answer_tokens) < 2:
        raise BrokenLawError("the tokenizer makes one token of five words")
    return _agree(trial, [job_of(forced, *_variants(trial, forced))])


def other_modalities(trial: Trial) -> float:
    """Every further modality that the family takes: shared, in a padded batch, and several in one prompt."""
    further = [modality for modality in modalities(trial.view) if modality != trial.modality]
    if not further:
        raise NotApplicableError(f"it takes text and {trial.modality} alone")
    values = []
    for modality in further:
        try:
            own = trial_on(trial.view, modality, trial.allowed)
        except (ChiasmError, ExampleError) as error:
            raise BrokenLawError(f"{modality}: {error}") from error
        own = replace(own, walks=trial.walks)
        for name, law in _OF_FURTHER_KINDS.items():
            try:
                with suppress(NotApplicableError):
                    values.append(law(own))
            except BrokenLawError as error:
                raise BrokenLawError(f"{modality}, {name}: {error}", error.value) from error
    return max(values)


_OF_FURTHER_KINDS: Final[dict[str, Callable[[Trial], float]]] = {
    "one prompt": one_example,
    "two questions on one input": questions_on_one_input,
    "two inputs in a padded batch": padded_batch,
    "several inputs in one prompt": several_inputs,
}


def _variants(trial: Trial, encoded: Encoded, widths: Sequence[int] = (3,)) -> tuple[Variant, ...]:
    return variants_of(trial.view, encoded, forward_cuts(trial.modality), widths)


def _agree(trial: Trial, jobs: Sequence[Job], *, effect: bool = True) -> float:
    """The largest difference over vocabulary, variants and read positions, between the walk and plain forwards.

    Where there is no walk: between what the plain executor reads without a change and the untouched model.

    **Errors:** `BrokenLawError` where it is too large, or no change has any effect, so that equality says nothing.
    """
    view = trial.view
    expected = run_plain(view, jobs)
    if trial.walks:
        pairs = zip(run_packed(view, jobs), expected, strict=True)
        value = max(largest_difference(full_logprobs(a), full_logprobs(b)) for a, b in pairs)
    else:
        value = max(_off_the_models_own(view, job, result) for job, result in zip(jobs, expected, strict=True))
    trial.require_equal(value)
    moved = max(_largest_effect(result) for result in expected)
    if effect and moved <= trial.allowed:
        raise BrokenLawError("no cut has any effect on this model, so equality says nothing", moved)
    return value


def _require_walk(trial: Trial) -> None:
    if not trial.walks:
        raise NotApplicableError("every cut has a forward of its own: there is no walk to share")


@torch.no_grad()
def _off_the_models_own(view: ModelView, job: Job, result: JobResult) -> float:
    """How far what was read without a change is from the untouched model's forward."""
    with view.readable_attention():
        logits = view.model(**job.encoded.inputs, use_cache=False).logits[0]
    own = log_probabilities(logits[job.read_positions().to(logits.device)]).cpu()
    return largest_difference(full_logprobs(result)[0], own)


def _largest_effect(result: JobResult) -> float:
    """The largest change of any variant against the clean run, over vocabulary and read positions."""
    found = full_logprobs(result)
    return largest_difference(found[1:], found[:1])
