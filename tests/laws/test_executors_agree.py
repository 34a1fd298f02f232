"""Law: for every intervention and family, the lockstep walk equals one plain masked forward per variant."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.factories import FAMILIES, KINDS
from tests.support.float64 import no_upcasts
from tests.support.runs import average, cut, difference, encoded, job, knock_out, outcomes, view_of, zero

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import Variant
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor, shared_prefix
from chiasm.models.executors.reference import ReferenceExecutor

TEXTS = (
    "image->question",
    "image->last",
    "question->last",
    "last->last",
    "image.object->question",
    "image->image",
    "prefix->image+question",
    "image+question->suffix+last",
)
UNGUARDED = Guard(enabled=False)
ONE_INPUT = ("blip_2", "instructblip", "audioflamingo3")  # one image or sound for each prompt
# Every law holds for every kind; by default each further kind obeys the first one, in float64.
EVERY = (*FAMILIES, *(pytest.param(kind, marks=pytest.mark.heavy) for kind in KINDS))


def plain(view, jobs):
    return outcomes(ReferenceExecutor(reuse_vision=True), view, jobs)


def packed(view, jobs, **options):
    return outcomes(LockstepExecutor(guard=UNGUARDED, **options), view, jobs)


def largest(view, jobs, **options):
    return max(difference(a, b) for a, b in zip(packed(view, jobs, **options), plain(view, jobs), strict=True))


def all_kinds(found, layers):
    """Every kind of change, at the start, inside and at the end of the stack."""
    windows = [(0, 1), (0, layers), (1, 3), (layers - 1, layers)]
    rows = [int(p) for p in found.spans["question"]]
    texts = [_perceiving(text, found) for text in TEXTS]
    if not len(found.spans["prefix"]):
        # Nothing stands before the image (BLIP-2): its first token would be left nothing to attend to.
        texts = [text for text in texts if not text.endswith("->image")]
    variants = [
        cut(found, text, *w) for text in texts for w in windows if all(map(len, map(found.spans.get, text.split("->"))))
    ]
    variants += [Variant(f"{c}{w}", (zero(*w, c, rows),)) for c in ("attention", "mlp") for w in windows]
    both = (knock_out(0, 2, rows, [0]), zero(2, 3, "mlp", rows), knock_out(2, 4, [found.length - 1], rows))
    return [*variants, Variant("three changes at once", both), *_averages(found, windows)]


def _averages(found, windows):
    """What two spans read of others as means, alone and with keys blocked beside; a sense of one token has no mean."""
    sense = next(k for k in ("video", "audio", "image") if k in found.spans and len(found.spans[k]))
    texts = ["mean:question->suffix+last"]
    if len(found.spans[sense]) > 1:
        texts += [f"mean:{sense}->question", f"mean:{sense}->last"]
    variants = [cut(found, text, *w) for text in texts for w in windows]
    question, last = [int(p) for p in found.spans["question"]], found.length - 1
    keys = [int(p) for p in found.spans["prefix"]][1:] + question
    mixed = (average(1, 3, [last], keys), average(1, 4, [last - 1], question[:2]), knock_out(1, 4, [last], keys[::2]))
    return [*variants, Variant("averages with blocked keys", mixed)]


def _perceiving(text, found):
    """The same cut of a video or of a sound, where the example has that instead of an image."""
    sense = next((k for k in ("video", "audio") if k in found.spans and len(found.spans[k])), "image")
    part = {"image": "image.object", "video": "video.frame[1]", "audio": "audio[0]"}[sense]
    return text.replace("image.object", "PART").replace("image", sense).replace("PART", part)


@pytest.mark.parametrize("family", EVERY)
def test_every_kind_of_change_in_float32(family):
    every_kind_of_change(family, torch.float32, 1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, *KINDS])
def test_every_kind_of_change_in_float64(family):
    every_kind_of_change(family, torch.float64, 1e-9)


def every_kind_of_change(family, dtype, allowed):
    view = view_of(family, dtype)
    with no_upcasts(dtype):
        found = encoded(view)
        jobs = [job(found, *all_kinds(found, view.n_layers))]
        assert largest(view, jobs) <= allowed
        effect = plain(view, jobs)[0]
    effects = (effect.full[1:] - effect.full[0]).abs().amax(dim=(1, 2))
    kinds = [str(one.name).partition(":")[0] for one in jobs[0].variants]
    assert float(effects.max()) > 0.1, "cuts must matter, or equality is empty"
    means = [float(e) for e, kind in zip(effects, kinds, strict=True) if kind == "mean"]
    assert max(means) > 0.01, "averages must matter, or equality is empty"


def test_the_mean_of_equal_states_changes_nothing():
    """At the first layer equal words have equal states wherever they stand (their places come in by rotation)."""
    view = view_of("llava", torch.float64)
    found = encoded(view, question="red red red red red red is it?")
    ids, question = found.input_ids[0], found.spans["question"]
    words = [int(p) for p in question if int((ids[question] == ids[p]).sum()) > 2]
    assert len(words) > 2
    last = [found.length - 1]
    for first, same in ((0, True), (1, False)):
        variant = Variant("mean", (average(first, first + 1, last, words),))
        for executor in (plain, packed):
            result = executor(view, [job(found, variant)])[0]
            assert (difference_to_clean(result) < 1e-9) == same


def difference_to_clean(result):
    return float((result.full[1:] - result.full[0]).abs().max())


@pytest.mark.parametrize("family", EVERY)
def test_padded_batch_of_different_images(family):
    """Lengths, image sizes and numbers of variants differ; every job comes out as if it were alone."""
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        jobs = [job(e, *all_kinds(e, 4)[: 9 + i]) for i in range(3) for e in [encoded(view, seed=i)]]
        assert len({j.encoded.length for j in jobs}) > 1, "nothing is padded"
        assert largest(view, jobs) <= 1e-9


@pytest.mark.parametrize("family", EVERY)
def test_questions_on_one_image_share_its_rows(family):
    view = view_of(family, torch.float64)
    questions = ["What is it?", "Is the red thing on the left?", "What is on the right then, and why is it there?"]
    with no_upcasts(torch.float64):
        found = [encoded(view, seed=3, question=q) for q in questions]
        jobs = [job(e, *all_kinds(e, 4)) for e in found]
        # InstructBLIP's image tokens depend on the question.
        assert all(shared_prefix(jobs[0], j) for j in jobs[1:]) == (family != "instructblip")
        assert largest(view, jobs) <= 1e-9


@pytest.mark.parametrize("family", EVERY)
def test_several_images_in_one_prompt(family):
    view = view_of(family, torch.float64)
    if family in ONE_INPUT:
        with pytest.raises(ExampleError, match=r"takes 1|does not take it"):
            encoded(view, images=2)
        return
    with no_upcasts(torch.float64):
        jobs = [job(e, *all_kinds(e, 4)) for e in (encoded(view, seed=1, images=2), encoded(view, seed=2, images=2))]
        assert largest(view, jobs) <= 1e-9


@pytest.mark.parametrize("family", EVERY)
def test_answers_of_several_tokens(family):
    """Teacher-forced: every token of the answer is scored where it is predicted."""
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        found = encoded(view, answer=" dark red")
        last, answer = int(found.spans["last"][0]), found.answer_tokens
        assert len(answer) > 1
        read = {"positions": tuple(range(last, last + len(answer))), "tokens": answer}
        jobs = [job(found, *all_kinds(found, 4), **read)]
        assert largest(view, jobs) <= 1e-9


QUESTIONS = ("What is it?", "Is the red thing on the left?", "What is on the right then, and why is it there?")


def drawn_variants(data, length):
    """Any rows, any keys that leave something to read, any window."""
    positions = st.integers(1, length - 1)
    variants = []
    for index in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 3))
        stop = data.draw(st.integers(start + 1, 4))
        queries = data.draw(st.lists(positions, min_size=1, max_size=8))
        # The first position and the row itself stay readable.
        keys = [k for k in data.draw(st.lists(positions, max_size=30)) if k not in queries]
        variants.append(Variant(str(index), (knock_out(start, stop, queries, keys),)))
    return variants


@given(data=st.data())
@settings(max_examples=30)
def test_random_cuts(data):
    """Any cut in any family: alone, in a padded batch of different images, or as several questions on one input."""
    random_cuts(data, FAMILIES)


@pytest.mark.heavy
@given(data=st.data())
@settings(max_examples=60)
def test_random_cuts_in_further_kinds(data):
    random_cuts(data, KINDS)


def random_cuts(data, families):
    family = data.draw(st.sampled_from(families))
    view, most = view_of(family, torch.float64), 1 if family in ONE_INPUT else 2
    count, images, first = data.draw(st.integers(1, 3)), data.draw(st.integers(1, most)), data.draw(st.integers(0, 3))
    one_input = data.draw(st.booleans())
    found = [
        encoded(view, seed=first if one_input else first + k, images=images, question=QUESTIONS[k])
        for k in range(count)
    ]
    with no_upcasts(torch.float64):
        assert largest(view, [job(e, *drawn_variants(data, e.length)) for e in found]) <= 1e-9


@pytest.mark.parametrize("budget", [1_100_000, 1_500_000, 5_000_000])
def test_chunks_and_memory_passes_do_not_change_results(budget):
    view = view_of("llava", torch.float64)
    found = encoded(view)
    jobs = [job(found, *all_kinds(found, 4))]
    assert difference(packed(view, jobs)[0], packed(view, jobs, memory=budget)[0]) <= 1e-6


def test_a_budget_below_one_variant_is_refused_with_what_it_takes():
    view = view_of("llava", torch.float64)
    found = encoded(view)
    with pytest.raises(ChiasmError, match="at least --memory 2MB"):
        LockstepExecutor(memory=100_000).run(view, [job(found, *all_kinds(found, 4))])


def test_states_that_are_read_are_the_same():
    from chiasm.models.executors.jobs import Job, StateReadout

    view = view_of("qwen2_vl", torch.float64)
    found = [encoded(view, seed=3, question=q) for q in ("What is it?", "Is the red thing on the left of it?")]
    states = (StateReadout("last", (found[0].length - 1,)), StateReadout("some", (0, 3, 5)))
    jobs = [Job(e, (cut(e, "image->last", 0, 2),), states=states if e is found[0] else states[1:]) for e in found]
    with no_upcasts(torch.float64):
        for a, b in zip(packed(view, jobs), plain(view, jobs), strict=True):
            for name, states in b.states.items():
                assert states.shape[0] == view.n_layers + 1
                torch.testing.assert_close(a.states[name], states, rtol=0, atol=1e-9)


# M-RoPE models read the 2-D mask to place tokens; a 4-D one cannot be given beside it.
@pytest.mark.parametrize("family", ["llava", "llava_next"])
def test_reference_is_the_models_own_forward(family):
    """Cut in all layers through the public 4-D attention mask: nothing of ours is involved."""
    view = view_of(family, torch.float64)
    found = encoded(view)
    variant = cut(found, "image->question", 0, view.n_layers)
    length = found.length
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    change = variant.changes[0]
    allowed[torch.tensor(change.queries)[:, None], torch.tensor(change.keys)[None]] = False
    inputs = {k: v for k, v in found.inputs.items() if k != "attention_mask"}
    with torch.no_grad():
        logits = view.model(**inputs, attention_mask=allowed[None, None]).logits[0, -1]
    own = torch.log_softmax(logits, -1)
    assert float((plain(view, [job(found, variant)])[0].full[1, 0] - own).abs().max()) <= 1e-9
