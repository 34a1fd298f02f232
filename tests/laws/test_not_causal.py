"""Law: where a model reads in both directions, the walk carries all that its mask lets a cut reach."""

from unittest.mock import patch

import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, encoded, job, knock_out, outcomes, unseen, view_of

from chiasm.core.errors import GuardError
from chiasm.interventions import Variant
from chiasm.models.executors import lockstep
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.reference import ReferenceExecutor

AGAINST = ("last->image", "question->image", "suffix->question")


def effects(view, *texts):
    """The largest change of the last token's log-probabilities under each cut in the first two layers."""
    found = encoded(view)
    run = outcomes(LockstepExecutor(), view, [job(found, *(cut(found, text, 0, 2) for text in texts))])[0]
    return dict(zip(texts, (run.full[1:] - run.full[:1]).abs().amax(dim=(1, 2)).tolist(), strict=True))


def test_cuts_against_the_reading_order_act_in_a_prefix_lm():
    found = effects(view_of("paligemma"), *AGAINST)
    assert min(found.values()) > 0.01, found


def test_they_act_between_the_tokens_of_one_image_alone_where_only_images_are_read_both_ways():
    view = view_of("gemma3", torch.float64)
    assert set(effects(view, *AGAINST).values()) == {0.0}
    found = encoded(view)
    first, *_, last = (int(p) for p in found.spans["image"])
    run = outcomes(LockstepExecutor(), view, [job(found, Variant("in", (knock_out(0, 2, [first], [last]),)))])[0]
    assert float((run.full[1] - run.full[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("text", ["question->image", "image->question"])
def test_a_prefix_lm_agrees_with_a_mask_written_by_hand(text):
    """Every token sees every token, but for the cut: nothing of ours is involved."""
    view = view_of("paligemma", torch.float64)
    with no_upcasts(torch.float64), torch.no_grad():
        found = encoded(view)
        variant = cut(found, text, 0, view.n_layers)
        allowed = torch.ones(found.length, found.length, dtype=torch.bool)
        change = variant.changes[0]
        allowed[torch.tensor(change.queries)[:, None], torch.tensor(change.keys)[None]] = False
        logits = view.model(**found.inputs | {"attention_mask": allowed[None, None]}).logits[0, -1]
        run = outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, [job(found, variant)])[0]
    assert float((run.full[1, 0] - torch.log_softmax(logits, -1)).abs().max()) <= 1e-9


def test_an_answer_is_causal_behind_a_prompt_that_is_not():
    """Teacher-forced tokens must not be seen by the prompt: its clean reading stays the same."""
    view = view_of("paligemma", torch.float64)
    prompt, forced = encoded(view), encoded(view, answer="dark red")
    last = int(prompt.spans["last"][0])
    one = job(prompt, cut(prompt, "image->question", 0, 2), positions=(last,))
    two = job(forced, cut(forced, "image->question", 0, 2), positions=(last,))
    a, b = (outcomes(ReferenceExecutor(), view, [j])[0] for j in (one, two))
    assert difference(a, b) <= 1e-6


def suffix_only(self, targets, start, within):
    """What a causal decoder would need: the planted fault."""
    rows = torch.arange(self.length, device=self.device)
    return (rows >= int(targets.nonzero().min())) & within


def test_the_guard_fires_where_rows_before_the_targets_are_not_carried():
    view = view_of("paligemma")
    found = encoded(view)
    work = [job(found, cut(found, "image->question", 0, 2))]
    LockstepExecutor().run(view, work)
    with patch.object(PackedBatch, "affected", suffix_only), pytest.raises(GuardError):
        LockstepExecutor().run(unseen(view), work)


def test_the_guard_fires_where_questions_share_rows_that_see_them():
    view = view_of("paligemma")
    asked = [encoded(view, seed=3, question=q) for q in ("What is it?", "Is the red thing on the left?")]
    work = [job(e, cut(e, "image->question", 0, 2)) for e in asked]
    LockstepExecutor().run(view, work)
    with patch.object(lockstep, "prefix_is_independent", lambda *given: True), pytest.raises(GuardError):
        LockstepExecutor().run(unseen(view), work)
