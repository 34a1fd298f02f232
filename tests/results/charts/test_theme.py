import pytest

from chiasm.core.errors import ChiasmError
from chiasm.results.charts.theme import PALETTE, SCREEN, cut_style, size_of
from chiasm.studies.flow.spec import PAPER_CUTS


def test_a_cut_has_one_colour_everywhere_and_the_published_ones_differ():
    assert len({cut_style(cut) for cut in PAPER_CUTS}) == len(PAPER_CUTS)
    assert cut_style("video->question") == cut_style("audio->question") == cut_style("image->question")
    assert cut_style("prefix->last") == cut_style("prefix->last") < len(PALETTE)


@pytest.mark.parametrize(("width", "pixels"), [("3.3in", 237.6), ("8.4cm", 238.1), ("84mm", 238.1), ("504 pt", 504)])
def test_widths_on_paper(width, pixels):
    assert size_of(width).width == pytest.approx(pixels, abs=0.1)
    assert 7 <= size_of(width).text <= 8
    assert size_of(None) is SCREEN


@pytest.mark.parametrize("width", ["3.3", "wide", "0.2in", "900cm", "-3in", ""])
def test_what_is_no_width_is_refused_with_an_example(width):
    with pytest.raises(ChiasmError, match=r"Write 3.3in or 17cm"):
        size_of(width)
