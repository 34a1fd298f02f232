"""Charts of a sweep: what is drawn is what is claimed, in one colour per cut."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made
from tests.support.charts import dashes, rows

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.results.charts.files import specification
from chiasm.results.charts.theme import GREY, SCREEN, dash_of, size_of
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.curves import controls_chart, flow_chart, types_chart
from chiasm.studies.flow.tables import IMAGE_SWAP


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("chiasm.results.series.RESAMPLES", 100)


@pytest.mark.parametrize("draw", [flow_chart, controls_chart])
def test_bands_of_cuts_are_the_intervals_of_the_claims(draw):
    effects, controls = made.effects(), made.controls()
    found = of_kind(claims({"effects": effects, "controls": controls}), "effect")
    drawn = rows(draw(effects, controls, SCREEN, claims=found)).filter(role="measured", label="question → last")
    for one in of_kind(found, "effect", "question->last"):
        row = drawn.filter(x=int(one.where)).row(0, named=True)
        assert row["low"] == pytest.approx(100 * np.exp(one.low), rel=1e-4)
        assert row["high"] == pytest.approx(100 * np.exp(one.high), rel=1e-4)
        assert row["y"] == pytest.approx(100 * np.exp(one.effect), rel=1e-4)
        assert row["verdict"] == one.verdict
        assert row["change (nat)"] == pytest.approx(one.effect, abs=1e-3)


def test_each_cut_stands_beside_the_control_it_is_judged_against():
    drawn = rows(flow_chart(made.effects(), made.controls(), SCREEN))
    shown = set(drawn.filter(pl.col("role") != "measured").select("label", "role").unique().rows())
    assert ("question → last", "as many random keys") in shown
    assert all(role != "another example's image, nothing cut" for _, role in shown)


def test_a_control_has_one_dash_whatever_stands_beside_it():
    every = dashes(controls_chart(made.effects(), made.controls(), SCREEN))
    some = made.controls().filter(pl.col("control").is_in([RANDOM_WEIGHTS]))
    alone = dashes(controls_chart(made.effects(), some, SCREEN))
    assert alone["random-weights baseline"] == every["random-weights baseline"] == dash_of("random-weights baseline")
    assert len({tuple(dash) for dash in every.values()}) == len(every)


def test_what_no_effect_has_to_exceed_is_grey_and_called_a_scale():
    spec = specification(controls_chart(made.effects(), made.controls(), SCREEN))
    role = "for scale: another example's image, nothing cut"
    [colour] = [
        layer["encoding"]["color"]
        for layer in spec["spec"]["layer"]
        if layer["mark"]["type"] == "line" and "strokeDash" in layer["encoding"]
    ]
    assert colour["condition"] == {"test": {"field": "role", "oneOf": [role]}, "value": GREY}
    assert dashes(controls_chart(made.effects(), made.controls(), SCREEN))[role] == dash_of(role[len("for scale: ") :])
    assert "Grey: for scale, no control to exceed." in " ".join(spec["title"]["subtitle"])
    nulls = made.controls().filter(pl.col("control") == RANDOM_WEIGHTS)
    assert "Grey" not in " ".join(specification(controls_chart(made.effects(), nulls, SCREEN))["title"]["subtitle"])


def test_colours_are_those_of_the_cut_whichever_cuts_are_drawn():
    def colours(**chosen):
        spec = specification(flow_chart(made.effects(), None, SCREEN, **chosen))
        scale = next(layer["encoding"]["color"]["scale"] for layer in spec["layer"] if "color" in layer["encoding"])
        return dict(zip(scale["domain"], scale["range"], strict=True))

    every = colours()
    alone = colours(cuts=["image->last"])
    assert alone == {"image → last": every["image → last"]}
    assert len(set(every.values())) == len(every)
    with pytest.raises(ChiasmError, match="this run has question->last, image->last"):
        colours(cuts=["image->nowhere"])


def test_types_have_panels_that_say_their_n():
    drawn = rows(types_chart(made.effects(), made.controls(), size_of("7in")))
    assert len(set(drawn["panel"])) == made.effects()["type"].n_unique()
    assert all("(n = " in panel for panel in drawn["panel"])


def test_a_control_beyond_the_scale_does_not_flatten_the_cut():
    wild = made.controls().with_columns(
        logprob_cut=pl.when(pl.col("control") == IMAGE_SWAP).then(pl.col("logprob_clean") + 4).otherwise("logprob_cut")
    )
    spec = specification(controls_chart(made.effects(), wild, SCREEN))
    scales = [
        layer["encoding"]["y"]["scale"] for layer in spec["spec"]["layer"] if "scale" in layer["encoding"].get("y", {})
    ]
    assert scales[0]["domain"][1] < 300
    assert max(rows(controls_chart(made.effects(), wild, SCREEN))["y"]) > 5000


def test_one_example_has_lines_and_no_band():
    drawn = rows(flow_chart(made.effects(examples=1), None, SCREEN))
    assert drawn["low"].null_count() == drawn.height
    assert drawn["y"].null_count() == 0
