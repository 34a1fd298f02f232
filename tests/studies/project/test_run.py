"""The whole comparison on a small random model: its tables, going on after a break, a model left as it was."""

import json
import logging
import re
import shutil
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from tests.support.charts import rows
from tests.support.factories import build, example

import chiasm
import chiasm.studies.project.inside as inside
import chiasm.studies.project.worker as worker
from chiasm.core.errors import ChiasmError
from chiasm.data.domains import PROCEDURAL
from chiasm.studies.project.spec import ProjectSpec

QUICK = {"seeds": 1, "skill": 0, "train_batch": 4, "scale": 1.0}
SETTINGS = ("zero-shot", "ft-proj", "ft-proj-released", "ft-lora", "ft-tower")


@pytest.fixture
def images(tmp_path):
    """Two classes of uneven images, one of which cannot be read."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for label in ("red", "blue square"):
            folder = tmp_path / "shapes" / part / label
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 255, (20, 31, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    (tmp_path / "shapes" / "test" / "red" / "broken.png").write_text("no picture")
    return tmp_path / "shapes"


def view():
    model, processor = build("llava", layers=2)
    return chiasm.load(model=model, processor=processor)


def test_every_setting_is_tuned_and_the_model_left_as_it_was(images, tmp_path):
    of = view()
    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    run = chiasm.project(of, images, settings=SETTINGS, out=tmp_path / "run", **QUICK)
    after = of.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    tuning = run.table("tuning")
    assert tuning["setting"].to_list() == list(SETTINGS)
    assert tuning["n"].unique().to_list() == [6]
    assert dict(zip(tuning["setting"], tuning["projector_drift"] > 0, strict=True)) == {
        name: name != "zero-shot" for name in SETTINGS
    }
    predictions = run.table("predictions")
    assert predictions.height == 6 * len(SETTINGS)
    assert set(predictions["constrained"]) <= {"red", "blue square"}
    assert set(run.table("references")["reference"]) == {"random", "image-mlp", "image-linear"}
    assert run.directory.counts() == {"asked": 23, "kept": 22, "left_out": 0, "failed": 1}
    assert "broken.png" in run.directory.failures()[0]["example_id"]
    assert (tmp_path / "run" / "report.html").exists()
    notes = json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]["domains"]["shapes"]
    assert notes["classes"] == 2


@pytest.mark.heavy
def test_a_run_that_was_broken_off_goes_on(images, tmp_path, monkeypatch):
    settings = ("zero-shot", "ft-proj")
    whole = chiasm.project(view(), images, settings=settings, out=tmp_path / "whole", **QUICK)
    original = worker.answers

    def stop(*args, **kwargs):
        if args[0].model.get_parameter("model.multi_modal_projector.linear_1.weight").requires_grad:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(worker, "answers", stop)
    with pytest.raises(KeyboardInterrupt):
        chiasm.project(view_frozen(), images, settings=settings, out=tmp_path / "broken", **QUICK)
    monkeypatch.setattr(worker, "answers", original)
    again = chiasm.project(view(), images, settings=settings, out=tmp_path / "broken", resume=True, **QUICK)
    for name in ("tuning", "predictions", "references"):
        assert again.table(name).equals(whole.table(name))


def view_frozen():
    found = view()
    found.model.requires_grad_(False)
    return found


@pytest.mark.heavy
def test_other_projectors_are_aligned_before_they_are_tuned(images, tmp_path):
    shown = [example(seed=k, size=(28, 28), answer="", captions=("a red circle",)) for k in range(8)]
    run = chiasm.project(
        view(),
        images,
        settings=("zero-shot", "ft-proj", "ft-proj-released"),
        projectors=("linear", "perceiver:tokens=3,depth=1"),
        captions=[chiasm.Example(**{**_fields(e), "id": f"c{k}"}) for k, e in enumerate(shown)],
        align_steps=2,
        out=tmp_path / "run",
        **QUICK,
    )
    aligned = run.table("aligned")
    assert aligned["projector"].to_list() == ["own", "linear", "perceiver:tokens=3,depth=1"]
    assert aligned["tokens"].to_list() == [16, 16, 3]
    assert aligned["steps"].to_list() == [0, 2, 2]
    assert aligned["parameters"].min() > 0
    drawn = rows(run.chart("capacity"), "name")
    assert set(drawn["panel"]) == {"shapes, ft-proj"}
    assert set(drawn["name"]) == {"the model's own", "linear", "perceiver:tokens=3,depth=1"}
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Of 2 other projectors under ft-proj on shapes" in report
    others = run.table("tuning").filter(pl.col("projector") != "own")
    assert others["setting"].to_list() == ["ft-proj", "ft-proj"]


def _fields(one):
    return {"id": one.id, "images": one.images, "question": one.question, "captions": one.captions}


@pytest.mark.parametrize(
    "wrong", [{"settings": ("ft",)}, {"seeds": 0}, {"projectors": ("cube",)}, {"settings": ()}, {"epochs": 0}]
)
def test_mistakes_are_named_before_anything_is_loaded(wrong, images):
    with pytest.raises(ChiasmError):
        chiasm.project("no-such-model", images, **wrong)


@pytest.mark.heavy
def test_answers_are_traced_inside_the_model(images, tmp_path, monkeypatch):
    quick = partial(inside.AttributionOptions, methods=("integrated-gradients",), shares=False, orders=2)
    monkeypatch.setattr(inside, "AttributionOptions", quick)
    monkeypatch.setattr(inside, "ConceptOptions", partial(inside.ConceptOptions, random=40))
    of = view()
    options = QUICK | {"skill": 2, "probes": (), "controls": False}
    run = chiasm.project(of, images, settings=("zero-shot", "ft-lora"), inside=4, out=tmp_path / "run", **options)
    rows = run.table("attributions")
    assert set(rows.filter(pl.col("domain") == "shapes")["setting"]) == {"zero-shot", "ft-lora"}
    assert rows.filter(domain="shapes", setting="ft-lora")["answer"].to_list()[0] in ("red", "blue square")
    assert (rows.filter(method="integrated-gradients")["error"] <= 0.05).all()
    assert {"neurons", "neuron_ablation", "specific_neurons", "attribution_maps", "concepts"} <= set(run.tables)
    assert set(run.table("concepts")["concept"]) == {"red", "blue square"}
    assert {"faithfulness-shapes", "neurons-shapes", "concepts-shapes-ft-lora", "map-shapes-zero-shot"} <= set(
        run.charts
    )
    assert "Orange speaks for it" in (tmp_path / "run" / "report.html").read_text()
    with pytest.raises(ChiasmError, match="--inside 3: the minimum is 4"):
        chiasm.project(of, images, inside=3)


@pytest.mark.parametrize("setting", ["ft-proj", "ft-lora"])
def test_tuning_that_is_broken_off_leaves_the_model_as_it_was(setting, images, tmp_path, monkeypatch):
    of, tune = view(), worker.tune

    def broken_off(*args: Any) -> None:
        tune(*args)
        raise KeyboardInterrupt

    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    monkeypatch.setattr(worker, "tune", broken_off)
    with pytest.raises(KeyboardInterrupt):
        chiasm.project(of, images, settings=(setting,), out=tmp_path / "run", **QUICK, probes=())
    after = of.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.heavy
def test_several_processes_write_the_same_tables(images, tmp_path, caplog):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    asked: dict[str, Any] = QUICK | {"settings": ("ft-proj", "ft-lora"), "probes": ("linear",), "epochs": 1}
    one = chiasm.project("tiny", [images, other], out=tmp_path / "one", **asked)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="chiasm"):
        two = chiasm.project("tiny", [images, other], out=tmp_path / "two", workers=2, **asked)
    # How far the whole is, not each process; a quick machine is through before the first line.
    assert not [line for line in caplog.messages if line.startswith(tuple("123456"))]
    assert all(re.match(r"project: [1-6] of 6 settings", line) for line in caplog.messages if "project:" in line)
    for name in ("references", "tuning", "predictions", "richness", "representations"):
        # Each process has the one thread that this one has: not a bit may differ.
        assert_frame_equal(one.table(name), two.table(name), check_exact=True)
    assert one.directory.counts() == two.directory.counts()


@pytest.mark.parametrize("workers", [0, 2])
def test_work_that_cannot_be_shared_is_refused(workers, images):
    of = view() if workers else "tiny"
    with pytest.raises(ChiasmError, match=r"processes|--workers 0"):
        chiasm.project(of, images, workers=workers, **QUICK)


def test_the_default_domains_are_those_that_are_drawn():
    assert ProjectSpec(model="tiny").domains == PROCEDURAL
