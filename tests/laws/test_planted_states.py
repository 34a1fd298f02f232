"""Law: where a route is planted, cutting, mean and resample ablation and what suffices agree about it."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from tests.laws.test_planted_routes import ENTER, LAYERS, LEAVE, planted_view
from tests.studies.flow import flow_runs
from tests.support.factories import example
from tests.support.float64 import no_upcasts
from tests.support.runs import outcomes

from chiasm.core.claims import of_kind
from chiasm.core.example import DEFAULT_INSTRUCTION
from chiasm.interventions import Variant, Window, replaced
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.results.claims import read_claims
from chiasm.studies.flow.state_means import mean_states

MEAN, OTHER = "ablate:mean@image", "ablate:resample@image"
KEPT = ("image->question", "question->last")
PLANTED = {f"image->question@layers={ENTER}", f"question->last@layers={LEAVE}"}


def same_question(count):
    """Other images for one question, so that the planted positions are those of every example."""
    return [replace(example(seed=k, question="What is it?"), id=f"e{k}") for k in range(count)]


@pytest.fixture(scope="module")
def planted():
    chosen = same_question(12)
    return planted_view(chosen[0])[0], chosen


def effects(view, chosen, **options):
    with no_upcasts(torch.float64):
        return flow_runs.run(view, chosen, controls=False, **options)


def by_layer(run, cut):
    rows = run.table("effects").filter(cut=cut)
    change = (pl.col("logprob_cut") - pl.col("logprob_clean")).abs()
    return rows.group_by("layer").agg(change.max().alias("most")).sort("layer")["most"].to_list()


def test_replacing_from_a_layer_on_loses_what_is_read_there_and_later(planted):
    """All three show the planted layer, with nothing behind it; patching is resampling."""
    view, chosen = planted
    run = effects(view, chosen[:4], cuts=(MEAN, OTHER, KEPT[0]), windows="suffix", window=None)
    for cut in (MEAN, OTHER, KEPT[0]):
        found = by_layer(run, cut)
        assert min(found[: ENTER + 1]) > 0.01, cut
        assert max(found[ENTER + 1 :]) <= 1e-9, cut


def test_replacing_until_a_layer_and_in_one_alone(planted):
    view, chosen = planted
    until = effects(view, chosen[:4], cuts=(MEAN, OTHER, KEPT[0]), windows="prefix", window=None)
    alone = effects(view, chosen[:4], cuts=(MEAN, OTHER, KEPT[0]), window=1)
    for cut in (MEAN, OTHER, KEPT[0]):
        found = by_layer(until, cut)
        assert max(found[:ENTER], default=0.0) <= 1e-9, cut
        assert min(found[ENTER:]) > 0.01, cut
        found = by_layer(alone, cut)
        assert found[ENTER] > 0.01, cut
        assert max(found[:ENTER] + found[ENTER + 1 :]) <= 1e-9, cut


def test_with_the_mean_in_place_nothing_of_the_image_is_left(planted):
    """From the planted layer on, examples with other images are one to the answer; a layer later, each is its own."""
    view, chosen = planted
    with no_upcasts(torch.float64):
        executor = LockstepExecutor(guard=Guard(enabled=False))
        means = mean_states(view, chosen[:4], ("image",), executor, instruction=DEFAULT_INSTRUCTION)
        runs = []
        for one in chosen[:2]:
            encoded = view.encode(one)
            image = tuple(encoded.spans["image"].tolist())
            variants = tuple(
                Variant(str(d), replaced(Window(d, LAYERS, d), LAYERS, image, (0,) * len(image), donor=0, own=None))
                for d in range(LAYERS)
            )
            job = Job(encoded, variants, Readout(full=True), donors=(means.states,))
            runs += outcomes(executor, view, [job])
    between = (runs[0].full - runs[1].full).abs().amax(dim=(1, 2))
    assert float(between[0]) > 0.01, "untouched, they differ"
    assert float(between[1 : ENTER + 2].max()) <= 1e-9
    assert float((between[ENTER + 2 :] - between[0]).abs().max()) <= 1e-9


def test_the_planted_routes_suffice_and_neither_does_alone(planted):
    view, chosen = planted
    lost = {}
    for kept in (KEPT, KEPT[:1], KEPT[1:], tuple(sorted(PLANTED))):
        with no_upcasts(torch.float64):
            run = flow_runs.run(view, chosen[:4], cuts=KEPT[:1], keep_only=kept, window=1)
        rows = run.table("keep_only")
        assert set(rows["open"]) == {"routes", "random", "closed"}
        own = rows.filter(open="routes")
        lost[kept] = float((own["logprob_kept"] - own["logprob_clean"]).abs().max())
        assert (own["right_kept"] == own["right_clean"]).all() or kept in (KEPT[:1], KEPT[1:])
    assert max(lost[KEPT], lost[tuple(sorted(PLANTED))]) <= 1e-9
    assert min(lost[KEPT[:1]], lost[KEPT[1:]]) > 0.01


@pytest.fixture(scope="module")
def searched(planted):
    view, chosen = planted
    with no_upcasts(torch.float64):
        return flow_runs.run(
            view, chosen, cuts=KEPT[:1], window=1, sufficient=12, bands=LAYERS, sufficient_loss=1e-6, batch_size=4
        )


def test_the_search_finds_exactly_the_planted_routes(searched):
    routes = searched.table("sufficient_routes")
    assert set(routes.filter("kept")["route"]) == PLANTED
    assert routes.height % LAYERS == 0
    assert routes.height >= 10 * LAYERS
    assert routes["closed"].to_list() == list(range(1, routes.height + 1))
    assert routes.filter(~pl.col("kept"))["loss"].abs().max() <= 1e-9


def test_what_was_not_chosen_by_is_judged(searched):
    rows = searched.table("sufficiency")
    halves = rows.group_by("half").agg(pl.col("example_id").unique())
    choosing, judging = (set(halves.filter(half=half)["example_id"].explode()) for half in ("choosing", "judging"))
    assert choosing.isdisjoint(judging)
    assert len(choosing) == len(judging) == 6
    loss = (pl.col("logprob_kept") - pl.col("logprob_clean")).abs()
    open_ = rows.filter(open="routes", half="judging").group_by("size").agg(loss.max().alias("most")).sort("size")
    assert open_["most"][2:].max() <= 1e-9
    assert open_["most"][:2].min() > 1e-3


@pytest.mark.heavy
def test_a_random_model_claims_no_sufficient_set(searched):
    """Its answers are right by accident, so that no set of routes keeps more of them than others do."""
    run = flow_runs.run(
        flow_runs.view_of(), same_question(20), cuts=KEPT[:1], window=1, keep_only=KEPT, sufficient=20, bands=2
    )
    claims = read_claims(run.table("claims"))
    assert len(of_kind(claims, "sufficient")) == 2
    assert not [one for one in of_kind(claims, "sufficient") if one.established]
