"""The suite says yes to models that are right, and no, with the reason, where a fault is planted."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.support.factories import build
from tests.support.runs import view_of

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.conformance import LAWS, agreement, check, painting, suite
from chiasm.models.conformance.agreement import (
    against_the_order,
    one_example,
    padded_batch,
    questions_on_one_input,
    several_inputs,
    unread_input_has_no_effect,
)
from chiasm.models.conformance.anatomy import (
    head_follows_norm,
    own_capturing_works,
    scaled_logits_are_followed,
    sites_are_live,
    spans_partition,
    states_are_live,
    tokens_have_places,
)
from chiasm.models.conformance.suite import CAPABILITIES
from chiasm.models.conformance.trial import BrokenLawError, NotApplicableError, modalities, trial_on
from chiasm.models.executors import lockstep, reference
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.families.gemma3 import Gemma3
from chiasm.models.families.llava import Llava
from chiasm.models.families.llava_next import LlavaNext
from chiasm.models.view import ModelView


def trial_of(view):
    return trial_on(view, modalities(view)[0], 1e-4)


def trial(family):
    return trial_of(view_of(family))


def test_every_law_is_reported_and_holds_or_says_why_not():
    laws = check(view_of("llava"))
    assert [law.name for law in laws][1:] == list(LAWS)
    assert all(law.ok is not False for law in laws), [law for law in laws if law.ok is False]
    assert all((law.ok is None) == bool(law.reason) for law in laws)


def test_a_model_that_cannot_encode_has_one_broken_law():
    with patch.object(Llava, "layout", side_effect=ExampleError("no rule")):
        laws = check(ModelView(*build("llava")))
    assert [(law.ok, law.reason) for law in laws] == [(False, "no rule")]


def turned(layout, how):
    """The same tokens, said to look elsewhere."""
    side = int(len(layout.rects) ** 0.5)
    grid = layout.rects.reshape(side, side, 4)
    return layout._replace(rects=np.ascontiguousarray(how(grid)).reshape(-1, 4))


@pytest.mark.parametrize(
    "how", [lambda g: g[:, ::-1], lambda g: g[::-1], lambda g: g.swapaxes(0, 1), lambda g: np.roll(g, 2, axis=1)]
)
def test_a_grid_that_is_mirrored_turned_or_shifted_is_found_out(how):
    plain = Llava.layout
    assert painting.painted_boxes_are_found(trial("llava")) > 0.99
    with (
        patch.object(Llava, "layout", lambda *given: turned(plain(*given), how)),
        pytest.raises(BrokenLawError, match="painted box"),
    ):
        painting.painted_boxes_are_found(trial("llava"))


def test_tiles_that_change_places_are_found_out():
    plain = LlavaNext.layout

    def swapped(*given):
        layout = plain(*given)
        rects, fine = layout.rects.copy(), np.flatnonzero((layout.tile == "hd") & ~layout.newline)
        rects[fine] = rects[fine[::-1]]
        return layout._replace(rects=rects)

    assert painting.painted_boxes_are_found(trial("llava_next")) > 0.99
    with patch.object(LlavaNext, "layout", swapped), pytest.raises(BrokenLawError):
        painting.painted_boxes_are_found(trial("llava_next"))


def test_the_tower_attends_as_before_after_painting():
    view = view_of("llava")
    before = view.vision_tower.config._attn_implementation
    painting.painted_boxes_are_found(trial("llava"))
    assert view.vision_tower.config._attn_implementation == before == "sdpa"


def test_a_norm_that_is_left_out_or_put_in_twice_is_found_out():
    plain = ModelView.unembed
    head_follows_norm(trial("llava"))
    without = {"unembed": lambda s, x, normed=True: plain(s, x, normed=not normed)}
    with patch.multiple(ModelView, **without), pytest.raises(BrokenLawError, match="differs by"):
        head_follows_norm(trial("llava"))
    twice = {"unembed": lambda s, x, normed=True: plain(s, s.final_norm(x) if normed else x)}
    with patch.multiple(ModelView, **twice), pytest.raises(BrokenLawError):
        head_follows_norm(trial("llava"))


def test_what_transformers_cannot_collect_of_a_model_is_not_asked_and_leaves_nothing_behind():
    view = view_of("llava")
    first = trial_of(view)
    tower = view.vision_tower
    assert own_capturing_works(first) is None
    before = [len(module._forward_hooks) for module in view.model.modules()]

    def spoilt(module, args, kwargs):
        if kwargs.get("output_hidden_states"):
            tower.register_forward_hook(lambda module, args, output: None)
            tower.mark_of_hooks = True
            raise AttributeError("hooks that are there twice")

    with (
        view.model.register_forward_pre_hook(spoilt, with_kwargs=True),
        pytest.raises(NotApplicableError, match="collects its hidden states"),
    ):
        own_capturing_works(first)
    assert [len(module._forward_hooks) for module in view.model.modules()] == before
    assert not hasattr(tower, "mark_of_hooks")


def test_a_state_that_is_normed_already_is_found_out():
    """Norms of weight 1 change nothing the second time: equality alone would not see it."""
    model, processor = build("llava")
    view = ModelView(model, processor)
    with torch.no_grad():
        view.final_norm.weight.fill_(1.0)
    head_follows_norm(trial_of(view))
    handle = view.layers[-1].register_forward_hook(lambda layer, args, output: view.final_norm(output))
    with pytest.raises(BrokenLawError, match="normed already"):
        head_follows_norm(trial_of(view))
    handle.remove()


def test_a_cap_that_the_model_does_not_apply_is_found_out():
    scaled_logits_are_followed(trial("gemma3"))
    family = super(Gemma3, Gemma3()).adjusted_logits
    with (
        patch.object(Gemma3, "adjusted_logits", lambda self, *given: family(*given)),
        pytest.raises(BrokenLawError, match="final_logit_softcapping"),
    ):
        scaled_logits_are_followed(trial("gemma3"))
    with pytest.raises(NotApplicableError):
        scaled_logits_are_followed(trial("llava"))


def test_dead_states_are_found_out():
    model, processor = build("llava")
    view = ModelView(model, processor)
    states_are_live(trial_of(view))
    sites_are_live(trial_of(view))
    seen = []

    def constant(layer, args, kwargs):
        seen.append(args[0])
        return (seen[0], *args[1:]), kwargs

    handle = view.layers[2].register_forward_pre_hook(constant, with_kwargs=True)
    with pytest.raises(BrokenLawError, match="layers 0, 1 can be"):
        states_are_live(trial_of(view))
    seen.clear()
    with pytest.raises(BrokenLawError, match="attention of layer 0"):
        sites_are_live(trial_of(view))
    handle.remove()


def test_spans_that_leave_a_token_out_are_found_out():
    given = trial("llava")
    spans_partition(given)
    tokens_have_places(given)
    spans = given.first.spans
    with (
        patch.object(type(spans), "top_level", lambda self: {"image": self["image"]}),
        pytest.raises(BrokenLawError, match="positions in spans"),
    ):
        spans_partition(given)
    (layout,) = given.first.layouts
    fewer = replace(given.first, layouts=(layout._replace(positions=layout.positions[1:]),))
    with pytest.raises(BrokenLawError, match="have a place"):
        tokens_have_places(replace(given, encoded=(fewer, *given.encoded[1:])))


def test_a_family_that_is_declared_causal_and_is_not_is_found_out():
    against_the_order(trial("gemma3"))
    with patch.object(Gemma3, "causal", True), pytest.raises(BrokenLawError, match="declared causal"):
        against_the_order(trial("gemma3"))


def test_rows_that_are_not_carried_are_found_out():
    def suffix_only(self, targets, start, within):
        rows = torch.arange(self.length, device=self.device)
        return (rows >= int(targets.nonzero().min())) & within

    one_example(trial("paligemma"))
    with patch.object(PackedBatch, "affected", suffix_only), pytest.raises(BrokenLawError, match="differs by"):
        one_example(trial("paligemma"))


def test_rows_that_are_shared_and_must_not_be_are_found_out():
    questions_on_one_input(trial("paligemma"))
    always = lambda *given: True  # noqa: E731
    with patch.object(lockstep, "prefix_is_independent", always), pytest.raises(BrokenLawError, match="differs by"):
        questions_on_one_input(trial("paligemma"))


def test_positions_that_count_padding_are_found_out():
    plain = ModelView.collate

    def stretched(self, encoded):
        inputs, padding = plain(self, encoded)
        if "position_ids" in inputs:
            inputs["position_ids"] = inputs["position_ids"] * 2
        return inputs, padding

    padded_batch(trial("llava"))
    with patch.object(ModelView, "collate", stretched), pytest.raises(BrokenLawError, match="differs by"):
        padded_batch(trial("llava"))


def test_a_model_on_which_no_cut_matters_proves_nothing():
    model, processor = build("llava")
    view = ModelView(model, processor)
    with torch.no_grad():
        view.head.weight.zero_()
    with pytest.raises(BrokenLawError, match="equality says nothing"):
        one_example(trial_of(view))


def test_a_cut_that_leaves_one_layer_open_is_found_out():
    assert unread_input_has_no_effect(trial("llava")) <= 1e-4
    plain = reference._blocked_mask

    def leaky(view, frame, index, changes):
        return plain(view, frame, index, changes if index != 1 else [replace(c, keys=c.keys[:-1]) for c in changes])

    with (
        patch.object(reference, "_blocked_mask", leaky),
        pytest.raises(BrokenLawError, match="something beside the attention mask carries it"),
    ):
        unread_input_has_no_effect(trial("llava"))


def test_where_tokens_mix_without_attention_no_cut_is_whole():
    with pytest.raises(NotApplicableError, match="without attention"):
        unread_input_has_no_effect(trial("lfm2_vl"))


def test_without_a_walk_the_forwards_themselves_are_asked():
    refusal = ChiasmError("walking through it", "its layers carry two streams", "Use --executor reference")
    with patch.object(LockstepExecutor, "run", side_effect=refusal):
        laws = {law.name: law for law in check(view_of("llava"))}
    assert not any(laws[name].ok for name in CAPABILITIES["one walk"])
    for name in ("shared questions", "padded batches"):
        assert [(laws[law].ok, laws[law].reason) for law in CAPABILITIES[name]] == [
            (None, "every cut has a forward of its own: there is no walk to share")
        ]
    for name in ("cuts", "reversed cuts", "several inputs", "long answers", "left as it was"):
        assert all(laws[law].ok for law in CAPABILITIES[name]), name
    # What is read there is compared with the untouched model.
    with (
        patch.object(LockstepExecutor, "run", side_effect=refusal),
        patch.object(agreement, "_off_the_models_own", lambda *given: 1.0),
    ):
        broken = {law.name for law in check(view_of("llava")) if law.ok is False}
    assert {"answers of several tokens", "cuts against the order of reading"} <= broken


def test_a_family_of_one_image_is_no_fault():
    given = trial("llava")
    refusal = ExampleError("it brings 2 images, but takes 1")
    with patch.object(ModelView, "encode", side_effect=refusal), pytest.raises(NotApplicableError, match="takes 1"):
        several_inputs(given)


def clear_every_hook(view):
    """As another tool does it, those of transformers among them."""
    for module in view.model.modules():
        module._forward_hooks.clear()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("hooks are undone", lambda view: view.layers[1].register_forward_hook(lambda *given: None)),
        ("hooks are undone", lambda view: view.model.train()),
        ("transformers' own capturing works afterwards", clear_every_hook),
    ],
)
def test_a_run_that_leaves_something_behind_is_found_out(name, fault):
    view = ModelView(*build("llava"))
    given = trial_of(view)
    assert {law.name: law.ok for law in suite.run(given)}[name]
    plain = LockstepExecutor.run

    def careless(self, view, jobs):
        found = plain(self, view, jobs)
        fault(view)
        return found

    with patch.object(LockstepExecutor, "run", careless), patch.object(suite, "LAWS", {name: LAWS[name]}):
        (law,) = suite.run(given)
    assert law.ok is False
    assert law.reason
