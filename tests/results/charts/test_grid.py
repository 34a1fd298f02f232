import math

import pytest
from tests.support.charts import found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.theme import SCREEN, size_of

SHARES = Shades("Right answers (%)", limits=(0, 100), written=".0f")
SIDES = Sides("Mask", "Question type")


def cells(count=3, panel="", **more):
    return [Cell(f"m{a}", f"t{b}", 10.0 * a + b, 1.0, 90.0, 40, panel, **more) for a in range(count) for b in range(2)]


def chart(made, size=SCREEN, shades=SHARES, sides=SIDES, **more):
    return grid_chart(made, shades, sides, size, title="Which?", subtitle="Cells: shares; n = 40.", **more)


def test_cells_hold_the_values_and_hovering_says_them_exactly():
    made = chart(cells())
    data = rows(made, "row", "column")
    assert data.select("row", "column", "value").rows() == [(c.row, c.column, c.value) for c in cells()]
    assert data["text"].to_list() == ["0", "1", "10", "11", "20", "21"]
    assert {"Mask", "Question type", "Right answers", "Right answers, 95 % from", "Right answers, to", "n"} <= set(
        titles(made)
    )


def test_what_is_asked_for_stands_in_the_cells_where_it_fits_else_the_number_else_nothing():
    made = cells(text="12.3 ±45.6")
    assert set(rows(chart(made), "text")["text"]) == {"12.3 ±45.6"}
    wide = [Cell("m", f"{k}", 50.0, text="12.3 ±45.6") for k in range(12)]
    assert set(rows(chart(wide, size_of("3.3in")), "text")["text"]) == {"50"}
    wider = [Cell("m", f"{k}", 50.0) for k in range(60)]
    assert not list(found(chart(wider, size_of("3.3in")), "text"))[1:]


def test_numbers_can_be_read_on_their_colours():
    data = rows(chart([Cell("a", "x", 0.0), Cell("b", "x", 100.0)]), "dark")
    assert data["dark"].to_list() == [True, False]
    both = [Cell("a", "x", -5.0), Cell("b", "x", 0.0), Cell("c", "x", 5.0)]
    assert rows(chart(both, shades=Shades("Change", middle=0.0)), "dark")["dark"].to_list() == [True, False, True]


def test_a_diverging_scale_reaches_as_far_to_both_sides_of_its_middle():
    made = chart([Cell("a", "x", -1.0), Cell("b", "x", 4.0)], shades=Shades("Change", middle=1.0))
    [scale] = [one for one in found(made, "scale") if "scheme" in one]
    assert scale["domain"] == [-2.0, 4.0]


@pytest.mark.parametrize("width", [None, "3.3in"])
@pytest.mark.parametrize(
    "made",
    [
        [Cell("only", "one", 3.0)],
        [Cell("a", "x", math.nan), Cell("a", "y", 2.0)],
        [Cell("a", "x", 1.0, panel="p"), Cell("b", "y", 1.0, panel="q")],
        [Cell("a" * 200, "long name of many words (n = 12)", 1.0, 0.0, math.nan)],
        [Cell(str(a), str(b), a * b) for a in range(40) for b in range(40)],
    ],
)
def test_what_is_there_is_drawn(made, width):
    assert svg(specification(chart(made, size_of(width)))).startswith("<svg")
    assert svg(specification(chart(made, size_of(width), Shades("x", middle=0.0), columns=3))).startswith("<svg")


def test_text_is_shown_as_it_is():
    name = "<b>a</b>\n\u202etype\x00"
    made = chart([Cell(name, name, 1.0, panel=name)])
    assert rows(made, "row")["row"].to_list() == ["<b>a</b> type"]
    assert "&lt;b&gt;a&lt;/b&gt;" in svg(specification(made))


def test_the_same_cells_give_the_same_specification():
    assert specification(chart(cells())) == specification(chart(cells()))
