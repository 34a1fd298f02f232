"""A chart is saved as what it can be, and what it cannot be is refused in a sentence."""

import altair as alt
import polars as pl
import pytest
from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.results.charts.saving import KINDS, saveable


def chart():
    points = alt.Chart(pl.DataFrame({"x": [1, 2], "y": [3, 4]})).mark_point().encode(x="x:Q", y="y:Q")
    return points + points.mark_line()


STARTS = {"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG", "json": b"{", "html": b"<!DOCTYPE html>"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written(kind, tmp_path):
    file = tmp_path / f"made.{kind}"
    saveable(chart()).save(file)
    assert file.read_bytes().lstrip().startswith(STARTS[kind])


def test_a_png_is_on_white_with_200_dots_an_inch(tmp_path):
    def saved(made, **more):
        made.save(tmp_path / "made.png", **more)
        with Image.open(tmp_path / "made.png") as image:
            return image.convert("RGBA")

    made = saveable(chart().configure(background="transparent"))
    usual, screen = saved(made), saved(made, ppi=72)
    assert usual.width == pytest.approx(screen.width * 200 / 72, abs=2)
    assert usual.getpixel((0, 0)) == (255, 255, 255, 255)
    assert saved(made.properties(background="#ff0000")).getpixel((0, 0)) == (255, 0, 0, 255)


def test_a_page_asks_for_nothing_from_a_network(tmp_path):
    saveable(chart()).save(tmp_path / "made.html")
    assert 'src="http' not in (tmp_path / "made.html").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.gif", "`gif` is no kind of file for charts; there are svg, pdf, png, json, html"),
        ("x.pgn", "Did you mean png?"),
        ("x", "the kind of file is not given"),
        ("nowhere/x.svg", "Name a file that can be written"),
    ],
)
def test_what_cannot_be_written_is_refused(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = saveable(chart())
    for one in (made, made.properties(title="A copy")):
        with pytest.raises(ChiasmError) as caught:
            one.save(name)
        assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_chart_stays_what_it_was():
    plain = chart()
    before = plain.to_dict()
    made = saveable(plain)
    assert made is plain
    assert saveable(made) is made
    assert made.to_dict() == before
    assert isinstance(made, alt.LayerChart)
