"""The published figures for several models: what is read of each, together, after a stop, and what is drawn."""

import copy

import numpy as np
import polars as pl
import pytest
import torch
from tests.support.factories import build, example

from chiasm.api.papering import paper
from chiasm.cli.align import align
from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.paper.run import run_paper
from chiasm.studies.paper.spec import PaperSpec, checkpoint, twins
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_TWINS
from chiasm.studies.run import Run
from chiasm.tiny.store import world

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
SPEC = PaperSpec(models=MODELS, data=SOURCES, twin=MODELS[4:], unit=3)


@pytest.fixture(scope="module")
def run(views, tmp_path_factory):
    with RunDirectory.open(tmp_path_factory.mktemp("paper") / "run", SPEC) as directory:
        run_paper(SPEC, views.__getitem__, DATA, directory)
    return Run(directory)


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


def test_random_twins_are_read_together_too_and_stand_beside_their_data(run):
    rows = run.table("paper_similarity")
    own, beside = (rows.filter(pl.col("model") == name) for name in (TOGETHER, TOGETHER_TWINS))
    assert beside.select("a", "b", "layer", "mode").equals(own.select("a", "b", "layer", "mode"))
    keys = {"layer": 2, "tap": "residual", "mode": "avg", "paired": True, "variant": "raw"}
    chosen = [pl.col(k) == v for k, v in keys.items()]
    kinds = {"a": "image", "b": "question"}, {"a": "image [two]", "b": "question [two]"}
    pairs = [[pl.col(k) == v for k, v in kind.items()] for kind in kinds]
    alone = rows.filter(pl.col("model") == "random-charts").filter(*chosen, *pairs[0])["mean"][0]
    assert beside.filter(*chosen, *pairs[1])["mean"][0] == pytest.approx(alone)
    assert own.filter(*chosen, *pairs[1])["mean"][0] != pytest.approx(alone)
    masks = run.table("paper_overlap")
    assert masks.filter(pl.col("model") == TOGETHER_TWINS).height == masks.filter(pl.col("model") == TOGETHER).height
    data = dict(zip(MODELS, SOURCES, strict=True))
    expected = {"one": "random", "two": "random-charts", "two-10": "random-charts", "two-20": "random-charts"}
    assert twins(SPEC.twin, data) == expected
    assert twins(("random",), data) == {"one": "random"}


def test_a_control_is_drawn_in_every_figure(run):
    for name in run.figures:
        figure = run.figure(name)
        texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        texts += [axes.get_title(loc="left") for axes in figure.axes]
        assert any("random" in text for text in texts), name


def test_all_figures_are_drawn(run):
    drawn = {"figure-2", "figure-3", "figure-7", "figure-8", "figure-9", "figure-13", "figure-22", "figure-22-layers"}
    assert set(run.figures) == drawn
    for name in run.figures:
        run.figure(name)
    page = run.report().read_text()
    assert "chiasm align --paper --compare one two two-10" in page
    assert "--twin random --twin random-charts" in page
    for number in (2, 3, 7, 8, 9, 13, 22):
        assert f"Paper&#x27;s Figure {number}" in page or f"Paper's Figure {number}" in page
    assert len(run.findings) == 3
    assert any("n = 2 models can give no p-value below" in text for text in run.findings)


def test_one_model_alone_has_figures_too(views):
    found = paper([views["one"]], DATA["photos"], limit=5)
    assert "figure-7" not in found.figures
    for name in found.figures:
        found.figure(name)
    assert len(found.findings) == 3
    assert found.table("paper_models")["n"].to_list() == [5]


def test_a_stopped_run_goes_on_behind_the_models_that_are_finished(views, run, tmp_path):
    loaded = []

    def load(name):
        loaded.append(name)
        if len(loaded) == 3:
            raise KeyboardInterrupt
        return views[name]

    with pytest.raises(KeyboardInterrupt), RunDirectory.open(tmp_path / "run", SPEC) as directory:
        run_paper(SPEC, load, DATA, directory)
    with RunDirectory.open(tmp_path / "run", SPEC, resume=True) as directory:
        run_paper(SPEC, load, DATA, directory)
    # The last ones are loaded for the weights that masks rest on.
    assert loaded == ["one", "two", "two-10", "two-10", "two-20", "random", "random-charts", "one", "random"]
    for name in run.tables:
        whole, parts = run.table(name), directory.table(name)
        for column in whole.columns:
            if whole[column].dtype.is_float():
                np.testing.assert_allclose(whole[column].to_numpy(), parts[column].to_numpy(), rtol=1e-9, atol=1e-9)
            else:
                assert whole[column].to_list() == parts[column].to_list()


def test_a_model_that_cannot_be_read_is_recorded_and_the_rest_is_drawn(views, tmp_path):
    def load(name):
        if name == "two":
            raise ChiasmError("load `two`", "it is of no known family", "Name another")
        return views[name]

    few = {name: found[:3] for name, found in DATA.items()}
    spec = PaperSpec(models=("one", "two", "random"), data=("photos", "charts", "photos"), twin=("random",))
    with RunDirectory.open(tmp_path / "run", spec) as directory:
        run_paper(spec, load, few, directory)
    (failure,) = directory.failures()
    assert failure["example_id"] == "two"
    assert "no known family" in failure["reason"]
    found = Run(directory)
    for name in found.figures:
        found.figure(name)
    with pytest.raises(ChiasmError, match="no known family"), RunDirectory.open(tmp_path / "first", spec) as directory:
        run_paper(spec, lambda name: load("two"), few, directory)


def test_names():
    assert checkpoint("out/checkpoint-500") == ("out/checkpoint", 500)
    assert checkpoint("tiny@frozen") == ("", None)
    assert [world(n) for n in ("tiny", "tiny@video", "tiny@audio-captions")] == [
        "scenes",
        "scenes-video",
        "scenes-audio",
    ]
    with pytest.raises(ChiasmError, match="each once"):
        PaperSpec(models=("a", "a"), data=("d", "d"))
    with pytest.raises(ChiasmError, match="--twin"):
        paper(["a"], twin="b")


def test_the_command_says_which_models_it_wants():
    for given in ({"model": "other"}, {}, {"model": "tiny", "compare": ("a", "b")}):
        with pytest.raises(ChiasmError, match="--paper"):
            align(given.pop("model", None), paper=True, **given)
