"""Richness as a part of the comparison: its tables, what is shared and what is not, that it can be left out."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.support.factories import build

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.results.charts.files import specification, svg
from chiasm.studies.project.published import table_two

QUICK = {"seeds": 1, "skill": 0, "train_batch": 4, "scale": 1.0}
ENDS = ("cls", "pre", "post")
WHERE = [*ENDS, *(f"layer.{k}.{span}" for k in range(3) for span in ("image", "last"))]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of colour, which the tower shows."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "colours"
    for part, count in (("train", 10), ("test", 5)):
        for place, label in enumerate(("red", "green", "blue")):
            (root / part / label).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 60, (24, 24, 3))
                pixels[..., place] += 190
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / label / f"{k}.png")
    return root


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    model, processor = build("llava", layers=2)
    view = chiasm.load(model=model, processor=processor)
    settings = ("zero-shot", "ft-proj", "ft-lora", "ft-tower")
    out = tmp_path_factory.mktemp("run")
    return chiasm.project(view, images, settings=settings, out=out, fresh=True, **QUICK)


@pytest.mark.heavy
def test_every_place_is_read_by_every_probe_in_every_setting(run):
    richness = run.table("richness")
    counted = richness.group_by("setting").agg(pl.len(), pl.col("where").n_unique())
    assert set(richness["where"]) == set(WHERE)
    assert counted["len"].unique().to_list() == [3 * len(WHERE)]
    assert {"domain", "setting", "seed", "where", "probe", "macro_f1", "accuracy", "n"} <= set(richness.columns)
    assert richness["n"].unique().to_list() == [15]
    assert richness.select((pl.col("macro_f1_low") <= pl.col("macro_f1_high")).all()).item()
    shown = richness.filter(setting="zero-shot", where="pre", probe="linear")["accuracy"][0]
    assert shown > 0.9
    blind = richness.filter(where="layer.0.last", probe="linear")["accuracy"]
    assert blind.max() < 0.5


def test_what_enters_the_decoder_is_what_the_projector_hands_on(run):
    richness = run.table("richness").drop("where")
    where = run.table("richness")["where"]
    assert richness.filter(where == "post").equals(richness.filter(where == "layer.0.image"))


def test_settings_change_what_they_train_and_nothing_else(run):
    shape = run.table("representations").filter(against="before", quantity="cka")
    found = {(r["setting"], r["where"]): r["mean"] for r in shape.iter_rows(named=True)}
    for setting in ("ft-proj", "ft-lora"):
        assert found[setting, "pre"] == pytest.approx(1, abs=1e-12)
        assert found[setting, "cls"] == pytest.approx(1, abs=1e-12)
    assert found["ft-proj", "post"] < 0.999999
    assert found["ft-tower", "pre"] < 1 - 1e-8
    assert not shape.filter(setting="zero-shot").height


def test_controls_stand_in_a_table_of_their_own(run):
    controls = run.table("richness_controls")
    shuffled = controls.filter(control="shuffled")
    assert set(shuffled.filter(probe="linear")["where"]) == set(WHERE)
    assert set(shuffled.filter(probe="mlp-paper")["where"]) == set(ENDS)
    assert shuffled.filter(pl.col("where") == "pre", pl.col("probe") == "linear")["accuracy"].mean() < 0.8
    random = controls.filter(control="random-projector")
    assert set(random["setting"]) == {"zero-shot"}
    assert random.height == 3
    assert "control" not in run.table("richness").columns


def test_scores_are_those_of_the_recorded_answers(run):
    probed = run.table("probed").filter(pl.col("control").is_null())
    right = probed.group_by("setting", "where", "probe").agg(
        (pl.col("label") == pl.col("answer")).mean().alias("right")
    )
    both = run.table("richness").join(right, on=["setting", "where", "probe"])
    assert both.height == 4 * (len(WHERE) + 2 * len(ENDS))
    assert both.select((pl.col("accuracy") - pl.col("right")).abs().max()).item() < 1e-12


def test_the_papers_second_table_is_filled_and_the_report_speaks(run):
    table = table_two(run.table("tuning"), run.table("predictions"), run.table("richness"))
    own = run.table("richness").filter(where="post", probe="mlp-paper", setting="ft-proj")["macro_f1"][0]
    assert table.filter(setting="FT-Proj")["probe F1"][0] == f"{own:.4f}"
    found = " ".join(run.findings)
    assert "Does ft-proj make the projector's output richer in colours?" in found
    assert "What to do in colours" in found
    for name in ("verdict", "confusion", "richness", "layers", "drift"):
        assert svg(specification(run.chart(name))).startswith("<svg")


def test_it_can_be_left_out_or_cut_down(images, tmp_path):
    model, processor = build("llava", layers=2)
    view = chiasm.load(model=model, processor=processor)
    given = {"settings": ("zero-shot",), **QUICK}
    without = chiasm.project(view, images, probes=(), out=tmp_path / "none", **given)
    assert not {"richness", "probed"} & set(without.directory.tables())
    one = chiasm.project(view, images, probes=("linear",), controls=False, out=tmp_path / "one", **given)
    assert one.table("richness")["probe"].unique().to_list() == ["linear"]
    assert "richness_controls" not in one.directory.tables()
    with pytest.raises(ChiasmError, match="there are linear"):
        chiasm.project(view, images, probes=("cube",), **given)
