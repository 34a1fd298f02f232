"""All laws by name, the run of one model through them, and the certificate that a family gets from it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final

import torch
import transformers

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.conformance import agreement, anatomy, painting, shortcuts
from chiasm.models.conformance.trial import BrokenLawError, Law, NotApplicableError, Trial, modalities, trial_on
from chiasm.models.executors.rounding import TOLERANCE
from chiasm.models.families.base import version_numbers
from chiasm.models.families.certificates import HOLDS, Certificate, fingerprint
from chiasm.models.view import ModelView

LawCheck = Callable[[Trial], float | None]

ENCODED: Final = "examples can be encoded"
_CHECKS: Final[dict[str, dict[str, LawCheck]]] = {
    "spans": {"spans partition the prompt": anatomy.spans_partition},
    "boxes": {
        "tokens of images and frames have places": anatomy.tokens_have_places,
        "a painted box is found at its tokens": painting.painted_boxes_are_found,
    },
    "lens": {
        "head(norm(last state)) gives the logits": anatomy.head_follows_norm,
        "scaled and soft-capped logits are followed": anatomy.scaled_logits_are_followed,
    },
    "sites": {
        "states are live": anatomy.states_are_live,
        "sites are live": anatomy.sites_are_live,
    },
    "cuts": {
        "without a cut it is the model's own forward": agreement.plain_is_the_models_own,
        "an input that no token reads has no effect": agreement.unread_input_has_no_effect,
    },
    "one walk": {
        "a cut of nothing changes nothing": agreement.nothing_changes_nothing,
        "all cuts in one walk equal one forward each": agreement.one_example,
    },
    "reversed cuts": {"cuts against the order of reading": agreement.against_the_order},
    "shared questions": {"two questions on one input": agreement.questions_on_one_input},
    "padded batches": {"two inputs in a padded batch": agreement.padded_batch},
    "several inputs": {"several inputs in one prompt": agreement.several_inputs},
    "long answers": {"answers of several tokens": agreement.answers_of_several_tokens},
    "more kinds of input": {"every further kind of input": agreement.other_modalities},
    "look": {"attention rows are those of eager attention": shortcuts.attention_rows_are_eager},
    "skip feed-forward": {"skipped feed-forward equals a zeroed branch": shortcuts.feed_forward_is_left_out},
    "skip attention": {"skipped attention equals a zeroed branch": shortcuts.attention_is_left_out},
    "left as it was": {
        "hooks are undone": anatomy.hooks_are_undone,
        "transformers' own capturing works afterwards": anatomy.own_capturing_works,
    },
}
LAWS: Final[dict[str, LawCheck]] = {name: law for laws in _CHECKS.values() for name, law in laws.items()}
"""Every law by name: what it measures is returned, what it finds is raised."""
CAPABILITIES: Final[dict[str, tuple[str, ...]]] = {name: tuple(laws) for name, laws in _CHECKS.items()} | {
    "spans": (ENCODED, *_CHECKS["spans"])
}
"""What a user can rely on, and the laws that it rests on. Every law is in exactly one of them."""

WALK: Final = "one walk"
"""The capability without which every cut is computed by one masked forward of its own."""

MIN_LAYERS: Final = 4
"""Of a model that is certified: fewer have no layer that is neither the first, the last, nor beside one of them."""
ALLOWED: Final = 1e-9
"""The largest difference in log-probability (float64) that a certificate allows."""


def check(view: ModelView, *, allowed: float | None = None, names: Collection[str] | None = None) -> list[Law]:
    """All laws on one model, on inputs made on the spot. A law that cannot be run counts as broken.

    `allowed`: the largest difference in log-probability that counts as equal; None is what rounding explains in the
    model's dtype. `names`: of the laws that are tried; None is all.
    """
    try:
        trial = trial_on(view, modalities(view)[0], TOLERANCE[view.dtype] if allowed is None else allowed)
    except (ChiasmError, ExampleError) as error:
        return [Law(ENCODED, False, None, str(error))]
    return [Law(ENCODED, True, None, ""), *run(trial, LAWS if names is None else names)]


def run(trial: Trial, names: Collection[str] = tuple(LAWS)) -> Iterator[Law]:
    """The laws of these names one by one, on inputs that could be encoded."""
    walks = True
    for name in (name for name in LAWS if name in names):
        of_walk = name in CAPABILITIES[WALK]
        # Without a walk the laws that follow ask the masked forwards.
        law = _tried(trial if of_walk or walks else replace(trial, walks=False), name)
        walks = walks and not (of_walk and law.ok is False)
        yield law


def _tried(trial: Trial, name: str) -> Law:
    try:
        return Law(name, True, LAWS[name](trial), "")
    except NotApplicableError as reason:
        return Law(name, None, None, str(reason))
    except BrokenLawError as broken:
        return Law(name, False, broken.value, str(broken))
    except (ChiasmError, ExampleError) as error:
        return Law(name, False, None, str(error))
    except Exception as error:
        # Whatever a strange model raises is the answer to whether it obeys the law: the others are still tried.
        return Law(name, False, None, f"the model's own code raised {type(error).__name__}: {error}")


def verdict_of(law: Law) -> str:
    """`yes`, `no: why`, or `-: why it is not asked`."""
    return HOLDS if law.ok else f"{'-' if law.ok is None else 'no'}: {law.reason}"


def certify(view: ModelView, known: Certificate | None) -> Certificate:
    """What the suite finds on `view`, beside what it found on other versions of transformers (if that still counts).

    **Errors:** `ChiasmError` for a model with fewer than four layers, or not in float64.
    """
    if view.n_layers < MIN_LAYERS or view.dtype != torch.float64:
        raise ChiasmError(
            f"certify `{view.family.name}`",
            f"the model has {view.n_layers} layers in {view.dtype}",
            f"Take one of at least {MIN_LAYERS} layers in float64",
        )
    mark = fingerprint(view.family)
    others = known.transformers if known is not None and known.fingerprint == mark else {}
    laws = check(view, allowed=ALLOWED)
    own = {law.name: verdict_of(law) for law in laws}
    runs = {**others, transformers.__version__: own}
    return Certificate(mark, view.n_layers, dict(sorted(runs.items(), key=lambda run: version_numbers(run[0]))))
