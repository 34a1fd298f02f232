"""The published figures for several models: what is read of each, together, after a stop, and what is drawn."""

import copy
import json
from html import unescape

import numpy as np
import polars as pl
import pytest
import torch
from tests.support.charts import rows
from tests.support.factories import build, example

from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView
from chiasm.results.charts.files import specification, svg
from chiasm.studies.align.run import AlignWork
from chiasm.studies.paper import STUDY
from chiasm.studies.paper import run as study
from chiasm.studies.paper.run import embedded, run_paper
from chiasm.studies.paper.spec import PaperSpec, baselines_beside, checkpoint
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_BASELINES
from chiasm.studies.run import Run, run_study
from chiasm.tiny.registry import world

MODELS = ("one", "two", "two-10", "two-20", "random", "random-charts")
DATA = {name: [example(seed=seed + at) for seed in range(6)] for name, at in (("photos", 0), ("charts", 50))}


@pytest.fixture(scope="module")
def views():
    """Four models around one decoder, and two random ones around another."""
    model, processor = build("llava")
    found = {"one": ModelView(model, processor, name="one")}
    for k, name in enumerate(MODELS[1:4]):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for weight in other.model.multi_modal_projector.parameters():
                weight.mul_(1.5 + k)
        found[name] = ModelView(other, processor, name=name)
    random = build("llava", seed=5)
    return found | {name: ModelView(*random, name=name) for name in MODELS[4:]}


SOURCES = ("photos", "charts", "charts", "charts", "photos", "charts")
OPTIONS = {"models": MODELS, "baselines": MODELS[4:], "batch_size": 3}


def paper(directory, load, sources=SOURCES, examples=DATA, **options):
    """A run whose models come from `load`, each asked about the source of its own."""
    spec = PaperSpec(**OPTIONS | options, out=directory)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study, "view_of", lambda model, spec: load(model))
        with STUDY.open(spec, {}) as opened:
            run_paper(spec, sources, examples, opened)
    return Run(opened)


@pytest.fixture(scope="module")
def run(views, tmp_path_factory):
    return paper(tmp_path_factory.mktemp("paper") / "run", views.__getitem__)


def test_every_model_is_read_and_answers(run):
    models = run.table("paper_models")
    assert models["model"].to_list() == list(MODELS)
    assert models["step"].to_list() == [None, None, 10, 20, None, None]
    assert models["decoder"].n_unique() == 2
    assert set(models["n"]) == {6}
    for name in ("norms", "drift", "similarity", "inside", "vocabulary", "map", "overlap", "score"):
        assert set(run.table(f"paper_{name}")["model"]) >= set(MODELS), name


def test_models_of_one_decoder_are_read_together(run):
    rows = run.table("paper_similarity").filter(pl.col("model") == TOGETHER)
    pairs = set(rows.select("a", "b").unique().iter_rows())
    assert ("image [one]", "image [two]") in pairs
    assert ("question [one]", "question [two]") in pairs
    assert not any("10" in a or "random" in a for a, _ in pairs)
    alone = run.table("paper_similarity").filter((pl.col("model") == "two") & (pl.col("tap") == "residual"))
    keys = {"a": "image", "b": "question", "layer": 2, "mode": "avg", "paired": True, "variant": "raw"}
    own = alone.filter(*(pl.col(k) == v for k, v in keys.items()))["mean"][0]
    keys |= {"a": "image [two]", "b": "question [two]"}
    assert rows.filter(*(pl.col(k) == v for k, v in keys.items()))["mean"][0] == pytest.approx(own)
    masks = run.table("paper_overlap").filter(pl.col("model") == TOGETHER)
    assert masks.select("a", "b").unique().height == 6


def test_baselines_are_read_together_too_and_stand_beside_their_data(run):
    rows = run.table("paper_similarity")
    own, beside = (rows.filter(pl.col("model") == name) for name in (TOGETHER, TOGETHER_BASELINES))
    assert beside.select("a", "b", "layer", "mode").equals(own.select("a", "b", "layer", "mode"))
    keys = {"layer": 2, "tap": "residual", "mode": "avg", "paired": True, "variant": "raw"}
    chosen = [pl.col(k) == v for k, v in keys.items()]
    kinds = {"a": "image", "b": "question"}, {"a": "image [two]", "b": "question [two]"}
    pairs = [[pl.col(k) == v for k, v in kind.items()] for kind in kinds]
    alone = rows.filter(pl.col("model") == "random-charts").filter(*chosen, *pairs[0])["mean"][0]
    assert beside.filter(*chosen, *pairs[1])["mean"][0] == pytest.approx(alone)
    assert own.filter(*chosen, *pairs[1])["mean"][0] != pytest.approx(alone)
    masks = run.table("paper_overlap")
    assert (
        masks.filter(pl.col("model") == TOGETHER_BASELINES).height == masks.filter(pl.col("model") == TOGETHER).height
    )
    data = dict(zip(MODELS, SOURCES, strict=True))
    expected = {"one": "random", "two": "random-charts", "two-10": "random-charts", "two-20": "random-charts"}
    assert baselines_beside(MODELS[4:], data) == expected
    assert baselines_beside(("random",), data) == {"one": "random"}


@pytest.mark.heavy
def test_a_control_is_drawn_in_every_figure(run):
    for name in set(run.charts) - {"figure-2-map", "figure-8-norms"}:
        assert "random" in json.dumps(specification(run.chart(name))), name


@pytest.mark.heavy
def test_all_figures_are_drawn(run):
    numbers = ("2", "2-map", "3", "3-norms", "7", "7-scores", "8", "8-norms", "9", "13", "22", "22-layers")
    assert run.charts == [f"figure-{number}" for number in numbers]
    for name in run.charts:
        assert svg(specification(run.chart(name, width="3.3in"))).startswith("<svg")
    page = run.report().read_text()
    assert "chiasm paper one two two-10" in page
    assert "--baseline random --baseline random-charts" in page
    for number in (2, 3, 7, 8, 9, 13, 22):
        assert f"Paper's Figure {number}" in unescape(page)
    assert len(run.findings) == 3
    assert any("n = 2 models can give no p-value below" in text for text in run.findings)


def test_figures_hold_the_numbers_of_the_tables(run):
    norms = run.table("paper_norms").filter(model="one", span="question", statistic="median", layer=1)
    drawn = rows(run.chart("figure-3-norms")).filter(panel="one", label="question", role="measured", x=1)
    assert drawn["y"][0] == pytest.approx(norms["mean"][0], rel=1e-4)
    models = run.table("paper_models")
    points = rows(run.chart("figure-9"), "name")
    for row in points.filter(pl.col("mark") == pl.col("name")).iter_rows(named=True):
        assert row["y"] == pytest.approx(100 * models.filter(model=row["name"])["accuracy"][0], rel=1e-5)
    assert set(points.filter(pl.col("mark") != pl.col("name"))["name"]) <= {"random", "random-charts"}
    scores = rows(run.chart("figure-7-scores")).filter(role="measured")
    assert scores["x"].unique().sort().to_list() == [10, 20]


def test_one_model_alone_has_figures_too(views):
    found = run_study("paper", models=[views["one"]], data=DATA["photos"], limit=5)
    assert "figure-7" not in found.charts
    for name in found.charts:
        found.chart(name)
    assert len(found.findings) == 3
    assert found.table("paper_models")["n"].to_list() == [5]


@pytest.mark.heavy
def test_a_stopped_run_goes_on_behind_the_models_that_are_finished(views, run, tmp_path):
    loaded = []

    def load(name):
        loaded.append(name)
        if len(loaded) == 3:
            raise KeyboardInterrupt
        return views[name]

    with pytest.raises(KeyboardInterrupt):
        paper(tmp_path / "run", load)
    again = paper(tmp_path / "run", load, resume=True)
    # The last ones are loaded for the weights that masks rest on.
    assert loaded == ["one", "two", "two-10", "two-10", "two-20", "random", "random-charts", "one", "random"]
    for name in run.tables:
        whole, parts = run.table(name), again.table(name)
        for column in whole.columns:
            if whole[column].dtype.is_float():
                np.testing.assert_allclose(whole[column].to_numpy(), parts[column].to_numpy(), rtol=1e-9, atol=1e-9)
            else:
                assert whole[column].to_list() == parts[column].to_list()


@pytest.mark.heavy
def test_a_model_stopped_halfway_goes_on_from_its_sums(views, tmp_path, monkeypatch):
    few = {name: found[:4] for name, found in DATA.items()}
    sources, options = ("photos", "charts", "photos"), {"models": ("one", "two", "random"), "baselines": ("random",)}
    whole = paper(tmp_path / "whole", views.__getitem__, sources, few, **options)
    batches, answers = [], []
    compute, answered_run = AlignWork.compute, study.answered_run

    def counted(work, prepared):
        batches.append(work.view.name)
        return compute(work, prepared)

    def stopped(*args):
        answers.append(args)
        if len(answers) == 2:
            raise KeyboardInterrupt
        return answered_run(*args)

    monkeypatch.setattr(AlignWork, "compute", counted)
    monkeypatch.setattr(study, "answered_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        paper(tmp_path / "run", views.__getitem__, sources, few, **options)
    again = paper(tmp_path / "run", views.__getitem__, sources, few, resume=True, **options)
    assert batches == ["one", "one", "two", "two", "random", "random"]
    for name in whole.tables:
        assert again.table(name).equals(whole.table(name), null_equal=True), name


def test_a_model_that_cannot_be_read_is_recorded_and_the_rest_is_drawn(views, tmp_path):
    def load(name):
        if name == "two":
            raise ChiasmError("load `two`", "it is of no known family", "Name another")
        return views[name]

    few = {name: found[:3] for name, found in DATA.items()}
    sources, options = ("photos", "charts", "photos"), {"models": ("one", "two", "random"), "baselines": ("random",)}
    found = paper(tmp_path / "run", load, sources, few, **options)
    (failure,) = found.directory.failures()
    assert failure["example_id"] == "two"
    assert "no known family" in failure["reason"]
    for name in found.charts:
        found.chart(name)
    with pytest.raises(ChiasmError, match="no known family"):
        paper(tmp_path / "first", lambda name: load("two"), sources, few, **options)


def test_names():
    assert checkpoint("out/checkpoint-500") == ("out/checkpoint", 500)
    assert checkpoint("tiny@frozen") == ("", None)
    assert [world(n) for n in ("tiny", "tiny@video", "tiny@audio-captions")] == [
        "scenes",
        "scenes-video",
        "scenes-audio",
    ]
    with pytest.raises(ChiasmError, match="each once"):
        PaperSpec(models=("a", "a"))
    with pytest.raises(ChiasmError, match="--baseline"):
        PaperSpec(models=("a",), baselines="b")


def test_without_models_all_embedded_ones_are_meant():
    shown = embedded()
    assert shown[0] == "tiny"
    assert "tiny@tower" not in shown
    assert {name for name in shown if name.startswith("tiny-random")} == {
        "tiny-random",
        "tiny-random@video",
        "tiny-random@audio",
    }


def test_a_run_of_the_version_before_is_understood():
    recorded = {"models": ["a", "b"], "data": ["scenes", "scenes"], "twin": ["b"], "span": ["image", "question"]}
    spec = PaperSpec.read(recorded | {"unit": 4})
    assert (spec.data, spec.baseline_names, spec.spans, spec.batch) == ("scenes", ("b",), ("image", "question"), 4)
    assert PaperSpec.read(recorded | {"data": ["scenes", "scenes-video"]}).data is None


def test_data_may_lie_elsewhere_when_a_run_is_taken_up(tmp_path):
    def facts(name, ids):
        return {"data": [{"name": name, "examples": 6, "hash": ids, "fields": {"ids": ids}}]}

    spec = PaperSpec(**OPTIONS, out=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), STUDY.open(spec, facts("photos", "a")):
        raise KeyboardInterrupt
    again = spec.complete(resume=True)
    with STUDY.open(again, facts("moved/photos", "a")) as opened:
        sources, examples = study._as_recorded(opened.manifest, ["moved/photos"] * 2, {"moved/photos": DATA["photos"]})
    assert sources == ["photos", "photos"]
    assert examples == {"photos": DATA["photos"]}
    with pytest.raises(ChiasmError, match="the ids or pairs of its examples are not what they were"):
        STUDY.open(again, facts("photos", "b"))
