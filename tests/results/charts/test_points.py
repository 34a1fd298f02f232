import math

import pytest
from tests.support.charts import found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import BLACK, PALETTE, SCREEN, size_of

MARKS = [Mark("one", 0), Mark("other", 1)]
TIME = Plane("alone", Scale("Time left (%)", kind="log", reference=100.0, dotted=(95.0,)), Scale("Loss (points)"))


def points(panel="alone"):
    return [
        Point("p", 80.0, 1.0, 70.0, 90.0, -1.0, 3.0, 50, "one", panel, True, {"memory (%)": 60.0}),
        Point("q", 90.0, 2.0, mark="other", panel=panel),
    ]


def chart(made, planes=(TIME,), size=SCREEN, marks=MARKS):
    return points_chart(made, planes, marks, size, title="Which?", subtitle="Bars: 95 %; n = 50.", things="plan")


def test_points_hold_both_values_with_their_bounds():
    data = rows(chart(points()), "name")
    assert data.row(0, named=True) == {
        "name": "p", "mark": "one", "panel": "alone", "x": 80, "y": 1, "x_low": 70, "x_high": 90, "y_low": -1,
        "y_high": 3, "n": 50, "memory (%)": 60, "chosen": True,
    }  # fmt: skip
    assert data.row(1, named=True)["x_low"] is None
    said = set(titles(chart(points())))
    assert {
        "plan",
        "kind",
        "Time left",
        "Loss",
        "Time left, 95 % from",
        "Loss, to",
        "memory (%)",
        "n",
        "Loss (points)",
    } <= said


def test_a_ring_is_around_what_is_chosen_and_around_nothing_else():
    ring = [one for one in found(chart(points()), "stroke") if one == {"value": BLACK}]
    assert len(ring) == 1
    bare = [Point("q", 90.0, 2.0, mark="other", panel="alone")]
    assert not [one for one in found(chart(bare), "stroke") if one == {"value": BLACK}]


def test_references_go_right_across():
    made = chart(points())
    marked = [one["datum"] for one in found(made, "x") if "datum" in one]
    assert marked == [100.0, 95.0]


def test_colours_that_come_round_again_have_other_shapes():
    marks = [Mark(f"m{k}", k) for k in range(12)]
    made = chart([Point("p", 1.0, 1.0, mark="m0", panel="alone")], marks=marks)
    stroke, shape = (
        next(one["scale"]["range"] for one in found(made, key) if "scale" in (one or {})) for key in ("stroke", "shape")
    )
    assert len(set(zip(stroke, shape, strict=True))) == 12
    assert stroke[0] == stroke[len(PALETTE)]


@pytest.mark.parametrize("width", [None, "3.3in"])
@pytest.mark.parametrize(
    "made", [[Point("p", 1.0, math.nan, mark="one", panel="alone")], points(), [*points(), *points("other")]]
)
def test_what_is_there_is_drawn(made, width):
    planes = (TIME, Plane("other", Scale("Time"), Scale("Loss")))
    assert svg(specification(chart(made, planes, size_of(width)))).startswith("<svg")


def test_the_same_points_give_the_same_specification():
    assert specification(chart(points())) == specification(chart(points()))
