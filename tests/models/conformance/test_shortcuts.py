"""Laws of attention rows and of skips: faults are found out, refusals have reasons; and a tower of another family."""

from unittest.mock import patch

import pytest
import torch
from tests.support.factories import enlarge
from tests.support.factories_tiles import llava_pixtral
from tests.support.runs import view_of

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance import check
from chiasm.models.conformance.shortcuts import (
    attention_is_left_out,
    attention_rows_are_eager,
    feed_forward_is_left_out,
)
from chiasm.models.conformance.trial import BrokenLawError, NotApplicableError, modalities, trial_on
from chiasm.models.inside import attention_rows as looking
from chiasm.models.skipping import apply as skipping
from chiasm.models.skipping.plans import span_tokens
from chiasm.models.view import ModelView


def trial(family):
    view = view_of(family)
    return trial_on(view, modalities(view)[0], 1e-4)


def test_attention_rows_of_another_scale_are_found_out():
    attention_rows_are_eager(trial("llava"))
    plain = looking._scores
    scaled = lambda q, k, scale, cap: plain(q, k, 1.1 * scale, cap)  # noqa: E731
    with patch.object(looking, "_scores", scaled), pytest.raises(BrokenLawError, match="differs by"):
        attention_rows_are_eager(trial("llava"))


def test_attention_rows_that_do_not_add_up_are_found_out():
    plain = looking._weights
    halves = lambda *given: (rows / 2 for rows in plain(*given))  # noqa: E731
    with patch.object(looking, "_weights", halves), pytest.raises(BrokenLawError, match="do not add up"):
        attention_rows_are_eager(trial("llava"))


@pytest.mark.parametrize("law", [feed_forward_is_left_out, attention_is_left_out])
def test_a_skip_of_other_tokens_is_found_out(law):
    law(trial("llava"))
    found = span_tokens(view_of("llava"))
    other = {"image": (*found["image"], view_of("llava").tokenizer.bos_token_id)}
    with patch.object(skipping, "span_tokens", lambda view: other), pytest.raises(BrokenLawError, match="differs by"):
        law(trial("llava"))


@pytest.mark.parametrize(
    ("family", "law", "why"),
    [
        ("mllama", attention_rows_are_eager, "outside the sequence"),
        ("mllama", attention_is_left_out, "attend across"),
        ("lfm2_vl", attention_is_left_out, "conv"),
    ],
)
def test_what_is_refused_has_its_reason(family, law, why):
    with pytest.raises(NotApplicableError, match=why):
        law(trial(family))


def test_attention_is_judged_alone_where_the_feed_forward_cannot_be_left_out():
    """A refusal of the one is no reason against the other, and what cannot be done says nothing."""
    plain = skipping.replace_feed_forward

    def refusing(*given):
        raise ChiasmError("leaving rows out of Router", "it takes `ids` beside the states", "Skip attention")

    with patch.object(skipping, "replace_feed_forward", refusing):
        assert attention_is_left_out(trial("llava")) < 1e-4
        with pytest.raises(NotApplicableError, match="it takes `ids`"):
            feed_forward_is_left_out(trial("llava"))
    assert skipping.replace_feed_forward is plain


def test_no_other_family_is_refused():
    """A refusal is an answer, so a law that refuses everywhere would hold everywhere."""
    for family in ("llava", "gemma3", "lfm2_vl", "blip_2", "qwen2_audio"):
        assert attention_rows_are_eager(trial(family)) < 1e-4


def test_llava_with_the_tower_of_pixtral_obeys_every_law():
    model, processor = llava_pixtral()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        enlarge(model)
    model.set_attn_implementation("sdpa")
    laws = check(ModelView(model.eval(), processor))
    assert [law for law in laws if law.ok is False] == []
    assert {law.name for law in laws if law.ok is None} == {
        "scaled and soft-capped logits are followed",
        "every further kind of input",
    }
