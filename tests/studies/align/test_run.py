"""The alignment study: its tables, its controls, stops and restarts, and inputs that are not as they should be."""

import json
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tests.support.charts import datasets
from tests.support.factories import build, example
from tests.support.runs import view_of

import chiasm
from chiasm import examples, load
from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView
from chiasm.results.charts.files import specification, svg
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align import measured_model
from chiasm.studies.align.contrasts import scores_of_models
from chiasm.studies.align.measured_model import ReleasedMasks
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.run import run_study

KEYS = ("span", "a", "b", "layer", "statistic", "gap", "name", "tap", "mode", "paired", "variant", "quantity")
KEYS = (*KEYS, "against", "matrix", "example_id", "method")
EXAMPLES = [example(seed=seed) for seed in range(10)]


def align(view, examples, **options):
    return run_study("align", model=view, data=examples, **options)


@pytest.fixture(scope="module")
def baseline():
    return ModelView(*build("llava", seed=5), name="other")


@pytest.fixture(scope="module")
def run(baseline):
    return align(view_of("llava"), EXAMPLES, baseline=baseline, as_released=True, batch_size=4)


def test_tables_have_the_columns_of_the_contract(run):
    contract = {
        "norms": ["span", "layer", "statistic", "mean", "std", "n"],
        "drift": ["span", "layer", "gap", "mean", "low", "high", "n"],
        "similarity": ["a", "b", "layer", "tap", "mode", "paired", "variant", "mean", "low", "high", "n"],
        "vocabulary": ["span", "layer", "quantity", "against", "mean", "low", "high", "n"],
        "overlap": ["a", "b", "layer", "matrix", "sparsity", "iou", "null_random", "null_magnitude", "null_permuted"],
        "score": ["name", "statistic", "value", "low", "high", "n"],
    }
    for name, columns in contract.items():
        table = run.table(name)
        assert table.columns[: len(columns)] == columns
        assert "n" not in columns or set(table["n"]) == {10}
    assert run.table("norms")["layer"].max() == 4
    assert set(run.table("drift")["gap"]) == {1}  # four layers have no state eight later
    assert set(run.table("extents")["span"]) == {"image", "question"}


def test_controls_stand_beside_every_table(run):
    for name in (
        "norms",
        "drift",
        "drift_released",
        "similarity",
        "inside",
        "vocabulary",
        "geometry",
        "outliers",
        "map",
        "overlap",
        "score",
    ):
        beside = run.table(f"{name}_controls")
        assert set(beside["control"]) == {"noise", "twin", "apart"}
        keys = [c for c in KEYS if c in beside.columns and not beside[c].dtype.is_float()]
        both = run.table(name).join(beside.filter(pl.col("control") == "noise"), on=keys, suffix="_noise")
        each = 3 if name == "overlap" else 1  # three sparsities
        assert both.height == each * run.table(name).height


@pytest.mark.heavy
def test_controls_are_drawn(run):
    """In every chart: as a line or a mark of its own, or as a panel of its own."""
    for name in run.charts:
        assert "random-weights baseline" in json.dumps(specification(run.chart(name))), name
    uncontrolled = align(view_of("llava"), EXAMPLES[:3], controls=False)
    for name in uncontrolled.charts:
        assert "random-weights baseline" not in json.dumps(specification(uncontrolled.chart(name))), name


def test_six_charts_stand_in_the_report_and_all_can_be_drawn(run):
    drawn = run.reporter.drawings()
    reported = ["score", "similarity", "drift", "neighbours", "gap", "overlap"]
    assert [name for name, one in drawn.items() if one.reported] == reported
    notes = " ".join(run.reporter.notes())
    for name in ("norms", "inside", "vocabulary", "words", "histogram", "geometry", "tsne", "pca"):
        assert name in drawn
        assert name in notes
        assert svg(specification(run.chart(name, width="3.3in"))).startswith("<svg")


@pytest.mark.heavy
def test_the_rule_for_outlier_dimensions_is_given_with_its_count(run):
    rows = run.table("outliers")
    assert set(rows.filter(pl.col("tap") == "residual")["layer"]) == set(range(5))
    assert set(rows["n"]) == {10}
    width = rows.filter(pl.col("tap") == "residual")["dimensions"].unique().to_list()
    assert width == [view_of("llava").width]
    assert (rows["outliers"] <= rows["dimensions"]).all()
    fewest, most = rows.filter(pl.col("tap") == "residual")["outliers"].min(), rows["outliers"].max()
    page = run.report().read_text()
    assert f"Outliers are {fewest}" in page
    assert most is not None
    assert "more than six times the median" in page


def test_noise_keeps_norms_and_replaces_content(run):
    at = (pl.col("span") == "image") & (pl.col("layer") == 0)
    own, noise = (run.table(t).filter(at).sort("statistic") for t in ("norms", "norms_controls"))
    noise = noise.filter(pl.col("control") == "noise")
    np.testing.assert_allclose(own["mean"].to_numpy(), noise["mean"].to_numpy(), rtol=1e-5)
    score = run.table("score").filter(pl.col("statistic") == "mean_token")["value"]
    other = run.table("score_controls").filter((pl.col("statistic") == "mean_token") & (pl.col("control") == "noise"))[
        "value"
    ]
    assert np.abs(score.to_numpy() - other.to_numpy()).max() > 1e-3


def test_modality_isolation_differs_behind_the_embeddings_alone(run):
    at = (pl.col("span") == "question") & (pl.col("statistic") == "median")
    beside = run.table("norms_controls").filter(at & (pl.col("control") == "apart")).sort("layer")
    own = run.table("norms").filter(at).sort("layer")
    same = np.isclose(own["mean"].to_numpy(), beside["mean"].to_numpy(), rtol=1e-6)
    assert same.tolist() == [True, False, False, False, False]


def test_released_masks_stand_beside_the_right_ones(run):
    released, right = run.table("overlap_released"), run.table("overlap")
    keys = ["a", "b", "layer", "matrix", "sparsity"]
    assert released.select(keys).equals(right.select(keys))
    # Each span was filled up to 128 rows, and all of them were counted.
    assert set(released["tokens_a"]) == set(released["tokens_b"]) == {10 * 128}
    assert not np.allclose(released["iou"].to_numpy(), right["iou"].to_numpy(), atol=1e-3)


def test_questions_on_one_image_are_drawn_together():
    view = view_of("llava")
    shared = [replace(e, images=EXAMPLES[0].images) for e in EXAMPLES[:4]]
    found = align(view, shared, controls=False, inside=False, vocabulary_tokens=0)
    # One image is one draw: nothing is known about spread.
    assert found.table("score")["low"].null_count() == found.table("score").height
    assert found.table("drift")["low"].null_count() == found.table("drift").height
    assert set(found.table("score")["n"]) == {4}


def test_masks_by_task():
    view = view_of("llava")
    typed = [replace(e, type=("a", "b/c")[k % 2]) for k, e in enumerate(EXAMPLES[:6])]
    found = align(view, typed, controls=False, inside=False, vocabulary_tokens=0, by_task=True)
    rows = found.table("overlap_tasks")
    assert {(r["a"], r["b"]) for r in rows.iter_rows(named=True)} == {
        ("image [a]", "image [b/c]"),
        ("question [a]", "question [b/c]"),
        ("image [a]", "question [a]"),
        ("image [b/c]", "question [b/c]"),
    }


@pytest.mark.heavy
def test_masks_by_task_stand_beside_those_of_random_weights(baseline):
    typed = [replace(e, type=("a", "b")[k % 2]) for k, e in enumerate(EXAMPLES[:6])]
    found = align(view_of("llava"), typed, baseline=baseline, inside=False, vocabulary_tokens=0, by_task=True)
    rows, beside = found.table("overlap_tasks"), found.table("overlap_tasks_controls")
    assert set(beside["control"]) == {"twin"}
    assert beside.select("a", "b", "layer", "matrix").equals(rows.select("a", "b", "layer", "matrix"))
    [cells] = datasets(found.chart("tasks"))
    assert "control: random-weights baseline" in set(cells["panel"])
    assert found.reporter.drawings()["tasks"].reported


def test_report_and_findings(run):
    assert len(run.findings) == 3
    assert "n = 10" in run.findings[0]
    page = run.report().read_text()
    assert "As released" in page
    assert "chiasm.align(model=&#39;llava&#39;" in page


@pytest.mark.heavy
def test_an_interrupted_run_resumed_gives_the_tables_of_a_whole_one(tmp_path, monkeypatch, run, baseline):
    view = view_of("llava")
    options = {"baseline": baseline, "as_released": True, "batch_size": 4, "out": tmp_path / "run"}
    observe, calls = measured_model.observe, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        # Twelve batches of the pilot passes, four of the first batch; then the second model of the second batch.
        if len(calls) == 18:
            raise KeyboardInterrupt
        return observe(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(measured_model, "observe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            align(view, EXAMPLES, **options)
    assert RunDirectory.load(tmp_path / "run").manifest["status"] == "interrupted"
    again = align(view, EXAMPLES, **options, resume=True)
    for name in run.tables:
        whole, parts = run.table(name), again.table(name)
        for column in whole.columns:
            if whole[column].dtype.is_float():
                np.testing.assert_allclose(whole[column].to_numpy(), parts[column].to_numpy(), rtol=1e-9, atol=1e-12)
            else:
                assert whole[column].to_list() == parts[column].to_list()


@contextmanager
def spoiled(view, bad, where):
    """In every batch, one value of one token of the example `bad` is infinite."""
    ids = view.encode(bad).inputs["input_ids"][0]
    rows = []

    def find(module, args, kwargs):
        shown = kwargs["input_ids"][:, -len(ids) :]
        rows[:] = []
        if shown.shape[1] == len(ids):
            rows.extend(torch.nonzero((shown == ids).all(dim=1)).flatten().tolist())

    def spoil(module, args, output):
        states = output[0] if isinstance(output, tuple) else output
        for row in rows if len(ids) <= states.shape[1] else ():
            states[row, states.shape[1] - len(ids) + int(view.encode(bad).spans["image"][2]), 3] = torch.inf

    handles = [
        view.model.register_forward_pre_hook(find, with_kwargs=True),
        where(view).register_forward_hook(spoil),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("batch_size", [1, pytest.param(2, marks=pytest.mark.heavy), 4])
@pytest.mark.parametrize("place", [pytest.param(0, marks=pytest.mark.heavy), 2])
@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (lambda view: view.layers[2], "the output of layer 2"),
        (lambda view: view.layers[1].mlp.up_proj, "layer 1"),
    ],
)
def test_an_example_with_unsound_states_is_recorded_and_the_rest_goes_on(batch_size, place, where, reason):
    view = ModelView(*build("llava"))
    bad, prompt = EXAMPLES[0], view.encode(EXAMPLES[0]).inputs["input_ids"]
    others = [e for e in EXAMPLES if not torch.equal(view.encode(e).inputs["input_ids"], prompt)][:4]
    asked = [*others[:place], bad, *others[place:]]
    clean = align(view, others, batch_size=batch_size, controls=False, by_task=True)
    with spoiled(view, bad, where):
        found = align(view, asked, batch_size=batch_size, controls=False, by_task=True)
    (failure,) = found.directory.failures()
    assert failure["example_id"] == bad.id
    assert reason in failure["reason"]
    assert set(found.table("norms")["n"]) == {4}
    for name in clean.directory.tables():
        assert_frame_equal(found.table(name), clean.table(name), rel_tol=1e-3, abs_tol=1e-4)


def test_spans_missing_or_of_one_token():
    view = view_of("llava")
    mixed = [*EXAMPLES[:3], example(seed=11, images=0)]
    found = align(view, mixed, spans=("image", "question", "last"), controls=False)
    counts = dict(found.table("norms").group_by("span").agg(pl.col("n").first()).iter_rows())
    assert counts == {"image": 3, "question": 4, "last": 4}
    assert set(found.table("score")["n"]) == {3}
    single = found.table("norms").filter((pl.col("span") == "last") & (pl.col("layer") == 2))
    assert single["mean"].n_unique() == 1  # of one token the median is the mean, the least and the largest


def test_nothing_to_compare_is_an_error():
    view = view_of("llava")
    with pytest.raises(ChiasmError, match="no example has a perceptual"):
        align(view, [example(seed=1, images=0)], controls=False)
    with pytest.raises(ChiasmError, match="no textual span"):
        AlignSpec(model="m", data="d", spans=("image",))
    with pytest.raises(ChiasmError, match="nonsense"):
        align(view, EXAMPLES[:1], spans=("image", "nonsense"), controls=False)


def test_one_example_has_no_interval():
    found = align(view_of("llava"), EXAMPLES[:1], controls=False)
    assert found.table("score")["low"].null_count() == found.table("score").height
    assert found.table("norms")["std"].null_count() == found.table("norms").height
    assert len(found.findings) == 3
    for name in found.charts:
        assert svg(specification(found.chart(name))).startswith("<svg")


def test_released_masks_are_those_of_the_released_code():
    """Positions, mask and the token that begins a sequence: each changes the overlap in the third digit."""
    view = load("tiny")
    spec = AlignSpec(model="tiny", as_released=True, spans=("image", "question"))
    chosen = list(islice(examples("scenes"), 48))
    released = ReleasedMasks(spec, view)
    released.read([view.encode(one) for one in chosen], [one.id for one in chosen])
    rows = released.measures[0].tables()["overlap"]
    half = [row["iou"] for row in rows if row["sparsity"] == 0.5]
    assert np.mean(half) == pytest.approx(0.7674, abs=1e-3)


@pytest.mark.heavy
def test_several_models_with_random_weights_are_read_without_words():
    found = chiasm.align("tiny", limit=9, inside=False, vocabulary_tokens=0, random_models=3)
    further = found.table("parts_random")
    assert set(further["sample"]) == {1, 2}
    assert {"ima_0", "drift", "log_norm", "paired_raw", "iou"} <= set(further["quantity"])
    first = found.table("parts_controls").filter(control="twin")
    where = {"quantity": "ima_same", "part": first["part"][0]}
    values = {rows.filter(**where)["value"][0] for rows in (first, *further.partition_by("sample"))}
    assert len(values) == 3
    [claim] = found.claims.filter(
        pl.col("claim").str.starts_with("score-control-"), control="twin", about="ima_same of image and question"
    ).to_dicts()
    assert claim["control_effect"] == pytest.approx(np.mean(list(values)))
    # The figure of the scores shows what the claims hold the model against, and how far one more model may lie.
    chosen = {"name": "ima_same", "statistic": "mean_token", "control": "twin"}
    drawn = scores_of_models(found.table("score_controls"), further).filter(**chosen).row(0, named=True)
    assert drawn["value"] == pytest.approx(claim["control_effect"])
    half = 4.303 * np.std(list(values), ddof=1) * (1 + 1 / 3) ** 0.5
    assert drawn["low"] <= drawn["value"] - half * 0.999
    assert drawn["high"] >= drawn["value"] + half * 0.999
    assert (
        "parts_random" not in chiasm.align("tiny", limit=9, inside=False, vocabulary_tokens=0, random_models=1).tables
    )
