"""Images in charts: what is drawn is what the table holds, in colours that stand for one scale."""

import base64
import json
from io import BytesIO

import numpy as np
import polars as pl
import pytest
import vl_convert
from PIL import Image
from tests.support.charts import found, pictured, shown, titles

from chiasm.core.example import Box
from chiasm.results.charts.files import VERSION, specification, svg
from chiasm.results.charts.page import as_json
from chiasm.results.charts.pictures import Choice, Panel, Row, Shown, Tint, data_url, picture_chart, unseen
from chiasm.results.charts.theme import SCREEN, size_of

PIXELS = np.full((48, 64, 3), 200, np.uint8)
TINT = Tint("adds (nat)", least=0.1, own=True)


def patches(values, **more):
    """Two rows of four patches of 16 pixels."""
    rows = [{"x0": 16.0 * (k % 4), "y0": 16.0 * (k // 4)} for k in range(8)]
    frame = pl.DataFrame(rows).with_columns(x1=pl.col("x0") + 16, y1=pl.col("y0") + 16, shown=pl.Series(values))
    return frame.with_columns(**{name: pl.Series(column) for name, column in more.items()})


def panel(title="method", values=None, boxes=(), **more):
    return Panel(title, PIXELS, boxes, patches(values or [[0.25 * k] for k in range(8)]), **more)


def drawn(rows, size=SCREEN, **more):
    given = {"tint": TINT, **more}
    return picture_chart(rows, size, title="Which patches?", subtitle="n = 1 example: no interval.", **given)


def test_patches_have_the_values_of_the_table_and_rows_what_was_asked():
    chart = drawn([Row([Panel("image", PIXELS), panel()], "What colour is it?", "Label: red.")])
    assert shown(chart) == {"method": [0.25 * k for k in range(8)]}
    assert [title for title, _ in pictured(chart)] == ["image", "method"]
    assert {"What colour is it?", "adds (nat)", "Which patches?"} <= set(titles(chart))
    assert svg(specification(chart)).count("data:image/png;base64") == 2


def domains(chart):
    return [one["scale"]["domain"] for one in found(chart, "color") if "scale" in one]


def test_each_row_has_a_scale_of_its_own_or_all_share_one():
    weak, strong = panel(values=[[0.001]] * 8), panel(values=[[-3.456]] * 8)
    assert domains(drawn([Row([weak]), Row([strong])])) == [[-0.1, 0.1], [-3.46, 3.46]]
    one = Tint("attention (%)", diverging=False)
    assert domains(drawn([Row([weak]), Row([strong])], tint=one)) == [[0, 3.46]] * 2


def test_boxes_say_their_place_and_what_was_cropped_is_covered():
    narrow = patches([[1.0]] * 8).with_columns(pl.col("x0", "x1") * 0.5)
    chart = drawn([Row([Panel("method", PIXELS, [Box("ring", 8, 9, 10, 11)], narrow)])])
    [(_, layers)] = pictured(chart)
    boxes = next(frame for frame in layers if "object" in frame.columns)
    assert boxes.select("object", "at").row(0) == ("ring", "8, 9; 10 x 11 px")
    strips = next(frame for frame in layers if set(frame.columns) == {"x0", "y0", "x1", "y1"})
    assert strips.row(0, named=True) == {"x0": 32, "y0": 0, "x1": 64, "y1": 48}
    assert unseen(narrow, 64, 32) == [(32, 0, 32, 32)]
    assert unseen(patches([[1.0]] * 8), 64, 32) == []


@pytest.mark.parametrize(("layer", "head", "index"), [(0, "mean", 0), (1, "3", 3), (2, "mean", 4)])
def test_a_choice_picks_the_value_of_its_layer_and_head(layer, head, index):
    choices = [Choice("layer", "Layer", [0, 1, 2]), Choice("head", "Head", ["mean", "3"])]
    values = [[float(1 + 10 * k + at) for at in range(6)] for k in range(8)]
    spec = specification(drawn([Row([panel(values=values)])], choices=choices))
    for one in spec["params"]:
        one["value"] = {"layer": layer, "head": head}[one["name"]]
    # What hovering would say of the last patch; marks carry it as their description.
    spec["config"]["aria"] = True
    assert f"value: {71 + index}" in vl_convert.vegalite_to_svg(spec, vl_version=VERSION)


def test_a_drawing_names_what_is_chosen_where_nothing_can_be():
    """On paper and in print there is no slider that says which layer it is."""
    choices = [Choice("layer", "Layer", [0, 1, 2], 1), Choice("head", "Head", ["mean", "3"])]
    values = [[float(at) for at in range(6)]] * 8
    rows = [Row([Panel("image", PIXELS), panel("from last", values=values)])]
    made = svg(specification(drawn(rows, choices=choices)))
    assert ">from last, layer 1, head mean<" in made
    assert ">image<" in made


@pytest.mark.parametrize("tint", [TINT, None])
def test_what_is_computed_when_a_reader_chooses_overwrites_nothing_that_it_is_computed_from(tint):
    values = [["a" if tint is None else 1.0] * 2] * 8
    words = tint is None
    rows = patches(values, **({"strong": [[True, False]] * 8} if words else {"sink": [True] * 8}))
    named = {"strong": "strong"} if words else {"crossed": "sink"}
    chart = drawn([Row([Panel("p", PIXELS, (), rows, **named)])], tint=tint, choices=[Choice("layer", "Layer", [0, 1])])
    made = [one["as"] for part in found(chart, "transform") for one in part if "calculate" in one]
    assert {"chosen", "across", "down"} <= set(made)
    assert not set(made) & set(rows.columns)


@pytest.mark.parametrize(("options", "kind"), [([0, 1, 2], "range"), ([1, 3], "select"), (["mean", "0"], "select")])
def test_options_that_count_up_have_a_slider_and_others_a_list(options, kind):
    [one] = specification(drawn([Row([panel()])], choices=[Choice("layer", "Layer", options)]))["params"]
    assert (one["bind"]["input"], one["bind"]["name"], one["value"]) == (kind, "Layer ", options[0])


def test_words_are_cut_to_their_patches_and_hovering_says_them_whole():
    long = "incomprehensible"
    rows = patches([[long]] * 8, strong=[[k == 0] for k in range(8)])
    chart = drawn([Row([Panel("state 1", PIXELS, (), rows, strong="strong")])], tint=None, wide=True)
    assert shown(chart) == {"state 1": [long] * 8}
    text = svg(specification(chart))
    assert f">{long}<" not in text
    assert "…</text>" in text
    assert "bold" in text


def test_text_that_users_bring_is_shown_as_it_is():
    evil = "</script><b>costs $5\u202e or\x07 &amp;"
    chart = drawn([Row([Panel("image", PIXELS)], evil, evil)])
    assert "</script><b>costs $5 or &amp;" in titles(chart)
    assert "<" not in as_json(specification(chart))


@pytest.mark.parametrize("size", [SCREEN, size_of("3.3in"), size_of("7in")])
def test_panels_fit_the_width(size):
    chart = specification(drawn([Row([panel() for _ in range(5)])], size))
    lines = chart["vconcat"][0]["vconcat"]
    assert sum(len(line["hconcat"]) for line in lines) == 5
    for line in lines:
        assert sum(one["width"] + 10 for one in line["hconcat"]) - 10 <= size.width


def test_an_image_is_small_in_a_page_and_its_pixels_are_kept():
    flat = data_url(PIXELS)
    assert flat.startswith("data:image/png;base64,")
    read = np.asarray(Image.open(BytesIO(base64.b64decode(flat.partition(",")[2]))))
    assert (read == PIXELS).all()
    photo = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    url = data_url(photo)
    assert url.startswith("data:image/jpeg")
    assert Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).size == (320, 240)
    assert url == data_url(photo)


def test_a_picture_stands_once_in_the_data_however_many_panels_show_it():
    chart = drawn([Row([panel(f"method {k}") for k in range(3)])])
    assert json.dumps(specification(chart)).count("data:image/") == 1


def test_no_choice_means_the_first_value():
    assert Shown().index() == "0"
