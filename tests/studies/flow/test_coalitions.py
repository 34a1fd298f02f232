"""What each patch adds: right by construction, and the same as one masked run per coalition gives."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support import factories
from tests.support.float64 import no_upcasts
from tests.support.planted import PlantedLlama

from chiasm.core.errors import ChiasmError
from chiasm.core.positions import Spans
from chiasm.interventions import BlockedAttention, Variant, Window
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView
from chiasm.studies.flow.coalitions import coalitions, growing, super_patches
from chiasm.studies.flow.plan import plan
from chiasm.studies.flow.spec import FlowSpec

WINDOW = Window(0, flow_runs.LAYERS, flow_runs.LAYERS // 2)


def planned(view, example, side=1, permutations=3):
    encoded = view.encode(example)
    parts = super_patches(encoded.layouts, side)
    key, boxes = (0, example.id), bool(example.boxes)
    return encoded, coalitions(parts, encoded, WINDOW, permutations=permutations, key=key, boxes=boxes)


def visible_under(found, variant):
    """Which patches a variant leaves visible, from what it blocks."""
    hidden = {key for change in variant.changes for key in change.keys}
    return np.array([hidden.isdisjoint(part.positions) for part in found.parts])


def values_of(found, worth):
    """The values in a world where a coalition is worth `worth(visible)`, by method."""
    measured = [worth(visible_under(found, variant)) for variant in found.variants]
    rows = list(found.values(worth(np.ones(len(found.parts), dtype=bool)), measured))
    return {
        method: np.array([row[2] for row in rows if row[0] == method]) for method in dict.fromkeys(r[0] for r in rows)
    }


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def found(view):
    return planned(view, flow_runs.examples(1)[0])[1]


def test_one_patch_that_decides_is_named_by_every_method(found):
    values = values_of(found, lambda visible: 2.0 * visible[5])
    for method in ("leave-one-out", "keep-one", "shapley"):
        np.testing.assert_allclose(values[method], 2.0 * (np.arange(len(found.parts)) == 5), atol=1e-12)


def test_the_one_patch_that_a_decoder_can_read_is_named():
    """By its masks only patch 6 reaches the question, and only the question the answer."""
    with no_upcasts(torch.float64):
        model, processor = factories.build("llava", dtype=torch.float64, layers=flow_runs.LAYERS)
        decoder = PlantedLlama(model.model.language_model.config).double().eval()
        decoder.load_state_dict(model.model.language_model.state_dict())
        model.model.language_model = decoder
        model.set_attn_implementation("sdpa")
        view = ModelView(model, processor)
        encoded, found = planned(view, flow_runs.examples(1)[0], permutations=2)
        spans = encoded.spans
        decoder.plant(Spans(spans.length, {**spans.positions, "image": spans["image"][6:7]}), 1, 2)
        result = LockstepExecutor(guard=Guard(enabled=False)).run(view, [Job(encoded, found.variants)])[0]
        rows = list(found.values(float(result.clean[0]), result.logprobs[:, 0].tolist()))
    assert len(rows) == 3 * 16
    for _, patch, value, *_ in rows:
        assert abs(value) > 0.01 if patch == 6 else abs(value) < 1e-9


def test_two_patches_that_stand_in_for_each_other_are_named_only_where_one_is_kept(view):
    _, found = planned(view, flow_runs.examples(1)[0], permutations=40)
    values = values_of(found, lambda visible: 3.0 * (visible[2] or visible[9]))
    pair = np.isin(np.arange(len(found.parts)), (2, 9))
    assert not values["leave-one-out"].any()
    np.testing.assert_allclose(values["keep-one"], 3.0 * pair)
    assert (values["shapley"][pair] > 0.5).all(), "each comes first in some orders"
    assert not values["shapley"][~pair].any()
    assert values["shapley"].sum() == pytest.approx(3.0, abs=1e-12)


def test_two_patches_that_need_each_other_are_named_only_where_one_is_hidden(view):
    _, found = planned(view, flow_runs.examples(1)[0], permutations=40)
    values = values_of(found, lambda visible: 3.0 * (visible[2] and visible[9]))
    pair = np.isin(np.arange(len(found.parts)), (2, 9))
    np.testing.assert_allclose(values["leave-one-out"], 3.0 * pair)
    assert not values["keep-one"].any()
    assert (values["shapley"][pair] > 0.5).all()


def test_what_patches_add_sums_to_all_less_none_in_every_order(view):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 16))
    worth = lambda visible: float(visible @ weights @ visible) - 1.5  # noqa: E731
    for permutations in (1, 5):
        _, found = planned(view, flow_runs.examples(1)[0], permutations=permutations)
        total = worth(np.ones(16, dtype=bool)) - worth(np.zeros(16, dtype=bool))
        assert values_of(found, worth)["shapley"].sum() == pytest.approx(total, abs=1e-10)


def test_the_interval_over_orders_holds_the_exact_value(view):
    """Of a game of pairs the Shapley value is known: a patch gets its own worth and half of what it has with others."""
    rng = np.random.default_rng(1)
    pairs = np.triu(rng.normal(size=(16, 16)))
    exact = np.diag(pairs) + (np.triu(pairs, 1).sum(axis=1) + np.triu(pairs, 1).sum(axis=0)) / 2
    held, of = 0, 0
    for number in range(30):
        _, found = planned(view, replace(flow_runs.examples(1)[0], id=f"game-{number}"), permutations=8)
        clean = float(pairs.sum())
        measured = [float(v @ pairs @ v) for v in (visible_under(found, one) for one in found.variants)]
        for method, patch, _, low, high, n in found.values(clean, measured):
            if method == "shapley":
                held += low <= exact[patch] <= high
                of += 1
                assert n == 8
    assert 0.92 <= held / of <= 0.98


def test_a_single_order_and_exact_methods_have_no_interval(found, view):
    rows = list(found.values(1.0, [0.0] * len(found.variants)))
    assert all(
        math.isnan(low) and math.isnan(high) and n == 1 for method, *_, low, high, n in rows if method != "shapley"
    )
    _, one = planned(view, flow_runs.examples(1)[0], permutations=1)
    rows = list(one.values(1.0, [0.0] * len(one.variants)))
    assert all(math.isnan(row[3]) for row in rows if row[0] == "shapley")


def test_coalitions_are_run_once_and_orders_depend_on_seed_and_example_alone(view):
    example = flow_runs.examples(1)[0]
    encoded, found = planned(view, example, permutations=3)
    codes = [visible_under(found, one).tobytes() for one in found.variants]
    assert len(set(codes)) == len(codes)
    # 16 hidden, 16 kept, none, and of each order what lies between: two patches up to all but two.
    assert len(codes) <= 33 + 3 * 13
    again = planned(view, example, permutations=3)[1]
    assert all(np.array_equal(a, b) for a, b in zip(found.orders, again.orders, strict=True))
    other = coalitions(found.parts, encoded, WINDOW, permutations=3, key=(1, example.id), boxes=False)
    assert not all(np.array_equal(a, b) for a, b in zip(found.orders, other.orders, strict=True))
    steps = list(growing(found.orders[0]))
    assert [int(one.sum()) for one in steps] == list(range(17))


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl", "idefics3", "paligemma"])
def test_lockstep_gives_what_one_masked_run_per_coalition_gives(family):
    view = flow_runs.view_of(family)
    example = factories.example(seed=0)
    encoded, found = planned(view, example, side=None if family == "idefics3" else 2, permutations=2)
    job = Job(encoded, found.variants)
    lockstep = LockstepExecutor(guard=Guard(enabled=False)).run(view, [job])[0]
    reference = ReferenceExecutor().run(view, [job])[0]
    fast, slow = (
        np.array([row[2] for row in found.values(float(one.clean[0]), one.logprobs[:, 0].tolist())])
        for one in (lockstep, reference)
    )
    np.testing.assert_allclose(fast, slow, atol=1e-5)
    assert np.abs(slow).max() > 1e-4


def test_kept_alone_all_other_patches_are_hidden_from_every_row_behind(view):
    """As plain masked runs with the text behind the image as targets say."""
    run = flow_runs.run(view, flow_runs.examples(1), patches=1, controls=False)
    encoded = view.encode(flow_runs.examples(1)[0])
    image = [int(p) for p in encoded.spans["image"]]
    text = tuple(range(image[-1] + 1, encoded.length))
    kept = [BlockedAttention(WINDOW, text, tuple(q for q in image if q != p)) for p in image]
    none = BlockedAttention(WINDOW, text, tuple(image))
    job = Job(encoded, tuple(Variant(str(k), (change,)) for k, change in enumerate((*kept, none))))
    logprobs = ReferenceExecutor().run(view, [job])[0].logprobs[:, 0]
    rows = run.table("patch_values").filter(pl.col("method") == "keep-one").sort("patch")
    assert rows["value"].to_list() == pytest.approx((logprobs[:-1] - logprobs[-1]).tolist(), abs=1e-5)


def test_hidden_alone_is_what_the_table_of_patches_says(view):
    run = flow_runs.run(view, flow_runs.examples(3), baseline=flow_runs.view_of(seed=1), patches=2, shapley=2)
    patches, values = run.table("patches"), run.table("patch_values")
    assert patches["example_id"].n_unique() == 2
    both = patches.join(values.filter(pl.col("method") == "leave-one-out"), on=["example_id", "patch"])
    assert both.height == patches.height
    assert (both["value"] + both["logprob_cut"] - both["logprob_clean"]).abs().max() < 1e-12
    assert values["method"].unique(maintain_order=True).to_list() == ["leave-one-out", "keep-one", "shapley"]
    assert values["in_object"].null_count() == (0 if flow_runs.examples(1)[0].boxes else values.height)
    assert values["low"].null_count() == 2 * values.height // 3
    controls = run.table("patch_values_controls")
    assert controls.height == values.height
    assert set(controls["control"]) == {"twin"}
    assert not np.allclose(controls["value"].to_numpy(), values["value"].to_numpy())


def test_the_examples_of_a_batch_and_the_executor_change_nothing(view):
    tables = [
        flow_runs.run(view, flow_runs.examples(2), patches=2, shapley=1, controls=False, cuts=["image->last"], **given)
        .table("patch_values")
        .drop("answer")
        for given in ({}, {"batch_size": 1}, {"executor": "reference"})
    ]
    for other in tables[1:]:
        assert other.drop("value", "low", "high").equals(tables[0].drop("value", "low", "high"))
        np.testing.assert_allclose(other["value"], tables[0]["value"], atol=1e-5)


def test_an_image_of_one_patch_has_all_its_worth_there(view):
    _, found = planned(view, flow_runs.examples(1)[0], side=4, permutations=2)
    values = values_of(found, lambda visible: 1.5 * visible[0])
    assert {method: value.tolist() for method, value in values.items()} == {
        "leave-one-out": [1.5],
        "keep-one": [1.5],
        "shapley": [1.5],
    }


def test_patches_are_tokens_unless_a_size_is_given(view):
    encoded = view.encode(flow_runs.examples(1)[0])
    assert FlowSpec(model="tiny").patch_size == 1
    assert FlowSpec(model="tiny", patch_size=None).patch_size is None
    assert [len(super_patches(encoded.layouts, side)) for side in (1, 2, 4, None)] == [16, 4, 1, 16]
    large = SimpleNamespace(
        positions=np.arange(576),
        rects=np.array([[x, y, x + 1, y + 1] for y in range(24) for x in range(24)], dtype=float),
        tile=np.array(["base"] * 576),
        newline=np.zeros(576, dtype=bool),
    )
    assert [len(super_patches([large], side)) for side in (1, 2, None)] == [576, 144, 144]
    with pytest.raises(ChiasmError, match="patch-size 0"):
        FlowSpec(model="tiny", patch_size=0)
    with pytest.raises(ChiasmError, match="shapley -1"):
        FlowSpec(model="tiny", shapley=-1)


def test_half_precision_reads_differences_to_one_clean_run():
    view = flow_runs.view_of(dtype=torch.bfloat16)
    example = flow_runs.examples(1)[0]
    spec = FlowSpec(model="tiny", patches=1, shapley=1, cuts=("image->last",))
    one = plan(spec, spec.interventions(), view.kinds, 0, example, view.encode(example), half=True)
    assert one.mapped is not None
    assert [p.variant for p in one.planned[one.first_mapped :]] == list(one.mapped.variants)
    assert sum(p.table == "patches" for p in one.planned) == len(one.mapped.parts)
