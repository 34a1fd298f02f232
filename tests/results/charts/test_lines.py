"""Bands of lines: what is hardly known lies behind, and is lighter."""

import numpy as np

from chiasm.results.charts.lines import Line, rows_of
from chiasm.results.series import Curve

PLACES = np.arange(3.0)


def line(label, half, role="measured", panel=""):
    level = np.full(3, 50.0)
    return Line(label, Curve(PLACES, level, level - half, level + half, 9, 9), 0, role, panel)


def ink(*lines, log=False):
    data = rows_of(lines, (1.0, 101.0), log=log)
    return dict(data.select("label", "ink").unique(maintain_order=True).iter_rows())


def test_wide_bands_are_lighter_and_lie_behind_narrow_ones():
    found = ink(line("narrow", 1.0), line("wide", 45.0), line("middle", 10.0))
    assert list(found) == ["wide", "middle", "narrow"]
    assert found["wide"] < found["middle"] < found["narrow"]
    assert found["wide"] > 0, "its bounds can still be seen"


def test_controls_are_half_as_dark_and_many_bands_lighter_than_few():
    alone, control = ink(line("own", 1.0))["own"], ink(line("own", 1.0, role="random keys"))["own"]
    assert control == alone / 2
    assert ink(*(line(f"line {k}", 1.0) for k in range(6)))["line 0"] == alone / 2
    assert ink(*(line(f"line {k}", 1.0, panel=f"{k}") for k in range(6)))["line 0"] == alone, "panels are apart"


def test_lines_without_bounds_have_a_place_too():
    bare = Line("bare", Curve(PLACES, PLACES, PLACES + np.nan, PLACES + np.nan, 9, 9), 0)
    assert list(ink(bare, line("wide", 45.0), log=True)) == ["wide", "bare"]
