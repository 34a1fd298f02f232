"""Law: for every patch and every family, the lockstep walk equals one plain hooked forward per variant."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.factories import FAMILIES, KINDS, build
from tests.support.float64 import no_upcasts
from tests.support.runs import difference, encoded, outcomes, view_of

from chiasm.interventions import BlockedAttention, Patch, Variant, Window, ZeroedBranch, ZeroedHeads
from chiasm.models.executors import variant_groups
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, Readout, RecordedStates, StateReadout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

UNGUARDED = Guard(enabled=False)
SITES = ("residual", "attention", "mlp")


def largest(view, jobs, **options):
    ours = outcomes(LockstepExecutor(guard=UNGUARDED, **options), view, jobs)
    plain = outcomes(ReferenceExecutor(reuse_vision=True), view, jobs)
    return max(difference(a, b) for a, b in zip(ours, plain, strict=True))


def sense_of(found):
    return next(name for name in ("video", "audio", "image") if name in found.spans and len(found.spans[name]))


def patch(site, found, donor, span, start, stop, **options):
    at, theirs = found.spans.get(span).tolist(), donor.spans.get(span).tolist()
    count = min(len(at), len(theirs))
    return Patch(Window(start, stop, start), site, tuple(at[:count]), tuple(theirs[:count]), **options)


def every_patch(found, donor, layers):
    """Each site, at the start, inside, over several layers and at the end; whole spans and parts of them."""
    spans = [sense_of(found), "question", "last", f"{sense_of(found)}+question"]
    windows = [(0, 1), (1, 2), (1, 3), (layers - 1, layers)]
    variants = [
        Variant(f"{site} {span} {w}", (patch(site, found, donor, span, *w),))
        for site in SITES
        for span in spans
        for w in windows
    ]
    image, last = sense_of(found), [found.length - 1]
    half = found.spans[image][: max(1, len(found.spans[image]) // 2)].tolist()
    some = Patch(Window(1, 2, 1), "residual", tuple(half), tuple(half))
    question = tuple(found.spans["question"].tolist())
    cut = BlockedAttention(Window(1, 3, 1), tuple(last), question)
    zero = ZeroedBranch(Window(1, 2, 1), "mlp", question)
    together = (patch("residual", found, donor, image, 0, 1), cut, zero, patch("mlp", found, donor, "question", 1, 3))
    return [*variants, Variant("a part", (some,)), Variant("with cuts", together)]


def pair(view, **options):
    return encoded(view, seed=0, **options), encoded(view, seed=4, **options)


def both_ways(found, donor, layers):
    ours, theirs = every_patch(found, donor, layers), every_patch(donor, found, layers)
    return [
        Job(found, tuple(ours), Readout(full=True), donors=(donor,)),
        Job(donor, tuple(theirs), Readout(full=True), donors=(found,)),
    ]


@pytest.mark.parametrize("family", [*FAMILIES, *(pytest.param(kind, marks=pytest.mark.heavy) for kind in KINDS)])
def test_every_patch_in_float64(family):
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        found, donor = pair(view)
        jobs = both_ways(found, donor, view.n_layers)
        assert largest(view, jobs) <= 1e-9
        result = outcomes(LockstepExecutor(guard=UNGUARDED), view, jobs[:1])[0]
    effects = (result.full[1:] - result.full[0]).abs().amax(dim=(1, 2))
    assert float(effects.max()) > 0.01, "patches must matter, or equality is empty"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_patch_in_float32(family):
    view = view_of(family)
    found, donor = pair(view)
    assert largest(view, both_ways(found, donor, view.n_layers)) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_donors_of_another_length(family):
    """Padding stands before the shorter of two; the places of the rows differ, and no row is the donor's own."""
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        found = encoded(view, seed=0, question="What is it?")
        donor = encoded(view, seed=1, question="Is the red thing on the left of it, or where is it?")
        assert found.length != donor.length
        assert largest(view, both_ways(found, donor, 4)) <= 1e-9


def test_a_whole_image_is_read_in_the_donors_run():
    """From the patch on its rows are the donor's, so that they are not computed again: text rows alone are carried."""
    view = ModelView(*build("llava", dtype=torch.float64, layers=4))
    carried = []

    class Counting(variant_groups.Chunk):
        def __init__(self, packed, placements, groups, averages):
            carried.extend((group.rows, group.donor_rows) for group in groups)
            super().__init__(packed, placements, groups, averages)

    found, donor = pair(view)
    variants = tuple(Variant(str(k), (patch("residual", found, donor, "image", k, k + 1),)) for k in range(4))
    job = Job(found, variants, Readout(full=True), donors=(donor,))
    with pytest.MonkeyPatch.context() as within:
        within.setattr("chiasm.models.executors.lockstep.Chunk", Counting)
        outcomes(LockstepExecutor(), view, [job])
    image = set(found.spans["image"].tolist())
    assert len(carried) == 4
    for rows, theirs in carried:
        assert set(theirs.rows) == image
        assert image.isdisjoint(rows.tolist())


def test_another_prompt_before_the_image_leaves_no_row_the_donors():
    view = view_of("llava", torch.float64)
    found = encoded(view, seed=0)
    donor = encoded(view, seed=4)
    inputs = dict(donor.inputs)
    ids = inputs["input_ids"].clone()
    ids[0, 1] = ids[0, int(donor.spans["question"][0])]
    changed = type(donor)(
        **{**{f: getattr(donor, f) for f in donor.__dataclass_fields__}, "inputs": inputs | {"input_ids": ids}}
    )
    variants = (Variant("image", (patch("residual", found, changed, "image", 0, 1),)),)
    assert largest(view, [Job(found, variants, Readout(full=True), donors=(changed,))]) <= 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_states_that_were_read_before(family):
    """The mean over examples, and another layer of the same run (back-patching), in one batch with other jobs."""
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        found = encoded(view)
        question = tuple(found.spans["question"].tolist())
        reads = tuple(StateReadout(site, question, site) for site in SITES)
        theirs = outcomes(LockstepExecutor(guard=UNGUARDED), view, [Job(found, (), states=reads)])[0].states
        plain = outcomes(ReferenceExecutor(), view, [Job(found, (), states=reads)])[0].states
        for site in SITES:
            assert len(plain[site]) == view.n_layers + (site == "residual")
            assert float((theirs[site] - plain[site]).abs().max()) <= 1e-9
        mean = RecordedStates({site: states.mean(1, keepdim=True).expand_as(states) for site, states in plain.items()})
        own = RecordedStates(plain)
        everything = tuple(range(len(question)))
        variants = [
            Variant(f"mean {site} {start}", (Patch(Window(start, 4, start), site, question, everything),))
            for site in SITES
            for start in (0, 2)
        ]
        variants += [
            Variant(f"from {k}", (Patch(Window(1, 2, 1), "residual", question, everything, donor=1, layer=k),))
            for k in range(5)
        ]
        jobs = [Job(found, tuple(variants), Readout(full=True), donors=(mean, own))]
        assert largest(view, jobs) <= 1e-9
        result = outcomes(LockstepExecutor(guard=UNGUARDED), view, jobs)[0]
        unchanged = result.full[1 + 6 + 1] - result.full[0]
    assert float(unchanged.abs().max()) <= 1e-9, "a row's own state in its place changes nothing"
    assert float((result.full[1 + 6 + 4] - result.full[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_cuts_and_zeroes_in_heads(family):
    view = view_of(family, torch.float64)
    heads = view.n_heads
    assert heads > 1
    with no_upcasts(torch.float64):
        jobs = []
        for seed in (0, 1):
            found = encoded(view, seed=seed)
            image, question = found.spans[sense_of(found)].tolist(), found.spans["question"].tolist()
            last = [found.length - 1]
            variants = [
                Variant(f"{what} {h} {layer}", (change,))
                for h in range(heads)
                for layer in range(4)
                for what, change in (
                    ("edges", BlockedAttention(Window(layer, layer + 1, layer), tuple(last), tuple(image), (h,))),
                    ("output", ZeroedHeads(Window(layer, layer + 1, layer), (h,), tuple(last))),
                )
            ]
            several = BlockedAttention(Window(0, 4, 0), tuple(question), tuple(image), (0, heads - 1))
            everywhere = BlockedAttention(Window(0, 2, 0), tuple(last), tuple(question))
            variants += [Variant("several", (several, everywhere, ZeroedHeads(Window(1, 4, 1), (1,), tuple(question))))]
            jobs.append(Job(found, tuple(variants), Readout(full=True)))
        assert largest(view, jobs) <= 1e-9
        result = outcomes(LockstepExecutor(guard=UNGUARDED), view, jobs[:1])[0]
    effects = (result.full[1:] - result.full[0]).abs().amax(dim=(1, 2))
    attending = [v for v in range(2 * heads * 4) if view.kinds[(v // 2) % 4] == "attention"]
    assert float(effects[[v for v in attending if v % 2]].min()) > 1e-3, "every head gives something"
    assert float(effects[[v for v in attending if v % 2 == 0]].max()) > 1e-3, "some head reads the image"


def test_all_heads_together_are_the_cut_of_all():
    view = view_of("llava", torch.float64)
    found = encoded(view)
    image, last = tuple(found.spans["image"].tolist()), (found.length - 1,)
    window = Window(1, 3, 1)
    variants = (
        Variant("all", (BlockedAttention(window, last, image),)),
        Variant("each", tuple(BlockedAttention(window, last, image, (h,)) for h in range(view.n_heads))),
        Variant("none left", (ZeroedHeads(window, tuple(range(view.n_heads)), last),)),
        Variant("branch", (ZeroedBranch(window, "attention", last),)),
    )
    run = outcomes(LockstepExecutor(), view, [Job(found, variants, Readout(full=True))])[0]
    assert float((run.full[1] - run.full[2]).abs().max()) <= 1e-12
    # Llama's output projection has no bias here.
    assert float((run.full[3] - run.full[4]).abs().max()) <= 1e-12
    assert float((run.full[1] - run.full[3]).abs().max()) > 1e-3


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_patches_of_any_batch(data):
    family = data.draw(st.sampled_from(["llava", "qwen2_vl", "gemma3", "lfm2_vl"]))
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        count = data.draw(st.integers(1, 3))
        found = [encoded(view, seed=seed) for seed in range(count + 1)]
        jobs = []
        for k in range(count):
            own, donors = found[k], tuple(data.draw(st.permutations(found))[:2])
            variants = []
            for v in range(data.draw(st.integers(1, 3))):
                changes = []
                for _ in range(data.draw(st.integers(1, 2))):
                    donor = data.draw(st.integers(0, 1))
                    length = min(own.length, donors[donor].length)
                    rows = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=length, unique=True))
                    start = data.draw(st.integers(0, 3))
                    window = Window(start, data.draw(st.integers(start + 1, 4)), start)
                    site = data.draw(st.sampled_from(SITES))
                    changes.append(Patch(window, site, tuple(rows), tuple(rows), donor))
                variants.append(Variant(str(v), tuple(changes)))
            jobs.append(Job(own, tuple(variants), Readout(full=True), donors=donors))
        size = data.draw(st.integers(1, 8))
        assert largest(view, jobs, batch_size=size) <= 1e-9
