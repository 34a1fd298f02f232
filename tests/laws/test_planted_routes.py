"""Law: where a route is planted, the sweep shows it, and it shows nothing anywhere else."""

import pytest
import torch
from tests.support.factories import build, example
from tests.support.float64 import no_upcasts
from tests.support.planted import PlantedLlama
from tests.support.runs import job, outcomes

from chiasm.interventions import AttentionKnockout, Patch, Variant, Window, centred, head_sets, parse_heads
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, Readout, RecordedStates, StateReadout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

LAYERS, ENTER, LEAVE = 6, 1, 4
CUTS = ("image->question", "question->last", "image->last", "suffix->last", "last->last")


def planted_view(example_, enter=ENTER, leave=LEAVE):
    model, processor = build("llava", dtype=torch.float64, layers=LAYERS)
    text = model.model.language_model
    planted = PlantedLlama(text.config).double().eval()
    planted.load_state_dict(text.state_dict())
    model.model.language_model = planted
    model.set_attn_implementation("sdpa")
    view = ModelView(model, processor)
    found = view.encode(example_)
    planted.plant(found.spans, enter, leave)
    return view, found


def sweep(executor):
    with no_upcasts(torch.float64):
        view, found = planted_view(example())
        cuts = [AttentionKnockout.parse(text) for text in CUTS]
        variants = [Variant(cut.text, (cut.on(found.spans, w),)) for cut in cuts for w in centred(LAYERS, 1)]
        outcome = outcomes(executor, view, [job(found, *variants)])[0]
    effect = (outcome.full[1:] - outcome.full[:1]).abs().amax(dim=(1, 2)).reshape(len(CUTS), LAYERS)
    return dict(zip(CUTS, effect, strict=True)), outcome


def check(effects):
    for text, route in (("image->question", ENTER), ("question->last", LEAVE)):
        elsewhere = [layer for layer in range(LAYERS) if layer != route]
        assert effects[text][route] > 0.05
        assert effects[text][elsewhere].max() <= 1e-9
    assert effects["image->last"].max() <= 1e-9
    assert effects["suffix->last"].max() <= 1e-9


def test_lockstep_shows_exactly_the_planted_routes():
    effects, _ = sweep(LockstepExecutor(guard=Guard(enabled=False)))
    check(effects)


def test_reference_shows_exactly_the_planted_routes():
    effects, _ = sweep(ReferenceExecutor())
    check(effects)


def test_what_reachability_proves_is_exactly_zero():
    """A cut in the last layer is seen at its own target rows alone: elsewhere nothing is computed, nothing rounds."""
    effects, outcome = sweep(LockstepExecutor(guard=Guard(enabled=False)))
    last = CUTS.index("image->question") * LAYERS + LAYERS - 1
    assert bool(outcome.proved_zero[last])
    assert effects["image->question"][-1] == 0
    assert torch.equal(outcome.logprobs[last], outcome.clean)
    assert int(outcome.proved_zero.sum()) == 1


@pytest.mark.parametrize("executor", [LockstepExecutor(guard=Guard(enabled=False)), ReferenceExecutor()])
def test_patches_show_where_what_the_image_says_is(executor):
    """Before the route into the question the image's states decide, between the routes the question's, then the last.

    Denoising: the last row's distribution with a donor's states is the donor's own, or the example's, and nothing else.
    """
    with no_upcasts(torch.float64):
        view, found = planted_view(example())
        donor = view.encode(example(seed=4))
        variants = [
            Variant(f"{span} {layer}", (Patch(Window(layer, layer + 1, layer), "residual", rows, rows),))
            for span in ("image", "question", "last")
            for rows in [tuple(found.spans[span].tolist())]
            for layer in range(LAYERS)
        ]
        jobs = [Job(found, tuple(variants), Readout(full=True), donors=(donor,)), Job(donor, (), Readout(full=True))]
        ours, theirs = outcomes(executor, view, jobs)
    change = (theirs.full[0] - ours.full[0]).abs().max()
    assert float(change) > 0.01, "the two images must matter, or nothing is shown"
    like_donor = (ours.full[1:] - theirs.full[0]).abs().amax(dim=(1, 2)).reshape(3, LAYERS)
    like_clean = (ours.full[1:] - ours.full[0]).abs().amax(dim=(1, 2)).reshape(3, LAYERS)
    carries = torch.zeros(3, LAYERS, dtype=torch.bool)
    carries[0, : ENTER + 1] = True
    carries[1, ENTER + 1 : LEAVE + 1] = True
    carries[2, LEAVE + 1 :] = True
    assert float(like_donor[carries].max()) <= 1e-9
    assert float(like_clean[~carries].max()) <= 1e-9


def test_back_patching_finds_an_answer_that_comes_too_late():
    """The question reads the image only after the last row has read the question: clean, the image cannot matter.

    The question's late states, put back into an early layer, carry the image to the last row; its early ones do not.
    """
    late, early = 4, 1
    with no_upcasts(torch.float64):
        view, found = planted_view(example(), enter=late, leave=early)
        other = view.encode(example(seed=4))
        question = tuple(found.spans["question"].tolist())
        executor = LockstepExecutor(guard=Guard(enabled=False))
        read = (StateReadout("question", question),)
        recorded = [executor.run(view, [Job(one, (), states=read)])[0].states["question"] for one in (found, other)]
        own, theirs = (RecordedStates({"residual": states}) for states in recorded)
        everything = tuple(range(len(question)))
        variants = tuple(
            Variant(f"{k} {name}", (Patch(Window(0, 1, 0), "residual", question, everything, donor=d, layer=k),))
            for k in range(LAYERS + 1)
            for d, name in enumerate(("own", "of the other picture"))
        )
        jobs = [Job(found, variants, Readout(full=True), donors=(own, theirs)), Job(other, (), Readout(full=True))]
        ours, clean = outcomes(executor, view, jobs)
        plain, _ = outcomes(ReferenceExecutor(), view, jobs)
    assert float((ours.full - plain.full).abs().max()) <= 1e-9
    assert float((clean.full[0] - ours.full[0]).abs().max()) <= 1e-9, "clean, the picture cannot matter"
    by_picture = (ours.full[1::2] - ours.full[2::2]).abs().amax(dim=(1, 2))
    assert float(by_picture[: late + 1].max()) <= 1e-9
    assert float(by_picture[late + 1 :].min()) > 1e-3


@pytest.mark.parametrize("executor", [LockstepExecutor(guard=Guard(enabled=False)), ReferenceExecutor()])
@pytest.mark.parametrize("head", [0, 3])
def test_single_heads_show_exactly_the_planted_one(executor, head):
    """Both ways: what the question reads of the image cut in it, and all that it gives at the question taken away."""
    with no_upcasts(torch.float64):
        view, found = planted_view(example())
        view.model.model.language_model.leave_one_head(head)
        changes = [parse_heads("image->question@heads=all"), parse_heads("zero:heads@question")]
        variants = [
            Variant(change.text, (change.on(found.spans, layer, one.heads),))
            for change in changes
            for layer in range(LAYERS)
            for one in head_sets(change, view.n_heads, view.n_heads)
        ]
        outcome = outcomes(executor, view, [job(found, *variants)])[0]
    effect = (outcome.full[1:] - outcome.full[:1]).abs().amax(dim=(1, 2)).reshape(len(changes), LAYERS, -1)
    planted = torch.zeros(LAYERS, view.n_heads, dtype=torch.bool)
    planted[ENTER, head] = True
    for of_change in effect:
        assert of_change[ENTER, head] > 0.05
        assert of_change[~planted].max() <= 1e-9
