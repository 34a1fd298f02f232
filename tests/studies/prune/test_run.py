"""The tables of a pruning run: what the contract says, and what the model itself says."""

import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.support import factories

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.models.generation import generate
from chiasm.models.loading import load, wrap
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.weights import load_mask, masked
from chiasm.results.charts.files import specification, svg
from chiasm.studies.prune import run as study
from chiasm.studies.prune.sets import calibration_sets, gather, held_out, require_disjoint

CONTRACT = ["mask", "calibration", "evaluation", "sparsity", "pattern", "score", "low", "high", "perplexity", "n"]
TYPES = ("colour", "shape")
QUICK = {"sparsities": (0.5,), "max_new_tokens": 3, "calibration": 9, "batch_size": 6}


def view_of(seed=0):
    return wrap(*factories.build("llava", layers=2, seed=seed), name=f"m{seed}")


@pytest.fixture(scope="module")
def view():
    return view_of()


@pytest.fixture(scope="module")
def examples(view):
    """Half of the labels are what the model answers, so that it has something to lose."""
    found = [factories.example(seed=seed, type=TYPES[seed % 2]) for seed in range(10)]
    said = generate(view, [view.encode(example) for example in found], max_new_tokens=3)
    assert all(answer.text for answer in said)
    answers = [one.text if k % 4 < 2 else "blue" for k, one in enumerate(said)]
    return [replace(example, answer=answer) for example, answer in zip(found, answers, strict=True)]


@pytest.fixture(scope="module")
def others():
    return [factories.example(seed=seed, type=TYPES[seed % 2]) for seed in range(100, 118)]


@pytest.fixture(scope="module")
def run(view, examples, others):
    return chiasm.prune(view, examples, calibrate_on=others, baseline=view_of(1), **QUICK)


def small(view, examples, others, **options):
    """A run of few masks."""
    given = QUICK | {"combine": False, "controls": False} | options
    return chiasm.prune(view, examples, calibrate_on=others, **given)


def test_masks_follow_the_contract(run):
    masks = run.table("masks")
    assert set(CONTRACT) <= set(masks.columns)
    made = masks.select("mask", "calibration").unique(maintain_order=True).rows()
    assert made == [
        ("dense", "none"),
        ("wanda", "all"),
        ("wanda-centred", "all"),
        ("wanda-cumulative", "all"),
        ("magnitude", "none"),
        ("magnitude-row", "none"),
        ("random", "none"),
        ("wanda", "image tokens"),
        ("wanda", "text tokens"),
        ("intersection", "modalities"),
        ("wanda", "colour"),
        ("wanda", "shape"),
        ("intersection", "types"),
        ("majority", "types"),
        ("mean-score", "types"),
    ]
    assert masks.height == 3 * len(made)
    assert set(masks["evaluation"]) == {"all", *TYPES}
    assert masks.filter(evaluation="all")["n"].unique().to_list() == [10]
    inside = (pl.col("low") <= pl.col("score")) & (pl.col("score") <= pl.col("high"))
    assert masks.select(inside.all()).item()


def test_the_transfer_matrix_is_whole(run):
    cells = run.table("masks").filter((pl.col("mask") == "wanda") & pl.col("calibration").is_in(TYPES))
    assert sorted(cells.select("calibration", "evaluation").rows()) == sorted(
        (a, b) for a in TYPES for b in ("all", *TYPES)
    )


def test_the_untouched_model_is_scored_as_it_answers(run, examples):
    dense = run.table("masks").filter(mask="dense", evaluation="all").row(0, named=True)
    assert dense["score"] == pytest.approx(0.6)  # six of ten labels are the model's own answers
    assert dense["sparsity"] == 0


@torch.no_grad()
def test_perplexity_is_that_of_plain_forwards(run, view, examples):
    nats, count = 0.0, 0
    written = dict(run.table("pruned").filter(mask="dense").select("example_id", "written").iter_rows())
    for example in examples:
        assert written[example.id].lower() == example.answer.lower()
        encoded = view.encode(example, answer=written[example.id])
        table = torch.log_softmax(view.model(**encoded.inputs).logits[0].double(), dim=-1)
        start = encoded.length - len(encoded.answer_tokens)
        nats -= sum(float(table[start + k - 1, token]) for k, token in enumerate(encoded.answer_tokens))
        count += len(encoded.answer_tokens)
    dense = run.table("masks").filter(mask="dense", evaluation="all").row(0, named=True)
    assert dense["perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-3)
    assert dense["perplexity_low"] <= dense["perplexity"] <= dense["perplexity_high"]


@torch.no_grad()
def test_answers_are_scored_in_the_form_that_the_model_prefers(run, view, examples):
    """One form for all masks, whatever the label's case; a label in capitals alone changes no number but that."""
    rows = run.table("pruned")
    assert rows.group_by("example_id").agg(pl.col("written").n_unique())["written"].max() == 1
    written = dict(rows.select("example_id", "written").iter_rows())
    for example in examples[:4]:
        totals = {}
        for form in {example.answer, example.answer.lower(), example.answer[:1].upper() + example.answer[1:]}:
            encoded = view.encode(example, answer=form)
            table = torch.log_softmax(view.model(**encoded.inputs).logits[0].double(), dim=-1)
            start = encoded.length - len(encoded.answer_tokens)
            totals[form] = sum(float(table[start + k - 1, token]) for k, token in enumerate(encoded.answer_tokens))
        assert written[example.id] == max(totals, key=totals.get)


@torch.no_grad()
def test_a_mask_is_scored_with_its_weights_at_zero(view, examples, others, tmp_path):
    """Against a copy whose weights are zeroed by hand from the exported mask, in plain transformers."""
    found = small(view, examples, others, export=tmp_path / "pruned")
    copy = view_of()
    mask = load_mask(tmp_path / "pruned")
    for matrix in matrices(copy):
        matrix.linear.weight.mul_(mask.kept(matrix.name))
    said = generate(copy, [copy.encode(e) for e in examples[:6]], max_new_tokens=3)
    rows = found.table("pruned").filter(mask="wanda").head(6)
    assert rows["generated"].to_list() == [answer.text for answer in said]
    reloaded = load(tmp_path / "pruned")
    again = generate(reloaded, [reloaded.encode(e) for e in examples[:6]], max_new_tokens=3)
    assert again == said


def test_the_model_is_as_it_was(run, view):
    assert view.fingerprint() == view_of().fingerprint()


def test_every_mask_rests_on_as_many_tokens(run, view, others):
    told = run.directory.manifest["calibration"]
    pooled = calibration_sets(others, TYPES, 9)["all"]
    # Image tokens of the pooled set are the fewest: 16 in each picture.
    assert told == {"examples": {"all": 9, "colour": 9, "shape": 9}, "tokens": 16 * len(pooled), "failed": 0}


def test_the_baseline_stands_beside(run):
    assert set(run.table("pruned")["mask"]) > {"wanda", "random"}
    twin = run.table("masks_controls")
    assert set(twin["control"]) == {"twin"}
    assert twin.select("mask", "calibration").unique().sort("mask").rows() == [
        ("dense", "none"),
        ("random", "none"),
        ("wanda", "all"),
    ]


def test_findings_and_figures(run):
    assert len(run.findings) == 3
    assert run.charts == ["transfer-50", "prune", "prune-perplexity"]
    for name in run.charts:
        assert svg(specification(run.chart(name))).startswith("<svg")


def test_a_report_is_written(view, examples, others, tmp_path):
    found = small(view, examples, others, out=tmp_path / "run", controls=True, parts=("ffn", "attention"))
    text = (tmp_path / "run" / "report.html").read_text()
    assert "Pruning of m0" in text
    assert "parts=[&#39;ffn&#39;, &#39;attention&#39;]" in text  # the model is in memory, which no command can name
    assert (tmp_path / "run" / "figures" / "prune.svg").exists()
    assert found.table("masks").filter(mask="wanda")["part"].unique().sort().to_list() == ["attention", "ffn"]


def test_an_interrupted_run_goes_on_where_it_was(view, examples, others, tmp_path, monkeypatch):
    options = {"controls": True}
    whole = small(view, examples, others, **options)
    own, calls = study.Evaluation.rows, []

    def stopping(self, columns, done):
        calls.append(columns["mask"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(self, columns, done)

    monkeypatch.setattr(study.Evaluation, "rows", stopping)
    before = view.fingerprint()
    with pytest.raises(KeyboardInterrupt) as stop:
        small(view, examples, others, out=tmp_path / "run", **options)
    assert "20 of 70 answers are finished" in stop.value.__notes__[0]
    assert view.fingerprint() == before
    monkeypatch.setattr(study.Evaluation, "rows", own)
    resumed = small(view, examples, others, out=tmp_path / "run", resume=True, **options)
    assert_frame_equal(resumed.table("pruned"), whole.table("pruned"))
    assert_frame_equal(resumed.table("masks"), whole.table("masks"))


def test_decoding_ends_where_answers_are_wrong_anyway(view, examples, others):
    """The scores are those of unbounded answers, and no answer is much longer than the labels."""
    bounded = small(view, examples, others, max_new_tokens=None)
    free = small(view, examples, others, max_new_tokens=24)
    columns = ["example_id", "mask", "correct"]
    assert_frame_equal(bounded.table("pruned").select(columns), free.table("pruned").select(columns))
    assert (
        bounded.table("pruned")["generated"].str.len_chars().sum()
        < free.table("pruned")["generated"].str.len_chars().sum()
    )


def test_what_a_broken_example_costs(view, examples, others):
    broken = replace(examples[0], id="broken", images=(b"no picture",))
    found = small(view, [*examples[:4], broken], others)
    assert found.directory.counts() == {"asked": 5, "kept": 4, "left_out": 0, "failed": 1}
    assert found.table("masks").filter(evaluation="all")["n"].unique().to_list() == [4]
    beside = small(view, examples[:4], [*others, replace(others[0], id="odd", images=(b"no",))], calibration=30)
    assert beside.directory.manifest["calibration"]["failed"] == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sparsities": (0.0,)}, "leaves every weight"),
        ({"sparsities": (0.5, 1.0)}, "leaves no weight"),
        ({"sparsities": (0.5, 0.5)}, "given twice"),
        ({"sparsities": (0.5,), "patterns": ("2:4",)}, "have their own"),
        ({"sparsities": (), "patterns": ("2:5",)}, "48 inputs, which 5 does not divide"),
        ({"patterns": ("many",)}, "neither `unstructured` nor N:M"),
        ({"parts": ("heads",)}, "--part heads"),
        ({"parts": ()}, "nothing to prune"),
        ({"calibration": 0}, "--calibration 0"),
        ({"calibration": 1}, "calibrate on 128 tokens.*`all`: the calibration examples hold"),
        ({"tokens": 100_000}, "calibrate on 100000 tokens.*hold .* tokens"),
        ({"memory": 1000}, "a memory budget of 1,000 bytes.*--memory 1MB, or a smaller --calibration"),
    ],
)
def test_bad_input(view, examples, others, options, told):
    with pytest.raises(ChiasmError, match=told):
        small(view, examples, others, **options)
    assert view.fingerprint() == view_of().fingerprint()


def test_too_few_tokens_of_one_kind_name_the_way_out(view, examples, others):
    with pytest.raises(ChiasmError, match=r"`image tokens`: the calibration examples hold 48 tokens.*or --no-combine"):
        chiasm.prune(view, examples, calibrate_on=others, **QUICK | {"calibration": 3})


@pytest.mark.parametrize("options", [{"sparsities": (0.3, 0.5)}, {"parts": ("ffn", "all")}])
def test_an_export_of_several_masks_is_refused_at_once(view, examples, others, tmp_path, options):
    with pytest.raises(ChiasmError, match=r"export to .*Name one"):
        small(view, examples, others, export=tmp_path / "x", **options)


def test_an_export_onto_something_is_refused_at_once(view, examples, others, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ChiasmError, match="not empty"):
        small(view, examples, others, export=tmp_path)


def test_other_masks_are_exported_by_name(view, examples, others, tmp_path):
    small(view, examples, others, combine=True, export=tmp_path / "x", export_mask="intersection")
    mask = load_mask(tmp_path / "x")
    assert (mask.spec.method, mask.spec.calibrations) == ("intersection", TYPES)
    with masked(view, mask):
        assert view.fingerprint() != mask.weights
    with pytest.raises(ChiasmError, match="makes no `majority`: it has no combinations"):
        small(view, examples, others, export=tmp_path / "y", export_mask="majority")


def test_what_calibrates_is_not_evaluated(view, examples):
    with pytest.raises(ChiasmError, match="share 9 examples, such as `llava-0`"):
        small(view, examples, examples)
    renamed = [replace(example, id=f"other {example.id}") for example in examples]
    with pytest.raises(ChiasmError, match="share images"):
        small(view, examples, renamed)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), min_size=4, max_size=30), st.integers(1, 9))
def test_a_held_out_part_shares_nothing(kinds, each):
    """Several questions on one image, in any number: either nothing is shared, or it is refused."""
    every = [
        Example(id=f"e{k}", question="?", type=kind, images=(f"{image}.png",)) for k, (kind, image) in enumerate(kinds)
    ]
    try:
        calibration, rest = held_out(every, each, seed=0)
    except ChiasmError as error:
        assert "cannot be parted" in str(error)  # noqa: PT017
        return
    require_disjoint(calibration, rest)
    assert calibration
    assert rest
    for kind in "ab":
        own = [example for example in every if example.type == kind]
        assert sum(example.type == kind for example in calibration) == min(each, len(own) // 2)
    again, _ = held_out(every[::-1], each, seed=0)
    assert {e.id for e in again} == {e.id for e in calibration}


def test_types_take_turns_in_the_pooled_set():
    every = [Example(id=f"{kind}{k}", question="?", type=kind) for kind in "ab" for k in range(5)]
    sets = calibration_sets(every, ("a", "b"), 4)
    assert [example.id for example in sets["all"]] == ["a0", "b0", "a1", "b1"]
    assert [example.id for example in sets["b"]] == ["b0", "b1", "b2", "b3"]


def test_a_source_without_end_is_not_waited_for():
    def endless():
        k = 0
        while True:
            yield Example(id=str(k), question="?", type="a")
            k += 1

    assert len(gather(endless(), ("a",), 3)) == 3
    with pytest.raises(ChiasmError, match="none of type `b`"):
        gather(endless(), ("a", "b"), 3)


def test_one_data_set_is_parted(view):
    every = [factories.example(seed=seed) for seed in range(8)]
    found = chiasm.prune(view, every, **QUICK | {"combine": False, "controls": False, "calibration": 4}, limit=3)
    assert found.directory.counts()["kept"] == 3
