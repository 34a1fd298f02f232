"""The tables of a flow run: what the contract says, and what the model itself says."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tests.studies.flow import flow_runs
from tests.support import factories

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError, GuardError
from chiasm.core.example import Example
from chiasm.interventions import AttentionKnockout, BlockedAttention, Variant, Window, centred
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.generation import generate
from chiasm.models.loading import wrap
from chiasm.results.claims import read_claims
from chiasm.studies.flow.spec import PAPER_CUTS, FlowSpec
from chiasm.studies.flow.swaps import Donors
from chiasm.studies.inputs import blanked

CONTRACT = [
    "example_id",
    "type",
    "cut",
    "layer",
    "start",
    "stop",
    "target_token_id",
    "logprob_clean",
    "logprob_cut",
    "prob_clean",
    "prob_cut",
    "change_percent",
    "top_token_id",
    "flipped",
]


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def run(view):
    return flow_runs.run(view, flow_runs.examples(), baseline=flow_runs.view_of(seed=1), patches=1, words=2)


def test_effects_follow_the_contract(run):
    effects = run.table("effects")
    assert effects.columns == CONTRACT
    assert effects.height == 4 * len(PAPER_CUTS) * flow_runs.LAYERS
    assert effects.select("example_id", "cut", "layer").is_unique().all()
    assert set(effects["cut"]) == set(PAPER_CUTS)
    windows = effects.select("layer", "start", "stop").unique().sort("layer").rows()
    assert windows == [(0, 0, 2), (1, 0, 3), (2, 1, 4), (3, 2, 4)]


def test_effects_are_what_the_reference_computes(run, view):
    """Through other code: one variant at a time, on the plain executor."""
    examples = flow_runs.examples()
    rows = {(r["example_id"], r["cut"], r["layer"]): r for r in run.table("effects").iter_rows(named=True)}
    for example in examples[:2]:
        encoded = view.encode(example)
        for text in PAPER_CUTS:
            for window in centred(flow_runs.LAYERS, 3):
                job = Job(encoded, (Variant(text, (AttentionKnockout.parse(text).on(encoded.spans, window),)),))
                found = ReferenceExecutor().run(view, [job])[0]
                row = rows[example.id, text, window.centre]
                clean, cut = float(found.clean[0]), float(found.logprobs[0, 0])
                assert row["target_token_id"] == int(found.tokens[0])
                assert row["logprob_clean"] == pytest.approx(clean, abs=1e-6)
                assert row["logprob_cut"] == pytest.approx(cut, abs=1e-5)
                assert row["change_percent"] == pytest.approx(100 * (math.exp(cut - clean) - 1), abs=1e-2)
                assert row["top_token_id"] == int(found.top[0, 0])
                assert row["flipped"] == (row["top_token_id"] != row["target_token_id"])


def test_the_target_is_the_first_token_of_the_greedy_answer(run, view):
    for example in flow_runs.examples():
        first = generate(view, [view.encode(example)], max_new_tokens=1)[0].tokens[0]
        assert set(run.table("effects").filter(example_id=example.id)["target_token_id"]) == {first}


def test_a_cut_of_the_question_in_the_last_layer_shows_nothing(view):
    """What is cut there is read by no later layer, so the last position cannot know of it."""
    found = flow_runs.run(view, flow_runs.examples(2), window=1, cuts=("image->question", "question->last"))
    effects = found.table("effects").filter(layer=flow_runs.LAYERS - 1)
    assert effects.filter(cut="image->question")["change_percent"].to_list() == [0.0, 0.0]
    assert effects.filter(cut="question->last")["change_percent"].abs().min() > 0


def test_controls_stand_apart_with_the_same_columns(run):
    controls = run.table("controls")
    assert controls.columns == [*CONTRACT, "control", "sample"]
    kinds = controls.group_by("cut").agg(pl.col("control").unique().sort())
    by_cut = dict(kinds.iter_rows())
    doses = ["dose-0.25", "dose-0.5", "dose-0.75"]
    assert by_cut["question->last"] == ["size-matched", "twin"]
    # Before the question there are fewer other tokens than image tokens.
    assert by_cut["image->question"] == ["averaged", "blank", *doses, "image-swap", "twin"]
    # Objects are a part of the image, the rest of which can be cut in their place.
    assert "size-matched" in by_cut["image.object->question"]
    assert controls.filter(control="twin").height == run.table("effects").height


def test_the_swapped_image_is_a_run_of_its_own(run, view):
    examples = flow_runs.examples()
    rows = run.table("controls").filter(control="image-swap", example_id=examples[0].id)
    assert rows["change_percent"].n_unique() == 1
    assert set(rows["cut"]) == {cut for cut in PAPER_CUTS if cut.startswith("image")}
    donor = Donors(examples, run.manifest["seed"]).of(examples[0])
    other = view.encode(replace(examples[0], images=donor.images, boxes=()))
    with torch.no_grad():
        logprobs = torch.log_softmax(view.model(**other.inputs).logits[0, -1], dim=-1)
    assert rows["logprob_cut"][0] == pytest.approx(float(logprobs[rows["target_token_id"][0]]), abs=1e-5)


def test_the_blank_control_is_the_same_cut_where_there_is_nothing_to_see(run, view):
    """Its rows are those of a run on blank images, for the token that the own image made most probable."""
    example = flow_runs.examples()[1]
    rows = run.table("controls").filter(control="blank", example_id=example.id).sort("cut", "layer")
    assert set(rows["cut"]) == {cut for cut in PAPER_CUTS if cut.startswith("image")}
    own = flow_runs.run(view, [blanked(example)], controls=False).table("effects")
    same = rows.join(own, on=["cut", "layer", "target_token_id"], suffix="_alone")
    if same.height:  # where the blank image has the same answer
        assert (same["logprob_cut"] - same["logprob_cut_alone"]).abs().max() < 1e-9
    encoded = view.encode(blanked(example))
    with torch.no_grad():
        logprobs = torch.log_softmax(view.model(**encoded.inputs).logits[0, -1], dim=-1)
    target = rows["target_token_id"][0]
    assert target == run.table("effects").filter(example_id=example.id)["target_token_id"][0]
    assert rows["logprob_clean"].to_list() == pytest.approx([float(logprobs[target])] * rows.height, abs=1e-9)


def test_random_models_share_the_examples_and_differ(view):
    examples = flow_runs.examples(12)
    found = flow_runs.run(view, examples, cuts=["question->last"], baseline="random", random_models=3)
    rows = found.table("controls").filter(control="twin")
    by_model = dict(rows.group_by("sample").agg(pl.col("example_id").n_unique()).iter_rows())
    assert set(by_model) == {0, 1, 2}
    assert sum(by_model.values()) == 12
    again = flow_runs.run(view, examples[::-1], cuts=["question->last"], baseline="random", random_models=3)
    other = again.table("controls").filter(control="twin").sort("example_id", "layer")
    assert other["sample"].equals(rows.sort("example_id", "layer")["sample"]), (
        "which model depends on the example alone"
    )
    assert (other["logprob_cut"] - rows.sort("example_id", "layer")["logprob_cut"]).abs().max() < 1e-9


def test_a_named_baseline_is_never_drawn_anew(view):
    found = flow_runs.run(view, flow_runs.examples(4), cuts=["question->last"], baseline=flow_runs.view_of(seed=1))
    assert set(found.table("controls").filter(control="twin")["sample"]) == {0}


def test_without_other_images_the_swap_is_skipped_and_told(view):
    first = flow_runs.examples(1)[0]
    found = flow_runs.run(view, [first, replace(first, id="second")])
    assert "image-swap" not in set(found.table("controls")["control"])
    assert {item["reason"] for item in found.skipped()} == {"image-swap: no other example has an image to swap in"}


def test_controls_can_be_left_out(view):
    found = flow_runs.run(view, flow_runs.examples(2), controls=False, baseline=flow_runs.view_of(seed=1))
    assert found.tables() == ["examples", "followed", "effects", "answers", "claims"]


def test_a_baseline_of_another_depth_is_refused(view):
    baseline = wrap(*factories.build("llava", layers=2))
    with pytest.raises(ChiasmError, match="it has 2 layers and"):
        flow_runs.run(view, flow_runs.examples(1), baseline=baseline)


def test_answers_are_tracked_from_the_embeddings_to_the_output(run, view):
    answers = run.table("answers")
    assert answers.columns == ["example_id", "type", "layer", "form", "token_id", "prob", "prob_raw"]
    assert set(answers["form"]) == {"lower", "capital", "red", "Red", "blue", "Blue"}
    assert sorted(set(answers["layer"])) == list(range(flow_runs.LAYERS + 1))
    example = flow_runs.examples(1)[0]
    with torch.no_grad():
        out = view.model(**view.encode(example).inputs, output_hidden_states=True)
        head = view.model.get_output_embeddings()
        norm = view.model.get_decoder().norm
        released = [torch.softmax(head(state[0, -1]), -1) for state in out.hidden_states]
        normed = [torch.softmax(head(norm(state[0, -1])), -1) for state in out.hidden_states[:-1]] + released[-1:]
    for row in answers.filter(example_id=example.id).iter_rows(named=True):
        assert row["prob"] == pytest.approx(float(normed[row["layer"]][row["token_id"]]), abs=1e-6)
        # transformers hands out the last state normed, which is what the released code reads.
        assert row["prob_raw"] == pytest.approx(float(released[row["layer"]][row["token_id"]]), abs=1e-6)


def test_without_a_lens_cuts_are_computed_and_no_state_is_read(monkeypatch):
    view = flow_runs.view_of()
    monkeypatch.setattr(type(view.family), "refused", {"lens": "its layers carry two streams of states"})
    asked = []
    plain = ReferenceExecutor.run

    def watched(self, view, jobs):
        asked.extend(job.states for job in jobs)
        return plain(self, view, jobs)

    monkeypatch.setattr(ReferenceExecutor, "run", watched)
    options = {"executor": "reference", "cuts": ("image->last",), "controls": False, "keep": "all", "words": 2}
    found = flow_runs.run(view, flow_runs.examples(1), **options)
    assert found.table("effects").height
    assert "answers" not in found.tables()
    assert asked
    assert not any(asked)


def test_a_head_that_does_not_give_the_output_is_refused(monkeypatch):
    view = flow_runs.view_of()
    plain = type(view).unembed
    monkeypatch.setattr(type(view), "unembed", lambda self, states, normed=True: plain(self, states, normed=False))
    with pytest.raises(GuardError, match="at the last layer"):
        flow_runs.run(view, flow_runs.examples(1))


def test_patches_cover_the_image_once(run):
    patches = run.table("patches")
    assert patches["example_id"].n_unique() == 1
    assert patches.height == 16
    areas = (patches["x1"] - patches["x0"]) * (patches["y1"] - patches["y0"])
    whole = (patches["x1"].max() - patches["x0"].min()) * (patches["y1"].max() - patches["y0"].min())
    assert areas.sum() == pytest.approx(whole)
    assert patches["change_percent"].abs().max() > 0


def test_a_hidden_patch_is_hidden_from_every_row_behind_it(view, run):
    """As one plain masked run per patch, in all layers, with the text rows behind the image as its targets."""
    encoded = view.encode(flow_runs.examples(1)[0])
    text = np.setdiff1d(np.arange(encoded.spans["image"][-1] + 1, encoded.length), encoded.spans["image"])
    whole = Window(0, flow_runs.LAYERS, 0)
    hidden = [BlockedAttention(whole, tuple(map(int, text)), (int(p),)) for p in encoded.spans["image"]]
    job = Job(encoded, tuple(Variant(str(k), (change,)) for k, change in enumerate(hidden)))
    found = ReferenceExecutor().run(view, [job])[0]
    rows = run.table("patches").sort("patch")
    assert rows["logprob_cut"].to_list() == pytest.approx(found.logprobs[:, 0].tolist(), abs=1e-5)


def test_super_patches_join_neighbours(view):
    found = flow_runs.run(view, flow_runs.examples(1), patches=1, patch_size=2, controls=False)
    assert found.table("patches").height == 4


def test_words_are_those_the_head_gives(run, view):
    assert "words" not in run.tables()
    example = replace(flow_runs.examples(1)[0], captions=("a Red circle", "phr"))
    found = flow_runs.run(view, [example], words=1, controls=False)
    words = found.table("words")
    encoded = view.encode(example)
    assert sorted(set(words["position"])) == encoded.spans["question"].tolist()
    with torch.no_grad():
        logits = view.model(**encoded.inputs).logits[0]
    last = words.filter(layer=flow_runs.LAYERS)
    assert last["token_id"].to_list() == logits[last["position"].to_list()].argmax(-1).tolist()
    known = {"a", "red", "circle", "phr"}
    assert words["in_captions"].to_list() == [word.lower() in known for word in words["word"]]


def test_only_correct_answers_are_kept_and_the_others_counted(view):
    examples = flow_runs.examples(4)
    right = generate(view, [view.encode(examples[1])], max_new_tokens=32)[0].text
    examples[1] = replace(examples[1], answer=f" {right.upper()} ")
    found = flow_runs.run(view, examples, keep="correct", controls=False)
    assert set(found.table("effects")["example_id"]) == {examples[1].id}
    assert found.counts() == {"asked": 4, "kept": 1, "left_out": 3, "failed": 0}
    assert all(item["reason"].startswith("answered ") for item in found.left_out())


def test_nothing_left_is_an_error_that_says_why(view, tmp_path):
    wrong = flow_runs.examples(2, answer="surely not this")
    with pytest.raises(ChiasmError, match=r"nothing is left: every example was answered wrongly.*Give --keep all"):
        flow_runs.run(view, wrong, tmp_path / "r", keep="correct")
    broken = replace(factories.example(seed=5), question="what " * factories.CONTEXT)
    with pytest.raises(ChiasmError, match=r"nothing is left: 2 of 3 examples were answered wrongly.*Give --keep all"):
        flow_runs.run(view, [*wrong, broken], tmp_path / "s", keep="correct")
    with pytest.raises(ChiasmError, match=r"nothing is left \(1 x .*Change data or options") as caught:
        flow_runs.run(view, [broken], tmp_path / "t", keep="correct")
    assert "--keep" not in str(caught.value)


def test_the_labelled_answer_token_by_token(view):
    examples = flow_runs.examples(2, answer="purple circle")
    found = flow_runs.run(view, examples, target="answer", cuts=("image->last", "image->last+answer"))
    encoded = view.encode(examples[0], answer="purple circle")
    count = len(encoded.answer_tokens)
    assert count > 1
    tokens = found.table("tokens").filter(example_id=examples[0].id, cut="image->last+answer", layer=1)
    assert tokens["token_id"].to_list() == list(encoded.answer_tokens)
    with torch.no_grad():
        logprobs = torch.log_softmax(view.model(**encoded.inputs).logits[0], dim=-1)
    places = [int(encoded.spans["last"][-1]), *encoded.spans["answer"][:-1].tolist()]
    expected = [float(logprobs[p, t]) for p, t in zip(places, encoded.answer_tokens, strict=True)]
    assert tokens["logprob_clean"].to_list() == pytest.approx(expected, abs=1e-6)
    row = found.table("effects").filter(example_id=examples[0].id, cut="image->last+answer", layer=1)
    assert row["target_token_id"][0] == encoded.answer_tokens[0]
    assert row["prob_clean"][0] == pytest.approx(math.prod(math.exp(e) for e in expected) ** (1 / count), rel=1e-5)
    assert row["logprob_cut"][0] == pytest.approx(tokens["logprob_cut"].mean(), abs=1e-6)


def test_an_answer_without_tokens_fails_that_example_only(view):
    examples = [*flow_runs.examples(1), replace(factories.example(seed=9), answer="  ")]
    found = flow_runs.run(view, examples, target="answer", controls=False)
    assert found.counts()["kept"] == 1
    assert "has no token" in found.failures()[0]["reason"]


def test_an_example_without_answer_is_still_followed_by_what_the_model_says(view):
    found = flow_runs.run(view, [replace(flow_runs.examples(1)[0], answer="", options=())], controls=False)
    assert found.tables() == ["examples", "followed", "effects", "claims"]


def test_ablations_zero_a_branch(view):
    cuts = ("zero:attention@question", "zero:mlp@question")
    found = flow_runs.run(view, flow_runs.examples(2), cuts=cuts)
    assert found.table("effects")["change_percent"].abs().max() > 1
    assert set(found.table("controls")["control"]) == {"size-matched"}


def test_what_averages_do_is_a_cut_and_a_control(view):
    """The control of a knockout is the cut `mean:` of the same pair."""
    cuts = ("image->question", "mean:image->question")
    found = flow_runs.run(view, flow_runs.examples(3), cuts=cuts, window=1)
    key = ["example_id", "start", "stop"]
    beside = found.table("controls").filter(cut="image->question", control="averaged").sort(key)
    cut = found.table("effects").filter(cut="mean:image->question").sort(key)
    assert_frame_equal(beside.select(cut.columns).drop("cut"), cut.drop("cut"), abs_tol=1e-5)
    assert cut["logprob_cut"].to_list() != cut["logprob_clean"].to_list()
    names = set(found.table("controls").filter(cut="mean:image->question")["control"])
    assert names == {"blank", "dose-0.25", "dose-0.5", "dose-0.75", "image-swap"}


@pytest.mark.parametrize(("windows", "count"), [("all", 10), ("prefix", 4), ("suffix", 4)])
def test_other_styles_of_windows(view, windows, count):
    options = {"windows": windows, "cuts": ("image->last",), "controls": False}
    found = flow_runs.run(view, flow_runs.examples(1), window=None, **options)
    assert found.table("effects").select("start", "stop").unique().height == count
    with pytest.raises(ChiasmError, match=rf"--windows {windows} --window 3: .* Leave --window out"):
        flow_runs.run(view, flow_runs.examples(1), window=3, **options)


WIDTHS = [(2, 1), (6, 1), (12, 3), (16, 5), (24, 7), (26, 7), (27, 9), (32, 9), (80, 9)]


@pytest.mark.parametrize(("layers", "width"), WIDTHS)
def test_the_default_window_is_odd_and_leaves_centres_apart(layers, width):
    spec = FlowSpec(model="tiny")
    assert spec.width_of(layers) == width
    assert len(spec.windows_of(layers)) == layers
    assert FlowSpec(model="tiny", window=4).width_of(layers) == 4


def test_a_run_records_the_window_that_it_took(view):
    found = flow_runs.run(view, flow_runs.examples(1), window=None, cuts=("image->last",), controls=False)
    assert found.manifest["spec"]["window"] == 1
    rows = found.table("effects")
    assert set((rows["stop"] - rows["start"]).to_list()) == {1}


def test_executors_give_the_same_tables(view):
    tables = [flow_runs.run(view, flow_runs.examples(2), executor=name) for name in ("lockstep", "reference")]
    for name in tables[0].tables():
        assert_frame_equal(tables[0].table(name), tables[1].table(name), abs_tol=1e-3, rel_tol=1e-4)


def test_half_precision_is_measured_against_a_no_op(view):
    half = flow_runs.view_of(dtype=torch.bfloat16).as_served()
    found = flow_runs.run(half, flow_runs.examples(2), controls=False)
    noise = found.table("noise")
    assert noise.height == 2 * flow_runs.LAYERS
    assert noise["change_percent"].abs().max() < 30
    pairs = found.table("effects").join(noise, on=["example_id", "start", "stop"], suffix="_noise")
    assert (pairs["logprob_clean"] == pairs["logprob_clean_noise"]).all()


def test_half_precision_is_computed_in_float32_unless_asked(view):
    """The same numbers as of the same weights in float32, and no noise to measure; as served they are off, by so much
    as the table `rounding` says."""
    half, wide = flow_runs.view_of(dtype=torch.bfloat16), flow_runs.view_of(dtype=torch.bfloat16)
    wide = wrap(wide.model.float(), wide.processor)
    asked = {"controls": False, "cuts": ("image->last", "question->last")}
    raised, exact = (flow_runs.run(one, flow_runs.examples(2), **asked) for one in (half, wide))
    assert_frame_equal(raised.table("effects"), exact.table("effects"), abs_tol=1e-6)
    assert {"noise", "rounding"}.isdisjoint(raised.tables())
    assert raised.manifest["precision"] == "weights in bfloat16, computed in float32"
    served = flow_runs.run(half.as_served(), flow_runs.examples(2), **asked)
    rounding = served.table("rounding")
    key = ["example_id", "cut", "start", "stop"]
    change = pl.col("logprob_cut") - pl.col("logprob_clean")
    for table, column in ((served, "change_served"), (exact, "change_raised")):
        beside = table.table("effects").select(*key, change=change).join(rounding, on=key)
        assert beside.height == rounding.height == 2 * 2 * flow_runs.LAYERS
        assert (beside["change"] - beside[column]).abs().max() < 1e-5
    found = read_claims(served.table("claims"))
    sizes = of_kind(found, "rounding")
    assert [one.n for one in sizes] == [2, 2]
    assert min(one.effect for one in sizes) > 1e-3
    assert of_kind(found, "smallest")[0].effect == pytest.approx(max(0.05, sizes[1].effect))


def test_another_run_on_a_view_does_not_pay_for_the_guard(view):
    view = flow_runs.view_of()
    first, second = (flow_runs.run(view, flow_runs.examples(2)).manifest["guard"] for _ in range(2))
    assert first["seconds"] > 0
    assert second["seconds"] == 0
    assert second["largest"] == first["largest"]
    assert second["reused"] > 0


def test_an_unknown_span_names_the_known_ones(view):
    with pytest.raises(ChiasmError, match=r"span `picture`.*prefix, image, video, audio, between, question"):
        flow_runs.run(view, flow_runs.examples(1), cuts=("picture->last",))


@pytest.mark.parametrize("cut", ["image-last", "->last", "image->", "zero:mlp", "zero:heart@question", "mean:image"])
def test_a_cut_that_is_none(view, cut):
    with pytest.raises(ChiasmError, match="not of the form"):
        flow_runs.run(view, flow_runs.examples(1), cuts=(cut,))


def test_a_mean_over_oneself(view):
    with pytest.raises(ChiasmError, match="share positions"):
        flow_runs.run(view, flow_runs.examples(1), cuts=("mean:question->question",))


def test_an_empty_span_is_a_recorded_skip(view):
    examples = [flow_runs.examples(1)[0], replace(factories.example(seed=3), boxes=())]
    found = flow_runs.run(view, examples, cuts=("image.object->question", "image->last"), controls=False)
    assert found.table("effects").filter(cut="image.object->question")["example_id"].unique().to_list() == ["llava-0"]
    reason = "image.object->question: span `image.object` is empty in this example"
    assert found.skipped() == [{"example_id": "llava-3", "reason": reason}]
    assert found.counts()["kept"] == 2


def test_an_example_in_which_every_cut_is_empty_fails(view):
    with pytest.raises(ChiasmError, match=r"nothing is left \(1 x image.object->question: span"):
        flow_runs.run(view, [replace(flow_runs.examples(1)[0], boxes=())], cuts=("image.object->question",))


def test_a_question_longer_than_the_context_fails_that_example_only(view):
    long = replace(factories.example(seed=5), question="what " * factories.CONTEXT)
    found = flow_runs.run(view, [long, *flow_runs.examples(1)], controls=False)
    assert found.counts() == {"asked": 2, "kept": 1, "left_out": 0, "failed": 1}
    assert "do not fit the context" in found.failures()[0]["reason"]


def test_broken_and_missing_images_fail_those_examples_only(view, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    broken = Example(id="broken", question="What?", images=(tmp_path / "broken.png",))
    missing = Example(id="missing", question="What?", images=(tmp_path / "missing.png",))
    found = flow_runs.run(view, [broken, *flow_runs.examples(2), missing], controls=False)
    assert {item["example_id"] for item in found.failures()} == {"broken", "missing"}
    assert found.counts()["kept"] == 2


def test_a_model_that_gives_nan_fails_the_example(view):
    broken = flow_runs.view_of()
    with torch.no_grad():
        broken.head.weight[7] = np.nan
    with pytest.raises(ChiasmError, match="NaN or infinite"):
        flow_runs.run(broken, flow_runs.examples(1))


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"cuts": ()}, {"cuts": ("a->b", "a->b")}, {"draws": 0}, {"batch_size": 0}]
)
def test_specs_that_mean_nothing(view, options):
    with pytest.raises(ChiasmError):
        flow_runs.run(view, flow_runs.examples(1), **options)


def test_windows_that_are_all_of_the_model_are_refused():
    """Every layer would show the same cut, as if it were found there."""
    view = flow_runs.view_of()
    whole, several = 2 * flow_runs.LAYERS - 1, 2 * flow_runs.LAYERS - 3
    with pytest.raises(ChiasmError, match=f"each window takes in all {flow_runs.LAYERS} layers"):
        flow_runs.run(view, flow_runs.examples(2), window=whole, controls=False)
    found = flow_runs.run(view, flow_runs.examples(2), window=several, controls=False)
    assert found.table("effects").select("start", "stop").n_unique() > 1
