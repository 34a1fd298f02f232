"""Charts of a flow run: what is drawn is what the tables hold, and possible."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made
from tests.support.charts import dashes, datasets, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.theme import SCREEN, dash_of, size_of
from chiasm.studies.flow import captions, charts
from chiasm.studies.flow.sweep import of_effects
from chiasm.studies.flow.tables import IMAGE_SWAP, KEEP_ONE

CHANGE = pl.col("logprob_cut") - pl.col("logprob_clean")
DRAW = {
    "dose": lambda size: charts.dose_curve(made.effects(), made.controls(), size),
    "answers": lambda size: charts.answer_tracking(made.answers(), made.answers(seed=8), size),
    "released": lambda size: charts.answer_tracking(made.answers(), None, size, as_released=True),
    "words": lambda size: charts.caption_words(made.words(), size),
    "windows": lambda size: charts.window_maps(windows(), size),
}


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("chiasm.results.series.RESAMPLES", 100)


def windows(layers=4, examples=6, cuts=("image->question", "question->last")):
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"example_id": f"{i}", "type": "t", "cut": cut, "layer": (a + b - 1) // 2}
            | {"start": a, "stop": b, "logprob_clean": -0.1, "logprob_cut": float(-0.1 * (b - a) + 0.01 * rng.normal())}
            for cut in cuts
            for a in range(layers)
            for b in range(a + 1, layers + 1)
            for i in range(examples)
        ]
    )


@pytest.mark.parametrize("width", [None, "3.3in"])
@pytest.mark.parametrize("name", DRAW)
def test_every_chart_asks_a_question_says_its_n_and_names_its_axes(name, width):
    size = size_of(width)
    chart = DRAW[name](size)
    spec = specification(chart)
    said = " ".join(spec["title"]["subtitle"])
    assert " ".join(spec["title"]["text"]).endswith("?")
    assert "n = " in said
    assert "95 %" in said
    assert any("(%)" in title or "(nat)" in title for title in titles(chart))
    assert spec == specification(DRAW[name](size))
    assert svg(spec).startswith("<svg")


def test_bands_of_shares_stay_between_0_and_100():
    for chart in (DRAW["words"](SCREEN), DRAW["answers"](SCREEN)):
        drawn = rows(chart)
        assert drawn["low"].min() >= 0
        assert drawn["high"].max() <= 100


def test_answers_are_those_of_the_table_beside_the_baseline():
    chart = DRAW["answers"](SCREEN)
    drawn = rows(chart)
    mean = made.answers().filter(form="capital", layer=3)["prob"].mean()
    own = drawn.filter(label="answer, capitalised", role="measured", x=3)
    assert own["y"].item() == pytest.approx(100 * mean, rel=1e-4)
    assert dashes(chart)["random-weights baseline"] == dash_of("random-weights baseline")
    assert set(rows(DRAW["released"](SCREEN))["role"]) == {"measured"}


def test_a_dose_of_all_keys_is_the_cut_itself():
    drawn = rows(DRAW["dose"](SCREEN))
    [label] = drawn["label"].unique()
    cut, _, layer = label.partition(", layer ")
    whole = made.effects().filter(cut=cut.replace(" → ", "->"), layer=int(layer))
    assert drawn.filter(x=100)["y"].item() == pytest.approx(100 * np.exp(whole.select(CHANGE.mean()).item()), rel=1e-3)
    assert drawn["x"].is_sorted()


def test_maps_of_windows_hold_the_numbers_of_the_table_for_every_cut():
    table = windows()
    [cells] = datasets(charts.window_maps(table, SCREEN))
    assert set(cells["panel"]) == {"image → question", "question → last"}
    mean = table.filter(cut="image->question", start=1, stop=4).select(CHANGE.mean()).item()
    one = cells.filter(panel="image → question", row="3", column="1").row(0, named=True)
    assert one["value"] == pytest.approx(mean, rel=1e-5)
    assert one["low"] < mean < one["high"]
    assert one["n"] == 6
    assert cells.filter(row="0", column="1").height == 0
    [alone] = datasets(charts.window_maps(table, SCREEN, cuts=["question->last"]))
    assert set(alone["panel"]) == {"question → last"}


def test_a_dot_marks_windows_that_may_do_nothing():
    nothing = windows().with_columns(
        logprob_cut=pl.when(pl.col("start") == 0).then("logprob_clean").otherwise("logprob_cut")
    )
    [cells] = datasets(charts.window_maps(nothing, SCREEN))
    assert set(cells.filter(column="0")["text"]) == {"·"}
    takes_in = (pl.col("low") <= 0) & (pl.col("high") >= 0)
    assert cells.filter(takes_in)["text"].null_count() == 0
    sure = cells.filter(~takes_in)
    assert sure["text"].null_count() == sure.height > 0


def test_one_layer_and_one_example_can_be_drawn():
    for chart in (
        charts.window_maps(windows(layers=1, examples=2), SCREEN),
        charts.answer_tracking(made.answers(examples=1), None, SCREEN),
        charts.caption_words(made.words(examples=1), SCREEN),
    ):
        assert svg(specification(chart)).startswith("<svg")


def test_cuts_that_do_nothing_are_left_out_of_doses_and_named():
    effects, controls = made.effects(), made.controls()
    doses = controls.filter(pl.col("control").str.starts_with("dose-"))
    cut = doses["cut"][0]
    caption = captions.dose(effects, controls, [])
    assert f"change practically nothing: {cut}" in caption
    assert "all shares of a line" in captions.dose(effects, controls, [cut])
    n = doses.filter(pl.col("cut") == cut)["example_id"].n_unique()
    assert f"(n = {n})" in captions.dose(effects, controls, [cut])


def test_the_caption_says_what_is_changed_of_rows_as_claims_take_them():
    effects = of_effects({"effects": made.effects()})
    assert "when attention is cut in" in captions.flow(effects, None)
    replaced = made.effects().with_columns(cut=pl.lit("ablate:mean@image"))
    assert "when states are replaced in" in captions.flow(of_effects({"effects": replaced}), None)


def test_captions_of_maps_keep_the_sign():
    rows = made.patches()
    against = rows.with_columns(value=pl.when(pl.col("patch") == 3).then(-8.4).otherwise(0.5))
    assert "keep-one -8.4 nat" in captions.patches([{KEEP_ONE: against}])


def test_the_caption_counts_the_examples_of_every_line():
    answers = made.answers()
    fewer = answers.filter((pl.col("form") == "lower") | (pl.col("example_id") < "q0040"))
    assert "(n = 40 to 48)" in captions.tracking(fewer)


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        (
            captions.flow(made.effects(), made.controls(), 1.5),
            [
                "window of 3 layers",
                "n = 48",
                "95 %",
                "as many random keys (question->last, last->last; n = 48)",
                "Further controls (random-weights baseline",
                'are in "Does each effect exceed what its controls do?"',
                "±1.5 nat",
            ],
        ),
        (captions.flow(made.effects(), None), ["No control was run"]),
        (captions.flow(made.effects().cast({"cut": pl.Categorical}), None), ["when attention is cut in"]),
        (captions.flow(made.effects(), made.controls(), panels="type"), ["One panel for each question type"]),
        (
            captions.flow(made.effects(), made.controls(), panels="cut"),
            ["each cut", "Dashed: every control", "random-weights baseline"],
        ),
        (
            captions.flow(made.effects(), made.controls().filter(pl.col("control") == IMAGE_SWAP)),
            ["Without a control, for want of as many other keys: question->last, image->last, last->last"],
        ),
        (
            captions.flow(made.effects(), made.controls().filter(pl.col("control") == IMAGE_SWAP), panels="cut"),
            ["Level line in grey: another example's image, nothing cut"],
        ),
        (captions.tracking(made.answers(), control=True), ["n = 48", "random-weights baseline", "final norm"]),
        (captions.tracking(made.answers(), as_released=True), ["without the final norm", "No control"]),
        (
            captions.patches([{KEEP_ONE: made.patches().with_columns(value=-2 * CHANGE)}] * 6, some="6 of 60"),
            ["6 examples", "64 patches", "n = 1", "keep-one +2.3 nat", "6 of 60 maps, at even steps"],
        ),
        (captions.dose(made.effects(), made.controls()), ["100 % is the cut itself", "n = 48"]),
        (captions.windows(windows()), ["n = 6", "holds for all windows at once"]),
        (captions.words(made.words()), ["n = 20", "control"]),
    ],
)
def test_captions_tell_n_interval_and_control(caption, parts):
    assert caption.endswith(".")
    for part in parts:
        assert part in caption
