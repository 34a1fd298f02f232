"""Charts of every kind in Chromium: what a click on a name keeps, what brings the others back, and narrow screens."""

from pathlib import Path

import numpy as np
import pytest
from bench.page import CHROMIUM

from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.files import specification
from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import Axes, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.page import as_json, libraries, policy, starter
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import SCREEN
from chiasm.results.series import Curve

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no Chromium at {CHROMIUM}"),
    # Playwright's driver closes its pipe when the process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
NAMES = ("image to question", "question to last", "image to last, which is long enough for a legend")
MARKS = [Mark(name, k, control=k == 2) for k, name in enumerate(NAMES)]
SAID = {"title": "Which is which?", "subtitle": "Lines: means; bands: 95 % intervals; n = 9."}


def curve(level):
    places = np.arange(5.0)
    return Curve(places, level + places, level + places - 1, level + places + 1, 9, 9)


def lines(panels=("",)):
    made = [Line(name, curve(k), k, panel=panel) for panel in panels for k, name in enumerate(NAMES)]
    axes = Axes("Layer", "Value", own_scales=len(panels) > 1)
    return line_chart(made, axes, SCREEN, columns=len(panels), legend="route", **SAID)


def dots():
    scales = [Scale("F1", panel) for panel in ("surfaces", "leaves")]
    made = [Dot(f"row {k}", k, k - 1, k + 1, 9, NAMES[k], scale.panel) for scale in scales for k in range(3)]
    return dots_chart(made, scales, MARKS, SCREEN, rows_title="Setting", **SAID)


def points():
    planes = [Plane(name, Scale("Time"), Scale("Loss")) for name in ("one prompt", "a batch")]
    made = [Point(f"plan {k}", k, k, k - 1, k + 1, k - 1, k + 1, 9, NAMES[k], p.name) for p in planes for k in range(3)]
    return points_chart(made, planes, MARKS, SCREEN, **SAID)


def grid():
    cells = [Cell(f"calibrated on {k}", f"asked about {j}", 10.0 * k + j, n=9) for k in range(6) for j in range(8)]
    return grid_chart(cells, Shades("Right (%)"), Sides("Mask", "Type"), SCREEN, **SAID)


NAMED = {"lines": lines(), "panels": lines(("first", "second")), "dots": dots(), "points": points()}
CHARTS = NAMED | {"grid": grid()}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    scripts = [libraries(), starter()]
    parts = [
        f'<div class="chart scroll" data-chart="spec-{name}" data-label="{name}"></div>'
        f'<script type="application/json" id="spec-{name}">{as_json(specification(chart))}</script>'
        for name, chart in CHARTS.items()
    ]
    made = "".join(f"<script>{script}</script>" for script in scripts)
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy(scripts)}">'
    style = "<style>.scroll{overflow-x:auto}</style>"
    path = tmp_path_factory.mktemp("charts") / "page.html"
    path.write_text(f"<!DOCTYPE html><html>{head}{style}<body>{''.join(parts)}{made}</body></html>", "utf-8")
    return path


@pytest.fixture
def opened(chromium, page):
    troubles, contexts = [], []

    def open_page(width):
        context = chromium.new_context(viewport={"width": width, "height": 3000})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.goto(page.as_uri())
        tab.wait_for_function(f"document.querySelectorAll('.chart.drawn').length === {len(CHARTS)}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


# How faint every mark is.
SEEN = """name => [...document.querySelectorAll(`[data-chart=spec-${name}] [class*=mark-] path`)].map(one =>
  ['opacity', 'fill-opacity', 'stroke-opacity'].map(kind => one.getAttribute(kind)).join()).join(';')"""


@pytest.mark.parametrize("name", NAMED)
def test_a_click_keeps_a_name_and_another_brings_all_back(opened, name):
    tab = opened(1000)
    entry = tab.locator(f"[data-chart=spec-{name}] text", has_text=NAMES[0]).last
    all_of_them = tab.evaluate(SEEN, name)

    def until(same):
        tab.wait_for_function(
            f"([name, all]) => (({SEEN})(name) === all) === {str(same).lower()}", arg=[name, all_of_them]
        )

    entry.click(force=True)
    until(same=False)
    entry.click(force=True)
    until(same=True)
    entry.click(force=True)
    until(same=False)
    # Not one of the two clicks that it begins with.
    tab.wait_for_timeout(600)
    entry.dblclick(force=True)
    until(same=True)


@pytest.mark.parametrize("name", NAMED)
def test_a_narrow_screen_has_all_of_a_chart(opened, name):
    tab = opened(380)
    chart = tab.locator(f"[data-chart=spec-{name}]")
    assert chart.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    drawn = chart.inner_text()
    assert all(panel in drawn for panel in {"dots": ("surfaces", "leaves"), "points": ("a batch",)}.get(name, ()))
    if name == "dots":
        assert drawn.count("row 2") == 2, "a panel that stands below another names its rows itself"


def test_a_heat_map_keeps_its_width_and_scrolls_in_its_own_box(opened):
    wide, narrow = (
        tab.locator("[data-chart=spec-grid] svg").evaluate(
            "one => one.querySelector('[class*=mark-rect] path').getBBox().width"
        )
        for tab in map(opened, (1000, 380))
    )
    assert narrow == wide, "there is a number in every cell"
    assert opened(380).evaluate("document.documentElement.scrollWidth") <= 380
