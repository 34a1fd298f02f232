import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from chiasm.results.charts.files import save, specification, svg
from chiasm.results.charts.lines import MEASURED, Axes, Line, line_chart, rows_of
from chiasm.results.charts.page import as_json, libraries, policy
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.results.series import Curve


def lines(count=2, layers=6, panel=""):
    places = np.arange(layers)
    made = []
    for k in range(count):
        mean = 100 - 10 * k - places
        made.append(Line(f"cut {k}", Curve(places, mean, mean - 5, mean + 5, 40), k, panel=panel))
        beside = Curve(places, 0 * mean + 100, mean + np.nan, mean + np.nan, 40)
        made.append(Line(f"cut {k}", beside, k, "random weights", panel))
    return made


def chart(size=SCREEN, made=None, **more):
    axes = Axes("Layer", "Left (%)", reference=100.0, floor=(99.0, 101.0), limits=(0.0, 110.0))
    return line_chart(made or lines(), axes, size, title="Where?", subtitle="Lines: means; n = 40.", **more)


def test_rows_hold_every_number_and_no_bound_where_there_is_none():
    rows = rows_of(lines())
    assert rows.height == 24
    own = rows.filter(label="cut 1", role=MEASURED)
    assert own["y"].to_list() == [90 - k for k in range(6)]
    assert own["low"].to_list() == [85 - k for k in range(6)]
    assert rows.filter(role="random weights")["low"].null_count() == 12


def test_files_are_whole_hold_text_and_embed_their_fonts(tmp_path):
    paths = save(chart(size_of("3.3in")), tmp_path, "flow")
    assert [path.name for path in paths] == ["flow.svg", "flow.pdf", "flow.png", "flow.vl.json"]
    svg = paths[0].read_text(encoding="utf-8")
    root = ET.fromstring(svg)
    assert float(root.get("width")) == pytest.approx(237.6, abs=15)
    for word in ("Where?", "cut 0", "cut 1", "random weights", "Layer", "Left (%)"):
        assert f">{word}<" in svg
    pdf = paths[1].read_bytes()
    assert b"/FontFile2" in pdf
    assert json.loads(paths[3].read_text())["$schema"].startswith("https://vega.github.io/schema/vega-lite")
    before = [path.stat().st_mtime_ns for path in paths]
    save(chart(size_of("3.3in")), tmp_path, "flow")
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_the_same_tables_give_the_same_specification_and_the_same_drawing():
    assert specification(chart()) == specification(chart())
    first = svg(specification(chart()))
    assert "clip0" in first
    assert svg(specification(chart())) == first


def test_panels_share_one_scale_and_one_legend():
    made = [line for name in ("a", "b", "c", "d") for line in lines(panel=name)]
    spec = specification(chart(made=made, columns=3))
    assert spec["columns"] == 3
    assert spec["facet"]["sort"] == ["a", "b", "c", "d"]
    assert spec["spec"]["width"] * 3 < SCREEN.width


def test_hovering_says_the_numbers_and_a_legend_entry_can_be_kept():
    spec = specification(chart(size_of("3.3in")))
    named = {one["name"]: one for one in spec["params"]}
    assert set(named) == {"kept"}
    assert named["kept"]["bind"] == "legend"
    tips = [tip["title"] for layer in spec["layer"] for tip in layer["encoding"].get("tooltip", [])]
    assert {"Layer", "Left", "95 % from", "to", "n"} <= set(tips)


def test_nothing_in_a_chart_can_end_its_element_or_run():
    made = [Line("</script><script>alert(1)</script>", one.curve, one.style) for one in lines(1)[:1]]
    text = as_json(specification(chart(made=made)))
    assert "<" not in text
    assert json.loads(text)["title"]["text"] == ["Where?"]
    allowed = policy([libraries()]).partition("script-src")[2].partition(";")[0]
    assert allowed.startswith(" 'sha256-")
    assert "unsafe" not in allowed
    assert "</script" not in libraries()


def test_drawing_takes_no_torch():
    code = (
        "import sys, chiasm.results.charts.files, chiasm.results.charts.page;"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
