"""The tables of a patching run: what the contract says, what plain hooked forwards say, resuming, and mistakes."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tests.studies.patch import patch_runs
from tests.support import factories

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.loading import wrap
from chiasm.models.redraw import redrawn
from chiasm.results.claims import read_claims
from chiasm.runners.examples import run_examples
from chiasm.studies.inputs import Inputs, executor_of
from chiasm.studies.patch import STUDY
from chiasm.studies.patch.run import PatchWork
from chiasm.studies.patch.spec import PatchSpec
from chiasm.studies.run import Run

CONTRACT = [
    "example_id",
    "donor_id",
    "type",
    "site",
    "span",
    "layer",
    "start",
    "stop",
    "direction",
    "target_token_id",
    "logprob_clean",
    "logprob_donor",
    "logprob_patched",
    "recovery",
]


@pytest.fixture(scope="module")
def view():
    return patch_runs.view_of()


@pytest.fixture(scope="module")
def chosen():
    return patch_runs.examples()


@pytest.fixture(scope="module")
def found(view, chosen):
    return patch_runs.run(view, chosen, baseline=patch_runs.view_of(seed=1), tokens=2, sites=("residual", "mlp"))


def test_effects_follow_the_contract(found):
    effects = found.table("effects")
    assert effects.columns[: len(CONTRACT)] == CONTRACT
    n = effects["example_id"].n_unique()
    assert n >= 4
    assert effects.height == n * 4 * patch_runs.LAYERS * 2 * 2
    keys = ["example_id", "site", "span", "layer", "direction"]
    assert effects.select(keys).is_unique().all()
    assert set(effects["span"]) == {"image", "image.object", "question", "last"}
    assert (effects["start"] == effects["layer"]).all()


def test_shares_are_what_was_measured(found):
    effects = found.table("effects")
    gap = pl.col("logprob_clean") - pl.col("logprob_donor")
    denoise = (pl.col("logprob_patched") - pl.col("logprob_donor")) / gap
    noise = (pl.col("logprob_clean") - pl.col("logprob_patched")) / gap
    by_hand = pl.when(pl.col("direction") == "denoise").then(denoise).otherwise(noise)
    kept = effects.with_columns(by_hand=by_hand, gap=gap)
    assert kept.filter(pl.col("gap") >= 0.01)["recovery"].null_count() == 0
    assert kept.filter(pl.col("gap") < 0.01)["recovery"].is_null().all()
    both = kept.drop_nulls("recovery")
    assert both["recovery"].to_list() == pytest.approx(both["by_hand"].to_list(), rel=1e-9)
    assert (both["odds_clean"] > 0).all()
    assert (both["odds_donor"] < 0).all()


def test_effects_are_what_the_reference_computes(found, view, chosen):
    """Through other code: one variant at a time, on the plain executor, from the encoded examples alone."""
    rows = found.table("effects").filter(layer=1, span="question")
    encoded = {one.id: view.encode(one) for one in chosen}
    for row in rows.iter_rows(named=True):
        own, donor = encoded[row["example_id"]], encoded[row["donor_id"]]
        into, of = (donor, own) if row["direction"] == "denoise" else (own, donor)
        places = tuple(own.spans["question"].tolist())
        variant = Variant("patch", (Patch(Window(1, 2, 1), row["site"], places, places),))
        tokens = row["target_token_id"], row["donor_token_id"]
        last = own.length - 1
        job = Job(into, (variant,), Readout((last, last), tokens), donors=(of,))
        [result] = ReferenceExecutor().run(view, [job])
        assert row["logprob_patched"] == pytest.approx(float(result.logprobs[0, 0]), abs=1e-6)
        assert row["odds_patched"] == pytest.approx(float(result.logprobs[0, 0] - result.logprobs[0, 1]), abs=1e-6)
        clean = float(result.clean[0])
        assert row["logprob_donor" if row["direction"] == "denoise" else "logprob_clean"] == pytest.approx(
            clean, abs=1e-6
        )


def test_a_whole_image_at_the_first_layer_is_the_other_run(found):
    rows = found.table("effects").filter(site="residual", span="image", layer=0).drop_nulls("recovery")
    assert rows.height
    assert rows["recovery"].to_list() == pytest.approx([1.0] * rows.height, abs=1e-6)
    question = found.table("effects").filter(site="residual", span="question", layer=0)
    assert question["recovery"].drop_nulls().to_list() == pytest.approx([0.0] * question.height, abs=1e-6)


def test_controls_stand_apart_with_the_same_columns(found):
    controls = found.table("controls")
    assert controls.columns == [*found.table("effects").columns, "control", "sample"]
    kinds = dict(controls.group_by("span").agg(pl.col("control").unique().sort()).iter_rows())
    assert "shuffled-donor" in kinds["image"]
    assert "random-tokens" in kinds["image.object"]
    assert "random-tokens" in kinds["last"]


def test_gaps_of_random_weights_stand_beside_those_of_the_model(found):
    pairs, beside = found.table("pairs"), found.table("pairs_controls")
    assert set(beside["control"]) == {"twin"}
    assert set(beside["example_id"]) == set(pairs["example_id"])
    assert (pairs["how"] == "data").all()
    effects = found.table("effects").unique("example_id")
    both = pairs.join(effects, on="example_id")
    assert (both["gap"] - (both["logprob_clean"] - both["logprob_donor"])).abs().max() < 1e-12


def test_every_token_alone_is_a_row_over_the_image(found, view, chosen):
    tokens = found.table("tokens")
    assert set(tokens["example_id"]) <= {one.id for one in chosen[:2]}
    patches = len(view.encode(chosen[0]).spans["image"])
    assert tokens.height == tokens["example_id"].n_unique() * patches * patch_runs.LAYERS * 2
    assert tokens.select("x0", "y0", "x1", "y1").null_count().sum_horizontal().item() == 0


def test_knockouts_of_the_same_pairs_are_kept(found):
    cuts = found.table("knockouts")
    assert set(cuts["cut"]) == {"image->question", "question->last", "image->last"}
    effects = found.table("effects").unique("example_id").select("example_id", "logprob_clean")
    both = cuts.join(effects, on="example_id", suffix="_effects")
    assert (both["logprob_clean"] - both["logprob_clean_effects"]).abs().max() < 1e-9


def test_findings_and_figures(found):
    told = Run(found)
    assert told.findings
    assert told.charts[:2] == ["recovery", "controls"]
    assert any(name.startswith("tokens-") for name in told.charts)
    for name in told.charts:
        told.chart(name)
        told.chart(name, width="3.3in")
    assert told.report().exists()


def test_both_executors_agree(view, chosen):
    ours, plain = (patch_runs.run(view, chosen[:2], executor=name) for name in ("lockstep", "reference"))
    for name in ("effects", "controls", "knockouts"):
        assert_frame_equal(ours.table(name), plain.table(name), abs_tol=1e-6)


def test_one_direction_alone(view, chosen):
    both, alone = (patch_runs.run(view, chosen[:2], direction=name) for name in ("both", "noise"))
    assert set(alone.table("effects")["direction"]) == {"noise"}
    assert_frame_equal(both.table("effects").filter(direction="noise"), alone.table("effects"), abs_tol=1e-9)
    assert Run(alone).findings


def test_resuming_gives_the_same_tables(view, chosen, tmp_path):
    options = {"keep": "all", "batch_size": 2, "smallest_gap": 0.01, "baseline": None}
    whole = patch_runs.run(view, chosen)
    spec = PatchSpec(model=view, data=chosen, out=tmp_path / "run", **options)
    with STUDY.open(spec, {key: whole.manifest[key] for key in ("model", "data")}) as directory:
        work = PatchWork(spec, Inputs(view, None, chosen, {}), executor_of("lockstep", None, 8))
        run_examples(work, chosen[:2], directory, 2, "patch")  # killed before the second batch
    again = patch_runs.run(view, chosen, out=tmp_path / "run", resume=True)
    for name in ("effects", "controls", "pairs", "knockouts"):
        assert again.table(name).equals(whole.table(name))


def reasons(run, kind):
    return {one["example_id"]: one["reason"] for one in getattr(run, kind)()}


def test_pairs_of_different_lengths_say_so(view, chosen):
    """The question's states have no place in the other run; the image's and the last one's have."""
    longer = replace(chosen[1], question="Is it red or blue, or is it some other colour?")
    found = patch_runs.run(view, [chosen[0], longer], controls=False)
    assert set(found.table("effects")["span"]) == {"image", "image.object", "last"}
    skipped = [one["reason"] for one in found.skipped()]
    assert any(reason.startswith("question: question has ") and "in its donor" in reason for reason in skipped)


def test_images_of_another_shape_say_so():
    view = patch_runs.view_of("qwen2_vl")
    one, two = patch_runs.examples(2)
    wide = factories.example(seed=3, size=(112, 56))
    high = factories.example(seed=4, size=(56, 112))
    pair = [replace(one, images=wide.images, boxes=()), replace(two, images=high.images, boxes=())]
    found = patch_runs.run(view, pair, controls=False, spans=("image", "last"))
    skipped = [one["reason"] for one in found.skipped()]
    assert any("lie at different places" in reason or "tokens here" in reason for reason in skipped), skipped
    assert set(found.table("effects")["span"]) == {"last"}


def test_a_gap_that_is_too_small_is_never_divided_by(view, chosen):
    found = patch_runs.run(view, chosen[:4], smallest_gap=1000.0)
    assert found.table("effects")["recovery"].is_null().all()
    assert found.table("effects")["recovery_odds"].is_null().all()
    claims = {one["claim"].partition("-")[0] for one in found.table("claims").iter_rows(named=True)}
    assert not claims & {"recovery", "most", "odds"}
    told = Run(found)
    assert "none has a large enough gap" in told.reporter.headline()
    assert told.report().exists()


def test_a_donor_that_cannot_be_read_costs_its_pair_alone(view, chosen):
    broken = replace(chosen[1], images=(Path("/nowhere.png"),))
    found = patch_runs.run(view, [chosen[0], broken, *chosen[2:4]])
    failed = reasons(found, "failures")
    assert "its donor `example-1`" in failed["example-0"]
    assert set(found.table("pairs")["example_id"]) <= {"example-2", "example-3"}


def test_donors_that_are_not_there_are_named(view, chosen):
    lost = replace(chosen[0], pair="nobody")
    own = replace(chosen[1], pair="example-1")
    none = replace(chosen[2], pair="")
    found = patch_runs.run(view, [lost, own, none, *chosen[4:]], pairs="data")
    left = reasons(found, "left_out")
    assert left["example-0"] == "its pair `nobody` is not among the examples that are used"
    assert left["example-1"] == "it names itself as its `pair`"
    assert left["example-2"] == "it names no `pair`"


def test_runs_that_are_answered_alike_are_left_out(view, chosen):
    twin = replace(chosen[1], images=chosen[0].images, boxes=chosen[0].boxes)
    found = patch_runs.run(view, [chosen[0], twin, *chosen[2:]])
    assert reasons(found, "left_out")["example-0"].startswith("both runs are answered alike, beginning with")


def test_wrong_answers_are_left_out_by_default(view, chosen):
    with pytest.raises(ChiasmError, match="--keep all"):
        patch_runs.run(view, chosen, keep="correct")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spans": ()}, "names none"),
        ({"spans": ("image", "image")}, "given twice"),
        ({"spans": ("imaeg",)}, "Did you mean image"),
        ({"sites": ("residul",)}, "Did you mean residual"),
        ({"window": 0}, "it must be >= 1"),
        ({"window": 8}, "all 4 layers"),
        ({"pairs": "minimal"}, "nothing is left"),
    ],
)
def test_mistakes(view, chosen, options, message):
    with pytest.raises(ChiasmError, match=message):
        patch_runs.run(view, chosen[:2], **options)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.heavy)])
def test_a_random_model_claims_nothing(seed):
    """Where its answers depend on the image at all, others drawn like it have as large a gap."""
    view = redrawn(wrap(*factories.build("llava", layers=patch_runs.LAYERS)), 40 + seed)
    chosen = patch_runs.examples(24)
    options = {"smallest_gap": 0.001, "spans": ("image", "last"), "knockouts": False, "direction": "noise"}
    options["batch_size"] = 8
    found = patch_runs.run(view, chosen, baseline="random", **options)
    made = read_claims(found.table("claims"))
    assert not [one for one in made if one.kind in ("recovery", "most") and one.found]


def test_convolution_and_recurrent_layers_are_patched_as_well():
    """Where cuts cannot: a patch needs no attention."""
    view = patch_runs.view_of("lfm2_vl")
    found = patch_runs.run(view, patch_runs.examples(2), controls=False, sites=("residual", "mlp"))
    assert set(found.table("effects")["layer"]) == {0, 1, 2, 3}
    assert set(found.table("knockouts")["layer"]) == {1, 3}


def test_half_precision_has_a_floor_for_gaps():
    view = patch_runs.view_of(dtype=torch.bfloat16)
    view = view.in_precision(type(view.precision).of(view.model)) if not view.precision.half else view
    found = patch_runs.run(view, patch_runs.examples(), controls=False, dtype="bfloat16")
    least = found.table("pairs")["gap_least"]
    assert (least >= 0.01).all()
