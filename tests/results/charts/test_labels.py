"""Names stand at the ends of lines where they fit, and never cover each other."""

import itertools
import math

import pytest
from tests.results.charts.test_files import chart, lines
from tests.support.charts import datasets, found

from chiasm.results.charts.labels import beside
from chiasm.results.charts.theme import SCREEN, size_of

ENDS = {"image": (9.0, 50.0), "question": (9.0, 51.0), "last": (9.0, 90.0)}


def placed(ends=ENDS, size=SCREEN, **more):
    return beside(ends, (0.0, 100.0), 560, 260, size, **more)


def test_names_that_would_touch_are_moved_apart_and_no_further():
    names = placed()
    pixels = sorted(260 * y / 100 for y in names.rows["y"])
    gaps = [b - a for a, b in itertools.pairwise(pixels)]
    assert min(gaps) >= 1.15 * SCREEN.text - 0.1
    at = dict(names.rows.select("label", "y").iter_rows())
    assert at["last"] == pytest.approx(90)
    assert at["question"] - 50.5 == pytest.approx(50.5 - at["image"], abs=0.01)


@pytest.mark.parametrize(
    "ends",
    [
        {"only one": (9.0, 5.0)},
        {"a": (9.0, math.nan), "b": (9.0, 1.0)},
        {str(k): (9.0, 50.0) for k in range(7)},
        {"a" * 60: (9.0, 10.0), "b": (9.0, 50.0)},
    ],
)
def test_where_names_do_not_fit_there_is_a_legend(ends):
    assert placed(ends) is None


def test_names_at_the_edge_stay_inside_and_a_column_has_a_legend():
    assert placed({"a": (9.0, 0.0), "b": (9.0, 0.5)}).rows["y"].min() >= 0
    assert placed(size=size_of("3.3in")) is None


def test_a_logarithmic_scale_has_names_on_it():
    names = beside({"a": (9.0, 1.0), "b": (9.0, 100.0)}, (0.1, 1000.0), 560, 260, SCREEN, log=True)
    assert sorted(names.rows["y"]) == pytest.approx([1.0, 100.0], rel=1e-3)


def test_a_click_on_a_name_keeps_its_line_and_no_legend_stands_beside_it():
    drawn = chart(made=lines())
    [names] = [frame for frame in datasets(drawn) if set(frame.columns) == {"label", "x", "y"}]
    assert names["label"].to_list() == ["cut 1", "cut 0"]
    kept = next(one for params in found(drawn, "params") for one in params if one["name"] == "kept")
    assert kept["select"]["on"] == "click"
    assert all(one.get("legend", "") is None for one in found(drawn, "color") if "scale" in one)
