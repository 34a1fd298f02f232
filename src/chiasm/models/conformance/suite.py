"""All laws, in the order of the table, and the run of one model through them."""

from collections.abc import Callable, Iterator
from typing import Final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.conformance import agreement, anatomy, painting, rows, skips
from chiasm.models.conformance.inputs import kinds_of, three
from chiasm.models.conformance.law import BrokenLawError, Law, NotApplicableError, Trial
from chiasm.models.executors.guard import TOLERANCE
from chiasm.models.view import ModelView

ENCODED: Final = "examples can be encoded"
LAWS: Final[dict[str, Callable[[Trial], float | None]]] = {
    "spans partition the prompt": anatomy.spans_partition,
    "tokens of pictures and frames have places": anatomy.tokens_have_places,
    "a painted box is found at its tokens": painting.painted_boxes_are_found,
    "the plain executor is the model's own forward": agreement.plain_is_the_models_own,
    "head(norm(last state)) gives the logits": anatomy.head_follows_norm,
    "scaled and soft-capped logits are followed": anatomy.scaled_logits_are_followed,
    "states are live": anatomy.states_are_live,
    "sites are live": anatomy.sites_are_live,
    "a cut of nothing changes nothing": agreement.nothing_changes_nothing,
    "lockstep: one example": agreement.one_example,
    "lockstep: against the order of reading": agreement.against_the_order,
    "lockstep: questions on one input": agreement.questions_on_one_input,
    "lockstep: padded batch of two inputs": agreement.padded_batch,
    "lockstep: several inputs in one prompt": agreement.several_inputs,
    "lockstep: answers of several tokens": agreement.answers_of_several_tokens,
    "lockstep: further kinds of input": agreement.other_kinds,
    "attention rows are those of eager attention": rows.rows_are_eagers,
    "skipped feed-forward equals a zeroed branch": skips.feed_forward_is_left_out,
    "skipped attention equals a zeroed branch": skips.attention_is_left_out,
    "hooks are undone": anatomy.hooks_are_undone,
    "transformers' own capturing works afterwards": anatomy.own_capturing_works,
}
"""Every law by name: what it measures is returned, what it finds is raised."""


def check(view: ModelView, *, allowed: float | None = None) -> list[Law]:
    """All laws on one model, on inputs made on the spot. A law that cannot be run counts as broken.

    `allowed`: the largest difference in log-probability that counts as equal; None is what rounding explains in the
    model's dtype.
    """
    kind = kinds_of(view)[0]
    try:
        encoded = three(view, kind)
    except (ChiasmError, ExampleError) as error:
        return [Law(ENCODED, False, None, str(error))]
    trial = Trial(view, kind, encoded, TOLERANCE[view.dtype] if allowed is None else allowed)
    return [Law(ENCODED, True, None, ""), *run(trial)]


def run(trial: Trial) -> Iterator[Law]:
    """The laws one by one, on inputs that could be encoded."""
    for name, law in LAWS.items():
        try:
            yield Law(name, True, law(trial), "")
        except NotApplicableError as reason:
            yield Law(name, None, None, str(reason))
        except BrokenLawError as broken:
            yield Law(name, False, broken.value, str(broken))
        except (ChiasmError, ExampleError) as error:
            yield Law(name, False, None, str(error))
        except Exception as error:
            # Whatever a strange model raises is the answer to whether it obeys the law: the others are still tried.
            yield Law(name, False, None, f"{type(error).__name__}: {error}")
