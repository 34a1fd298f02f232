"""Examples as data: nothing in it can run, it stays small, and pictures stand in it once."""

import base64
import json

import pytest

from chiasm.core.example import Box
from chiasm.results.examples import Answered, Browsed, PatchMap, Series, ShownExample
from chiasm.results.images import Thumbnail
from chiasm.results.page import example_data
from chiasm.results.page.example_data import as_data

EVIL = "</script><script>alert(1)</script> \"quoted\" & 'so' \u2028"


def made(**given):
    return ShownExample("a", "query", EVIL, "red", (Answered("the model", "Red", True),), **given)


def test_a_question_cannot_end_the_element_and_comes_back_as_it_was():
    text = as_data(Browsed([made()]), {})
    assert "<" not in text
    [row] = json.loads(text)["rows"]
    assert row["q"] == EVIL
    assert row["a"] == [["the model", "Red", 1]]


def test_curves_are_whole_hundredths_in_the_order_of_their_series():
    one = made(curves={"b": [-0.123, None], "a": [1.0, 0.004]})
    series = (Series("a", "A", "#000000"), Series("b", "B", "#0072B2"), Series("c", "C", "#0072B2"))
    data = json.loads(as_data(Browsed([one], "change", "nat", [0, 1], ("Layer", "Change"), series), {}))
    assert data["rows"][0]["c"] == [[100, 0], [-12, None], []]
    assert data["step"] == 0.01
    assert data["series"] == [["A", "#000000"], ["B", "#0072B2"], ["C", "#0072B2"]]


@pytest.fixture
def pictures(tmp_path):
    for name in "xy":
        (tmp_path / name).write_bytes(name.encode() * 30)
    box = (Box("ring", 0.1, 0.2, 0.30004, 0.4),)
    return {
        "a": Thumbnail(tmp_path / "x", box, (100, 50)),
        "b": Thumbnail(tmp_path / "x", (), (100, 50)),
        "c": Thumbnail(tmp_path / "y", (), (100, 50)),
    }


def browsed(*names):
    return Browsed([ShownExample(name, "query", "?", "red") for name in names])


def test_a_picture_that_two_ask_about_stands_once(pictures):
    data = json.loads(as_data(browsed("a", "b", "c", "without"), pictures))
    assert [row.get("p") for row in data["rows"]] == [0, 0, 1, None]
    assert [base64.b64decode(one) for one in data["pictures"]] == [b"x" * 30, b"y" * 30]
    assert data["rows"][0]["b"] == [["ring", 0.1, 0.2, 0.3, 0.4]]


def test_pictures_beyond_the_room_are_left_out(pictures, monkeypatch):
    monkeypatch.setattr(example_data, "_PICTURE_BYTES", 40)
    data = json.loads(as_data(browsed("a", "c"), pictures))
    assert len(data["pictures"]) == 1
    assert "p" not in data["rows"][1]


def mapped(name, *values):
    corners = [(0.0, 0.0, 50.0, 50.0), (50.0, 0.0, 100.0, 50.0)]
    return ShownExample(name, "query", "?", "red", maps=(PatchMap(("alone",), corners, values),))


def test_maps_are_shares_of_the_picture_on_one_scale_for_all(pictures):
    data = json.loads(as_data(Browsed([mapped("a", 1.0, -2.0), mapped("b", 4.0, 0.0)]), pictures))
    first, second = data["rows"]
    assert first["k"] == [[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]]
    assert first["m"] == [[["alone"], 0, 4.0, [25, -50]]]
    assert second["m"] == [[["alone"], 0, 4.0, [100, 0]]]


def test_maps_of_zeros_and_beyond_the_room_do_no_harm(monkeypatch):
    monkeypatch.setattr(example_data, "_MAP_VALUES", 3)
    data = json.loads(as_data(Browsed([mapped("a", 0.0, 0.0), mapped("b", 0.0, 0.0)]), {}))
    assert data["rows"][0]["m"][0][2:] == [0.0, [0, 0]]
    assert "m" not in data["rows"][1]


def test_why_there_is_no_picture_is_said():
    none = json.loads(as_data(Browsed([made()]), {}))
    assert none["lacking"] == "No pictures: this run keeps none of its examples."
