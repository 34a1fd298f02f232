import pytest

from chiasm.core.errors import ChiasmError
from chiasm.results.charts.page import starter
from chiasm.results.charts.theme import BLACK, PALETTE, SCREEN, cut_style, dash_of, size_of, span_style
from chiasm.studies.flow.spec import PAPER_CUTS


def test_a_cut_has_one_colour_everywhere_and_the_published_ones_differ():
    assert len({cut_style(cut) for cut in PAPER_CUTS}) == len(PAPER_CUTS)
    assert cut_style("video->question") == cut_style("audio->question") == cut_style("image->question")
    assert cut_style("prefix->last") == cut_style("prefix->last") < len(PALETTE)


def test_parts_of_a_sequence_and_controls_look_alike_in_every_chart():
    spans = ("prefix", "image", "between", "question", "suffix", "last")
    assert len({span_style(span) for span in spans}) == len(spans)
    assert span_style("image.object") == span_style("image.object") < len(PALETTE)
    # What stands beside each other in one chart.
    for together in (
        ("random-weights baseline", "random perceptual tokens", "modality isolation"),
        ("as many random keys", "random-weights baseline", "the same cut on a blank image"),
        ("shuffled norms", "magnitude alone", "random masks", "random-weights baseline", "random perceptual tokens"),
    ):
        assert len({tuple(dash_of(name)) for name in together}) == len(together)
    assert dash_of("a control of another package") == dash_of("a control of another package")


def test_black_becomes_the_ink_of_the_page():
    assert f'"{BLACK}": ink' in starter()
    assert BLACK in PALETTE


@pytest.mark.parametrize(("width", "pixels"), [("3.3in", 237.6), ("8.4cm", 238.1), ("84mm", 238.1), ("504 pt", 504)])
def test_widths_on_paper(width, pixels):
    assert size_of(width).width == pytest.approx(pixels, abs=0.1)
    assert 7 <= size_of(width).text <= 8
    assert size_of(None) is SCREEN


@pytest.mark.parametrize("width", ["3.3", "wide", "0.2in", "900cm", "-3in", ""])
def test_what_is_no_width_is_refused_with_an_example(width):
    with pytest.raises(ChiasmError, match=r"Write 3.3in or 17cm"):
        size_of(width)
