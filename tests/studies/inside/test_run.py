"""From examples to tables, figures and sentences: what each row must hold, on small random models."""

import polars as pl
import pytest
import torch
from tests.support.charts import dashes, titles
from tests.support.charts import rows as rows_of
from tests.support.charts import shown as patches_of
from tests.support.factories import build, example

from chiasm.api.inside import attribute, concepts, neurons
from chiasm.core.errors import ChiasmError
from chiasm.studies.inputs import load
from chiasm.studies.inside.findings import inside_findings

QUICK = {"samples": 24, "orders": 3}


@pytest.fixture(scope="module")
def view():
    model, processor = build("llava", layers=2)
    return load(model=model, processor=processor)


def shown(count, start=0):
    return [example(seed=seed, size=(56, 42)) for seed in range(start, start + count)]


@pytest.fixture(scope="module")
def found(view):
    return attribute(view, shown(9), limit=9, labelled=True, **QUICK)


def test_every_number_stands_beside_its_control(found):
    rows = found.table("attributions")
    assert rows["example_id"].n_unique() == 9
    assert rows.height == 27
    assert rows["baseline"].unique().to_list() == ["mean"]
    steps = rows.filter(method="integrated-gradients")
    assert (steps["error"] <= 0.05).all()
    assert rows["object_swapped"].is_not_null().all()
    assert rows["area"].is_between(0, 1, closed="none").all()
    for name in ("deletion", "deletion_random", "insertion", "insertion_random"):
        assert rows[name].is_between(0, 1).all()
    maps = found.table("attribution_maps").filter(method="integrated-gradients")
    whole = maps.group_by("example_id").agg(pl.col("value").sum()).join(steps, on="example_id")
    gap = (whole["value"] - (whole["value_right"] - whole["base_value"])).abs()
    assert (gap <= 0.05 * (whole["value_right"] - whole["base_value"]).abs()).all()
    shares = found.table("modalities")
    assert (shares.filter(method="two-players")["blank"].abs() < 1e-3).all()
    assert shares["share"].is_between(0, 1).all()


def test_curves_begin_and_end_alike_in_every_order(found):
    curves = found.table("attribution_curves")
    for kind, ends in (("deletion", (0.0, 1.0)), ("insertion", (1.0, 0.0))):
        whole = (
            curves.filter(kind=kind, share=ends[0])
            .group_by("example_id")
            .agg(pl.col("prob").max() - pl.col("prob").min())
        )
        gone = (
            curves.filter(kind=kind, share=ends[1])
            .group_by("example_id")
            .agg(pl.col("prob").max() - pl.col("prob").min())
        )
        assert float(whole["prob"].max()) < 1e-5
        assert float(gone["prob"].max()) < 1e-5


def test_what_is_found_is_reported_and_drawn(found):
    assert any("integrated-gradients in 9 of 9 maps" in text for text in found.findings)
    assert any("boxes cover" in text and "other examples' maps in the same boxes" in text for text in found.findings)
    assert {"pointing-in memory", "faithfulness-in memory", "modalities-in memory"} <= set(found.charts)
    drawn = titles(found.chart("pointing-in memory"))
    assert "Positive attribution on what is asked about (%)" in drawn
    assert "random order" in dashes(found.chart("faithfulness-in memory", width="3.3in"))
    with pytest.raises(ChiasmError, match="there are attributions"):
        found.table("nothing")


def test_one_example_stands_against_a_grey_picture(view):
    one = attribute(view, example(), labelled=True, shares=False, **QUICK)
    rows = one.table("attributions")
    # Paths from other pictures need other pictures.
    assert rows["method"].to_list() == ["integrated-gradients", "kernel-shap"]
    assert rows["baseline"].unique().to_list() == ["grey"]
    assert rows["answer"].unique().to_list() == ["red"]
    assert rows["object_swapped"].is_null().all()
    drawn = patches_of(one.chart("map-example-as given"))
    assert set(drawn) == {"integrated-gradients", "kernel-shap"}
    values = one.table("attribution_maps").filter(method="integrated-gradients")["value"]
    assert drawn["integrated-gradients"] == pytest.approx(values.to_list(), rel=1e-2)


def test_neurons_are_judged_on_examples_that_did_not_choose_them(view):
    data = shown(8)
    found = neurons(view, data, groups={"a": shown(4), "b": shown(4, 20)}, top=5, draws=3, share=0.05, labelled=True)
    rows = found.table("neurons")
    assert rows.filter(score="gradient").height == rows.filter(score="unembedding").height == 5
    assert rows.filter(score="gradient")["value"].is_sorted(descending=True)
    assert set(rows["n"]) == {4, 8}
    lost = found.table("neuron_ablation")
    assert set(lost["example_id"]) == {one.id for one in data[1::2]}
    gradient = lost.filter(score="gradient")
    assert (gradient["change"] != gradient["change_random"]).all()
    assert set(gradient["draws"]) == {3}
    assert found.table("specific_neurons")["draws"].item() == 3
    dots = rows_of(found.chart("neurons-in memory"), "row", "mark", "value")
    assert set(dots["mark"]) == {"these neurons at zero", "random ones, same layers"}
    change = gradient["change"].mean()
    drawn = dots.filter(row="gradient", mark="these neurons at zero")["value"].item()
    assert drawn == pytest.approx(change, rel=1e-4)
    assert any("did not choose them" in text for text in found.findings)


def test_concepts_are_followed_by_layer(view):
    own, others = shown(6), shown(10, 30)
    followed = concepts(view, {"dark": own}, shown(4, 50), others=others, random=60, labelled=True)
    rows = followed.table("concepts")
    assert rows["layer"].to_list() == [0, 1]
    assert (rows["random_low"] <= rows["random_high"]).all()
    assert rows["p"].is_between(1 / 61, 1).all()
    assert set(rows["n"]) == {4}
    drawn = rows_of(followed.chart(followed.charts[0])).filter(label="dark")
    assert drawn.filter(role="measured")["y"].to_list() == pytest.approx(rows["value"].to_list(), rel=1e-3)
    assert drawn.filter(role="random concepts")["high"].to_list() == pytest.approx(
        rows["random_high"].to_list(), rel=1e-3
    )
    with pytest.raises(ChiasmError, match="3 images show it"):
        concepts(view, {"dark": own[:3]}, shown(4), others=others)
    with pytest.raises(ChiasmError, match="no data are given"):
        concepts(view, {"dark": own}, {"light": shown(2)}, others=others)


def test_what_replaces_the_image_had_another_name(view):
    options = {"replacement": "grey", "methods": ["kernel-shap"], "shares": False, "labelled": True, **QUICK}
    now = attribute(view, shown(2), limit=None, **options).table("attributions")
    assert now["example_id"].n_unique() == 2
    assert now["baseline"].unique().to_list() == ["grey"]
    with pytest.warns(FutureWarning, match="`baseline=` is `replacement=` now"):
        then = attribute(view, shown(2), baseline=options.pop("replacement"), **options).table("attributions")
    assert then.equals(now)


def test_help_shows_every_option():
    assert "- `samples` (default 256): Coalitions" in attribute.__doc__
    assert "- `limit` (default 12):" in attribute.__doc__
    assert "out=None" not in attribute.__doc__


def test_what_cannot_be_asked_is_refused(view):
    with pytest.raises(ChiasmError, match=r"methods='lime': there are integrated-gradients, .*Name one of those"):
        attribute(view, shown(1), methods=("lime",), labelled=True)
    with pytest.raises(ChiasmError, match=r"share=1.5: it must be <= 1"):
        neurons(view, shown(4), share=1.5)
    with pytest.raises(ChiasmError, match=r"random=0: it must be >= 1"):
        concepts(view, {"dark": shown(6)}, random=0)
    with pytest.raises(ChiasmError, match="nothing is left"):
        attribute(view, [example(images=0)])
    with pytest.raises(ChiasmError, match="are few"):
        neurons(view, shown(3), labelled=True)


def test_quantised_models_are_refused():
    model, processor = build("llava", layers=2)
    model.config.quantization_config = {"quant_method": "int8"}
    quantised = load(model=model, processor=processor)
    with pytest.raises(ChiasmError, match="quantised"):
        attribute(quantised, example(), shares=False)


def test_an_incomplete_map_is_reported(found):
    rows = found.table("attributions").with_columns(
        error=pl.when(pl.col("method") == "integrated-gradients").then(0.2).otherwise("error")
    )
    findings = inside_findings({"attributions": rows})
    assert any("in 0 of 9 maps" in finding.text for finding in findings)


def test_other_images_do_not_change_a_map(view):
    torch.manual_seed(5)
    one = attribute(view, shown(1), background=shown(9, 40), shares=False, labelled=True, **QUICK).table(
        "attribution_maps"
    )
    torch.manual_seed(6)
    two = attribute(view, shown(2), limit=2, background=shown(9, 40), shares=False, labelled=True, **QUICK).table(
        "attribution_maps"
    )
    assert two.filter(example_id=one["example_id"][0]).equals(one)
