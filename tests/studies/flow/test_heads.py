"""Single heads in a run: what the table holds, what stands beside it, and what is said of planted and random heads."""

from itertools import product

import polars as pl
import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support import factories
from tests.support.planted import PlantedLlama

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.interventions import BlockedAttention, Variant, Window, ZeroedHeads
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.loading import wrap
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.tables import OTHER_HEADS, SIZE_MATCHED

LAYERS, HEADS = flow_runs.LAYERS, 4


def tables_of(run):
    return {name: run.table(name) for name in run.tables()}


def test_each_head_of_each_layer_is_changed_in_both_ways():
    view, chosen = flow_runs.view_of(), flow_runs.examples(3)
    run = flow_runs.run(view, chosen, heads=True, cuts=["image->question", "image->last"])
    rows = run.table("heads")
    assert rows.columns[:8] == ["example_id", "type", "cut", "layer", "head", "kind", "logprob_clean", "logprob_cut"]
    asked = {
        ("image->question@heads=all", "edges"), ("zero:heads@question", "output"),
        ("image->last@heads=all", "edges"), ("zero:heads@last", "output"),
    }  # fmt: skip
    assert set(rows.select("cut", "kind").unique().rows()) == asked
    assert rows.height == 3 * len(asked) * LAYERS * HEADS
    assert rows.select("example_id", "cut", "layer", "head").is_unique().all()
    example = chosen[1]
    prompt = view.encode(example)
    image, last = tuple(prompt.spans["image"].tolist()), tuple(prompt.spans["last"].tolist())
    variants = [
        Variant(f"{h}", (change,))
        for layer, h in product(range(LAYERS), range(HEADS))
        for change in (
            BlockedAttention(Window(layer, layer + 1, layer), last, image, (h,)),
            ZeroedHeads(Window(layer, layer + 1, layer), (h,), last),
        )
    ]
    (plain,) = ReferenceExecutor().run(view, [Job(prompt, tuple(variants), Readout())])
    own = rows.filter(example_id=example.id).sort("layer", "head")
    edges = own.filter(cut="image->last@heads=all")["logprob_cut"].to_list()
    output = own.filter(cut="zero:heads@last")["logprob_cut"].to_list()
    assert edges == pytest.approx(plain.logprobs[::2, 0].tolist(), abs=1e-6)
    assert output == pytest.approx(plain.logprobs[1::2, 0].tolist(), abs=1e-6)
    assert own["logprob_clean"].unique().to_list() == pytest.approx([float(plain.clean[0])], abs=1e-6)


def test_the_cut_of_all_heads_stands_beside_heads_that_are_named():
    spec = FlowSpec(model="tiny", cuts=["image->last@heads=0", "zero:heads@question", "image->last"])
    assert [one.text for one in spec.interventions()] == ["image->last", "zero:attention@question"]
    assert [one.text for one in spec.head_interventions()] == ["image->last@heads=0", "zero:heads@question"]
    parts = FlowSpec(model="tiny", heads=True)
    edges = [one.text for one in parts.head_interventions() if one.kind == "edges"]
    assert edges == [f"{cut}@heads=all" for cut in ("question->last", "image->last", "last->last", "image->question")]


def test_controls_of_a_head_are_made_in_the_same_head_and_in_others():
    view, chosen = flow_runs.view_of(), flow_runs.examples(3)
    run = flow_runs.run(
        view, chosen, baseline=flow_runs.view_of(seed=1), cuts=["image[0]->last@heads=1,2", "image->last@heads=all"]
    )
    controls = run.table("heads_controls")
    found = set(controls.select("cut", "control").unique().rows())
    assert ("image[0]->last@heads=1,2", OTHER_HEADS) in found
    assert ("image[0]->last@heads=1,2", RANDOM_WEIGHTS) in found
    # All heads of a layer are there themselves.
    assert ("image->last@heads=all", OTHER_HEADS) not in found
    others = controls.filter(control=OTHER_HEADS)
    assert set(others["head"]) == {1, 2}
    assert set(others["heads"]) <= {"0", "3"}
    assert set(controls.filter(control=SIZE_MATCHED)["heads"]) <= {"0", "1", "2", "3"}


def test_as_many_random_keys_are_cut_in_the_same_head():
    view, chosen = flow_runs.view_of(), flow_runs.examples(2)
    run = flow_runs.run(view, chosen, cuts=["image[0]->last@heads=all", "question.options->last@heads=all"])
    controls = run.table("heads_controls").filter(control=SIZE_MATCHED)
    cut = "question.options->last@heads=all"
    assert controls.filter(cut=cut).height == 2 * LAYERS * HEADS
    beside = run.table("heads").filter(cut=cut).join(controls, on=["example_id", "cut", "layer", "head"])
    assert (beside["heads"] == beside["heads_right"]).all()
    assert (beside["logprob_cut"] - beside["logprob_cut_right"]).abs().max() > 1e-4


def test_groups_are_the_heads_that_share_their_keys():
    view, chosen = flow_runs.view_of(), flow_runs.examples(2)
    run = flow_runs.run(view, chosen, cuts=["image->last@heads=groups", "zero:heads=groups@last"], controls=False)
    rows = run.table("heads")
    assert set(rows.select("head", "heads").unique().rows()) == {(0, "0-1"), (1, "2-3")}
    assert set(of_kind_of(run)) == {f"{cut}, group {g}" for cut in set(rows["cut"]) for g in (0, 1)}


def of_kind_of(run):
    return [one.about for one in of_kind(claims(tables_of(run)), "head")]


@pytest.mark.parametrize(
    ("cut", "found"),
    [("image->last@heads=4", "heads 0 to 3, and no head 4"), ("zero:heads=1,9@last", "no head 9")],
)
def test_heads_that_are_not_there_are_refused(cut, found):
    with pytest.raises(ChiasmError, match=found):
        flow_runs.run(flow_runs.view_of(), flow_runs.examples(2), cuts=[cut])


def test_groups_are_refused_where_no_heads_share_keys():
    with pytest.raises(ChiasmError, match="no heads share any"):
        flow_runs.run(flow_runs.view_of("blip_2"), flow_runs.examples(2), cuts=["image->last@heads=groups"])


def test_heads_between_no_spans():
    with pytest.raises(ChiasmError, match="names a pair of spans"):
        FlowSpec(model="tiny", heads=True, cuts=["zero:mlp@question"])


def test_layers_without_heads_are_left_out_and_said():
    run = flow_runs.run(flow_runs.view_of("lfm2_vl"), flow_runs.examples(2), cuts=["image->last@heads=all"])
    assert set(run.table("heads")["layer"]) == {1, 3}
    assert any("layers 0, 2: positions are mixed without heads" in one["reason"] for one in run.skipped())


def alike(count):
    """Examples whose spans are at the same places."""
    return [factories.example(seed=k, size=(40, 40), question="What color is it, red or blue?") for k in range(count)]


def planted(layers, enter, leave, head):
    model, processor = factories.build("llava", dtype=torch.float64, layers=layers)
    text = model.model.language_model
    decoder = PlantedLlama(text.config).double().eval()
    decoder.load_state_dict(text.state_dict())
    model.model.language_model = decoder
    model.set_attn_implementation("sdpa")
    view = wrap(model, processor)
    decoder.plant(view.encode(alike(1)[0]).spans, enter, leave)
    decoder.leave_one_head(head, strength=8.0)
    return view


def test_a_planted_head_is_found_and_no_other():
    """Chosen on one half, confirmed on the other, beyond the other heads of its layer; in both ways."""
    view = planted(4, enter=1, leave=2, head=3)
    run = flow_runs.run(view, alike(40), heads=True, cuts=["image->question"], window=1, batch_size=8)
    found = claims(tables_of(run))
    both = [("image->question@heads=all, head 3", "1"), ("zero:heads@question, head 3", "1")]
    for kind in ("head", "head-held-out"):
        assert [(one.about, one.where) for one in of_kind(found, kind) if one.found] == both
        assert all(one.control == OTHER_HEADS for one in of_kind(found, kind) if one.found)
    said = [one.text for one in flow_findings(found, layers=4) if "head 3 of layer 1" in one.text]
    assert len(said) == 2


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.heavy)])
def test_no_head_of_a_random_model_is_claimed(seed):
    """Beside models of its own kind, which differ in nothing but their draw."""
    view = flow_runs.view_of(seed=seed)
    run = flow_runs.run(view, flow_runs.examples(24), baseline="random", heads=True, cuts=["image->question"])
    found = claims(tables_of(run))
    assert len(of_kind(found, "head")) == 2 * LAYERS * HEADS
    assert run.table("heads_controls").filter(control=RANDOM_WEIGHTS)["sample"].n_unique() == 5
    assert not [one for one in found if one.kind in ("head", "head-held-out") and one.found]


def test_without_enough_inputs_no_head_is_chosen():
    run = flow_runs.run(flow_runs.view_of(), flow_runs.examples(4), heads=True, cuts=["image->last"], controls=False)
    found = claims(tables_of(run))
    assert not of_kind(found, "head-held-out")
    assert any("4 inputs are too few to choose heads" in one.text for one in flow_findings(found, layers=LAYERS))


def test_half_precision_is_compared_with_no_ops_of_one_layer():
    view = flow_runs.view_of(dtype=torch.float32)
    served = wrap(view.model.to(torch.bfloat16), view.processor, dtype="bfloat16")
    run = flow_runs.run(served, flow_runs.examples(2), heads=True, cuts=["image->last"], controls=False)
    rows = run.table("heads")
    assert rows.height == 2 * 2 * LAYERS * HEADS
    effects = run.table("effects")
    assert isinstance(rows, pl.DataFrame)
    assert effects.height == 2 * LAYERS
