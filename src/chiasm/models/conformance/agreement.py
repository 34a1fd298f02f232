"""The lockstep walk equals one plain masked forward per variant, for every kind of change and of input."""

from collections.abc import Sequence
from contextlib import suppress

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import Variant, centred
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
    noop,
    run_packed,
    run_plain,
    trial_on,
    variants_of,
    variants_within_input,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, JobResult, log_probabilities


@torch.no_grad()
def plain_is_the_models_own(trial: Trial) -> float:
    """The clean run of the plain executor against the untouched model."""
    view, encoded = trial.view, trial.first
    with view.readable_attention():
        own = log_probabilities(view.model(**encoded.inputs, use_cache=False).logits[0, -1]).cpu()
    found = full_logprobs(run_plain(view, [job_of(encoded, noop(encoded, centred(view.n_layers, 1)[0]))])[0])
    return trial.require_equal(float((found[0, 0] - own).abs().max()))


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
    return _agree(trial, [job_of(e, *_variants(trial, e)) for e in trial.encoded[:2]])


def padded_batch(trial: Trial) -> float:
    """Two inputs of different shape in one batch, with padding on the left."""
    both = trial.encoded[1:]
    if both[0].length == both[1].length:
        raise BrokenLawError("both prompts are as long: nothing is padded")
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
        values += [questions_on_one_input(own), padded_batch(own)]
        with suppress(NotApplicableError):
            values.append(several_inputs(own))
    return max(values)


def _variants(trial: Trial, encoded: Encoded, widths: Sequence[int] = (3,)) -> tuple[Variant, ...]:
    return variants_of(trial.view, encoded, forward_cuts(trial.modality), widths)


def _agree(trial: Trial, jobs: Sequence[Job], *, effect: bool = True) -> float:
    """The largest difference over vocabulary, variants and read positions.

    **Errors:** `BrokenLawError` where it is too large, or no change has any effect, so that equality says nothing.
    """
    expected = run_plain(trial.view, jobs)
    found = run_packed(trial.view, jobs)
    value = max(float((full_logprobs(a) - full_logprobs(b)).abs().max()) for a, b in zip(found, expected, strict=True))
    trial.require_equal(value)
    moved = max(_largest_effect(result) for result in expected)
    if effect and moved <= trial.allowed:
        raise BrokenLawError("no cut has any effect on this model, so equality says nothing", moved)
    return value


def _largest_effect(result: JobResult) -> float:
    """The largest change of any variant against the clean run, over vocabulary and read positions."""
    found = full_logprobs(result)
    return float((found[1:] - found[:1]).abs().max())
