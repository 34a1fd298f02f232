"""What notebooks show without a network: charts by two MIME types, a run as words, numbers and a drawing."""

import altair as alt
import polars as pl
import pytest

from chiasm.core.claims import Claim
from chiasm.results.notebook import VEGA_LITE, chart_bundle, offer_charts, page_of
from chiasm.results.numbers import NumberTable

CLAIM = Claim(kind="effect", about="a<b", quantity="change", unit="nat", effect=-1.5, n=9, verdict="established")


@pytest.fixture
def renderers():
    before = alt.renderers.active
    yield alt.renderers
    alt.renderers.enable(before)


def chart() -> alt.Chart:
    return alt.Chart(pl.DataFrame({"x": [1, 2], "y": [3, 4]}), title="Two points").mark_point().encode(x="x:Q", y="y:Q")


def test_a_chart_is_a_specification_and_a_drawing(renderers):
    renderers.enable("default")
    offer_charts()
    shown = chart()._repr_mimebundle_()
    assert set(shown) == {VEGA_LITE, "image/svg+xml", "text/plain"}
    assert shown[VEGA_LITE]["config"]["background"] == "white"
    assert shown["image/svg+xml"].startswith("<svg")
    assert "<script" not in shown["image/svg+xml"]


def test_a_renderer_of_the_users_choice_stays(renderers):
    renderers.enable("png")
    offer_charts()
    assert renderers.active == "png"


def test_a_run_is_headline_numbers_and_drawing_all_escaped():
    table = NumberTable("What is <lost>?", (CLAIM,) * 8)
    page = page_of("More & more", ("flow", "complete"), table, chart().to_dict(), {"numbers": "run.claims"})
    assert "More &amp; more" in page
    assert "What is &lt;lost&gt;?" in page
    assert "a&lt;b" in page
    assert page.count("<tr>") == 1 + 6
    assert "and 2 more rows" in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http" not in page
    assert "<img" not in page_of("Nothing", (), None, None, {"numbers": "run.claims"})


def test_the_bundle_keeps_the_charts_own_configuration():
    spec = chart().configure(font="Georgia").to_dict()
    assert chart_bundle(spec)[VEGA_LITE]["config"]["font"] == "Georgia"
    assert "background" not in spec["config"] or spec["config"]["background"] != "white"
