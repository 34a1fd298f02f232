import polars as pl
import pytest
from tests.studies.project.made import CLASSES, made, probes
from tests.support.charts import found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.studies.project import charts, probe_charts
from chiasm.studies.project.scores import LINE, UNTUNED, ProbeAnswers, ProbeSite, score_of

ANSWERS = {UNTUNED: 0.3, "ft-proj": 0.5, "ft-e2e": 0.9}


@pytest.fixture(scope="module")
def tables():
    read = probes({UNTUNED: (0.7, 0.7), "ft-proj": (0.8, 0.7), "ft-e2e": (0.75, 0.7)})
    return made(ANSWERS, read, invalid=0.2)


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_the_verdict_has_probes_and_answers_in_the_order_of_the_model(tables, width):
    chart = charts.verdict_chart(tables["tuning"], tables["predictions"], tables["probed"], None, size_of(width))
    data = rows(chart, "row", "mark")
    assert data["row"].unique(maintain_order=True).to_list()[-3:] == [
        "last token, last state",
        "most probable label",
        "free answer",
    ]
    assert set(data["mark"]) >= {UNTUNED, "ft-proj", "ft-e2e"}
    behind = ProbeAnswers.of(tables["probed"], "d").score(ProbeSite("ft-proj", "post"))
    drawn = data.filter(row="behind the projector", mark="ft-proj").row(0, named=True)
    assert (drawn["value"], drawn["low"]) == pytest.approx((float(behind.mean), float(behind.low)), rel=1e-6)
    free = score_of(tables["predictions"], "d", "ft-e2e")
    answer = data.filter(row="free answer", mark="ft-e2e")["value"][0]
    assert answer == pytest.approx(float(free.mean), rel=1e-6)
    assert "Macro-F1" in titles(chart)
    # What tuning cannot change is drawn once.
    assert data.filter(pl.col("mark") == "ft-proj", row="before the projector").height == 0


def test_the_verdict_names_the_settings_that_it_leaves_out(tables):
    answers = {**ANSWERS, "ft-lora": 0.6, "ft-tower": 0.4}
    more = made(answers, probes({UNTUNED: (0.7, 0.7)}), invalid=0.2)
    said = "Not drawn, as none has a higher macro-F1: ft-lora, ft-tower"
    for of, told in ((more, True), (tables, False)):
        chart = charts.verdict_chart(of["tuning"], of["predictions"], of["probed"], None, SCREEN)
        subtitle = " ".join(specification(chart)["title"]["subtitle"])
        assert (said in subtitle, said in charts.verdict_caption(of["tuning"])) == (told, told)
        assert set(rows(chart, "row", "mark")["mark"]).isdisjoint({"ft-lora", "ft-tower"})


def test_settings_stand_in_one_chart_with_their_seeds(tables):
    references = pl.DataFrame({"domain": ["d"], "reference": ["random"], "seed": [0], "macro_f1": [0.25]})
    chart = charts.tuning_chart(tables["tuning"], tables["predictions"], references, SCREEN)
    data = rows(chart, "row", "mark")
    seeds = tables["tuning"].filter(setting="ft-proj")["macro_f1"].to_list()
    own = data.filter(row="ft-proj", mark="free answer").row(0, named=True)
    assert own["single seeds"] == ", ".join(f"{seed:.3f}" for seed in seeds)
    assert data.filter(row="ft-proj", mark="most probable label")["value"].to_list() == [1.0]
    assert data.filter(row="uniform guessing (control)")["value"].to_list() == [0.25]
    assert [one["datum"] for one in found(chart, "x") if "datum" in one] == [0.25]


def test_confusions_are_shares_of_a_class_and_answers_without_one_come_last(tables):
    data = rows(charts.confusion_chart(tables["tuning"], tables["predictions"], SCREEN), "row", "column")
    assert set(data["panel"]) == {"d, ft-e2e"}
    assert data["column"].unique(maintain_order=True).to_list() == [*CLASSES, "no class"]
    assert data.group_by("row").agg(pl.col("value").sum())["value"].to_list() == pytest.approx([100] * 4)
    rows_of = tables["predictions"].filter(setting="ft-e2e", label="a")
    share = 100 * rows_of.filter(parsed="a").height / rows_of.height
    assert data.filter(row="a", column="a")["value"][0] == pytest.approx(share)


def test_settings_have_one_colour_everywhere():
    styles = [charts.setting_mark(name).style for name in (*ANSWERS, "ft-proj-lowlr", "ft-lora", "ft-proj-released")]
    assert len(set(styles)) == len(styles)
    assert charts.setting_mark("new") == charts.setting_mark("new")


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_probes_are_drawn_by_setting_by_state_and_by_drift(tables, width):
    size, probed = size_of(width), tables["probed"]
    richness = rows(probe_charts.richness_chart(probed, size), "row", "mark")
    of = ProbeAnswers.of(probed, "d")
    score = of.score(ProbeSite("ft-proj", "post", LINE))
    value = richness.filter(row="behind it: ft-proj", mark="linear")["value"][0]
    assert value == pytest.approx(float(score.mean), rel=1e-6)
    assert richness.filter(row="shuffled labels (control)", mark="linear, control").height == 1
    layers = rows(probe_charts.layers_chart(probed, size))
    state = of.score(ProbeSite(UNTUNED, "layer.1.last", LINE))
    [own] = layers.filter(label=UNTUNED, role="measured", panel="d, last prompt token", x=1)["y"]
    assert own == pytest.approx(float(state.mean), rel=1e-4)
    drift = rows(probe_charts.drift_chart(tables["tuning"], probed, size), "name")
    gap = of.gap(ProbeSite("ft-proj", "post", LINE), ProbeSite(UNTUNED, "post", LINE))
    [changed] = drift.filter(name="ft-proj", panel="d, linear probe")["y"]
    assert changed == pytest.approx(float(gap.mean), rel=1e-6)


def test_one_setting_and_one_seed_are_enough():
    few = made({UNTUNED: 0.5}, probes({UNTUNED: (0.7, 0.7)}, controls=False), seeds=1)
    for chart in (
        charts.verdict_chart(few["tuning"], few["predictions"], few["probed"], None, SCREEN),
        charts.tuning_chart(few["tuning"], few["predictions"], None, SCREEN),
        charts.confusion_chart(few["tuning"], few["predictions"], SCREEN),
        probe_charts.richness_chart(few["probed"], SCREEN),
        probe_charts.layers_chart(few["probed"], SCREEN),
    ):
        assert svg(specification(chart)).startswith("<svg")
        assert "n = 160" in " ".join(specification(chart)["title"]["subtitle"])
