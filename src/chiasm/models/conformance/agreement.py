"""The lockstep walk equals one plain masked forward per variant, for every kind of change and of input."""

from collections.abc import Sequence
from contextlib import suppress

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import Variant, centred
from chiasm.models.conformance.inputs import asked, kinds_of, noise, three
from chiasm.models.conformance.law import (
    BrokenLawError,
    NotApplicableError,
    Trial,
    against,
    job,
    nothing,
    own_logprobs,
    packed,
    pairs,
    plain,
    variants,
    whole,
    within,
)
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.jobs import Job


@torch.no_grad()
def plain_is_the_models_own(trial: Trial) -> float:
    """The clean run of the plain executor against the untouched model."""
    view, encoded = trial.view, trial.first
    with view.readable_attention():
        own = own_logprobs(view.model(**encoded.inputs, use_cache=False).logits[0, -1])
    found = whole(plain(view, [job(encoded, nothing(encoded, centred(view.n_layers, 1)[0]))])[0])
    return trial.require_equal(float((found[0, 0] - own).abs().max()))


def nothing_changes_nothing(trial: Trial) -> float:
    """Cuts without keys, in windows of no effect everywhere: no row may move."""
    view, encoded = trial.view, trial.first
    none = tuple(nothing(encoded, window) for window in centred(view.n_layers, 1))
    found = whole(packed(view, [job(encoded, *none)])[0])
    return trial.require_equal(float((found[1:] - found[:1]).abs().max()))


def one_example(trial: Trial) -> float:
    """Cuts of pairs and unions, and zeroed branches, one layer and three layers deep."""
    return _agree(trial, [job(trial.first, *_usual(trial, trial.first, (1, 3)))])


def against_the_order(trial: Trial) -> float:
    """Cuts against the order of reading; where a family is declared causal they must have no effect at all."""
    view, encoded = trial.view, trial.first
    cuts = variants(view, encoded, against(trial.kind), zeros=False)
    jobs = [job(encoded, *cuts, *within(view, encoded, trial.kind))]
    value = _agree(trial, jobs, effect=False)
    if view.family.causal:
        found = whole(plain(view, jobs)[0])
        moved = float((found[1:] - found[:1]).abs().max())
        if not moved <= trial.allowed:
            raise BrokenLawError(
                f"`{view.family.name}` is declared causal, but a later token is read by an earlier one", moved
            )
    return value


def questions_on_one_input(trial: Trial) -> float:
    """Two questions share the rows of their input."""
    return _agree(trial, [job(e, *_usual(trial, e)) for e in trial.encoded[:2]])


def padded_batch(trial: Trial) -> float:
    """Two inputs of different shape in one batch, with padding on the left."""
    both = trial.encoded[1:]
    if both[0].length == both[1].length:
        raise BrokenLawError("both prompts are as long: nothing is padded")
    return _agree(trial, [job(e, *_usual(trial, e)) for e in both])


def several_inputs(trial: Trial) -> float:
    """Two inputs in one prompt, and a batch of two such prompts, which must not mix up whose inputs are whose."""
    media = [noise(trial.kind, seed) for seed in range(4)]
    try:
        asking = [asked(trial.kind, tuple(media[:2])), asked(trial.kind, tuple(media[2:]), 1)]
        encoded = [trial.view.encode(example) for example in asking]
    except (ChiasmError, ExampleError) as error:
        raise NotApplicableError(str(error)) from error
    return _agree(trial, [job(e, *_usual(trial, e)) for e in encoded])


def answers_of_several_tokens(trial: Trial) -> float:
    """A teacher-forced answer, every token scored where it is predicted."""
    media = (noise(trial.kind, 0),)
    forced = trial.view.encode(asked(trial.kind, media), answer="dark red and very large")
    if len(forced.answer_tokens) < 2:
        raise BrokenLawError("the tokenizer makes one token of five words")
    return _agree(trial, [job(forced, *_usual(trial, forced))])


def other_kinds(trial: Trial) -> float:
    """Every further kind of input that the family takes: shared, in a padded batch, and several in one prompt."""
    further = [kind for kind in kinds_of(trial.view) if kind != trial.kind]
    if not further:
        raise NotApplicableError(f"it takes text and {trial.kind} alone")
    values = []
    for kind in further:
        try:
            encoded = three(trial.view, kind)
        except (ChiasmError, ExampleError) as error:
            raise BrokenLawError(f"{kind}: {error}") from error
        own = Trial(trial.view, kind, encoded, trial.allowed)
        values += [questions_on_one_input(own), padded_batch(own)]
        with suppress(NotApplicableError):
            values.append(several_inputs(own))
    return max(values)


def _usual(trial: Trial, encoded: Encoded, widths: Sequence[int] = (3,)) -> tuple[Variant, ...]:
    return variants(trial.view, encoded, pairs(trial.kind), widths)


def _agree(trial: Trial, jobs: Sequence[Job], *, effect: bool = True) -> float:
    """The largest difference over vocabulary, variants and read positions.

    **Errors:** `BrokenLawError` where it is too large, or no change has any effect, so that equality says nothing.
    """
    expected = plain(trial.view, jobs)
    found = packed(trial.view, jobs)
    value = max(float((whole(a) - whole(b)).abs().max()) for a, b in zip(found, expected, strict=True))
    trial.require_equal(value)
    moved = max(float((whole(o)[1:] - whole(o)[:1]).abs().max()) for o in expected)
    if effect and moved <= trial.allowed:
        raise BrokenLawError("no cut has any effect on this model, so equality says nothing", moved)
    return value
