import math
from dataclasses import replace

import pytest
from tests.support.charts import datasets, found, rows, titles

from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.theme import GREY, PALETTE, SCREEN, SHAPES, size_of

MARKS = [Mark("seen", 0), Mark("blind", 0, control=True), Mark("guessing", None, control=True)]
SHARE, TIME = Scale("Right (%)", limits=(0, 100), reference=50.0), Scale("Time (s)", "time", "log", ticks=(1, 10))


def dots(panel="Right (%)", names=("a", "b", "c")):
    made = []
    for k, name in enumerate(names):
        made.append(Dot(name, 70.0 + k, 60.0, 80.0, 40, "seen", panel, {"seeds": "1, 2"}))
        made.append(Dot(name, 55.0, 45.0, math.nan, 40, "blind", panel))
        made.append(Dot(name, 50.0, mark="guessing", panel=panel))
    return made


def chart(made, scales=(SHARE,), size=SCREEN, marks=MARKS):
    return dots_chart(made, scales, marks, size, title="Which?", subtitle="Bars: 95 %; n = 40.", rows_title="Type")


def test_dots_hold_values_bounds_and_facts_and_none_where_there_are_none():
    made = chart(dots())
    data = rows(made, "row", "value")
    assert data.filter(mark="seen").select("row", "value", "low", "high").rows() == [
        ("a", 70.0, 60.0, 80.0),
        ("b", 71.0, 60.0, 80.0),
        ("c", 72.0, 60.0, 80.0),
    ]
    assert data.filter(mark="blind")["high"].null_count() == 3
    assert {"Type", "shows", "Right", "Right, 95 % from", "Right, to", "seeds", "n", "Right (%)"} <= set(titles(made))


def test_every_kind_has_its_colour_and_controls_are_hollow_and_dashed():
    made = chart(dots())
    scales = {
        key: next(one["scale"] for one in found(made, key) if "scale" in (one or {}))
        for key in ("stroke", "fill", "shape")
    }
    assert scales["stroke"]["domain"] == ["seen", "blind", "guessing"]
    assert scales["stroke"]["range"] == [PALETTE[0], PALETTE[0], GREY]
    assert scales["fill"]["range"] == [PALETTE[0], "transparent", "transparent"]
    assert scales["shape"]["range"][0] == SHAPES[0]
    assert len(set(scales["shape"]["range"])) == 3
    assert list(found(made, "oneOf")) == [["blind", "guessing"]]


def test_a_click_on_a_name_below_keeps_one_kind_in_all_panels():
    chart_of = chart([*dots(), *dots("time")], (SHARE, TIME))
    [kept] = [one for one in specification(chart_of)["params"] if one["name"] == "kept"]
    assert kept["select"] == {"type": "point", "fields": ["mark"], "on": "click", "toggle": "true"}
    [entries] = [one for one in datasets(chart_of) if set(one.columns) == {"mark", "x", "y"}]
    assert entries["mark"].to_list() == [mark.label for mark in MARKS]
    assert entries["x"].max() < SCREEN.width
    kept_in = [one["condition"][0]["param"] for one in found(chart_of, "opacity") if isinstance(one, dict)]
    assert kept_in == ["kept"] * 6


def test_panels_side_by_side_have_the_same_rows_and_stand_below_each_other_where_it_is_narrow():
    made = [*dots(names=("a", "b")), *dots("time", ("b", "c"))]
    wide = specification(chart(made, (SHARE, TIME)))["vconcat"][0]
    assert len(wide["hconcat"]) == 2
    assert list(_rows_of(wide["hconcat"])) == [["a", "b", "c"]] * 2
    long = [replace(dot, row=f"{dot.row}, whose name leaves little room for panels") for dot in made]
    narrow = specification(chart(long, (SHARE, TIME), size_of("3.3in")))["vconcat"][0]
    there = [[name[0] for name in domain] for line in narrow["vconcat"] for domain in _rows_of(line["hconcat"])]
    assert there == [["a", "b"], ["b", "c"]]
    assert len([one for one in datasets(chart(made, (SHARE, TIME))) if "row" in one.columns]) == 1


def _rows_of(panels):
    for panel in panels:
        yield next(layer["encoding"]["y"]["scale"]["domain"] for layer in panel["layer"] if "y" in layer["encoding"])


@pytest.mark.parametrize("width", [None, "3.3in"])
@pytest.mark.parametrize(
    "made",
    [
        [Dot("only", 3.0, mark="seen")],
        [Dot("a", 3.0, math.nan, math.nan, mark="seen"), Dot("b", math.nan, mark="seen")],
        [Dot("a" * 300, 3.0, 1.0, 4.0, 10, "seen")],
    ],
)
def test_what_is_there_is_drawn(made, width):
    assert svg(specification(chart(made, size=size_of(width)))).startswith("<svg")


def test_values_out_of_reach_have_no_tick():
    made = chart(dots(), (Scale("Loss", kind="symlog", limits=(-5, 50), ticks=(-100, -10, 0, 10, 100)),))
    assert [one for one in found(made, "values") if isinstance(one, list) and one] == [[0, 10]] * 2


def test_text_is_shown_as_it_is():
    name = "<i>a</i>\x07"
    made = chart([Dot(name, 1.0, mark=name, panel=name)], (Scale("x", name),), marks=[Mark(name, 1), MARKS[1]])
    assert rows(made, "row")["row"].to_list() == ["<i>a</i>"]
    assert "&lt;i&gt;a&lt;/i&gt;" in svg(specification(made))


def test_the_same_dots_give_the_same_specification():
    assert specification(chart(dots())) == specification(chart(dots()))
