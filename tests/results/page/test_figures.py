"""Captions: what a chart shows stands below it, how to read it behind that, and nothing is lost."""

import pytest

from chiasm.results.page.figures import shortened

LONG = f"Lines are means over examples{', bands hold for all layers of a line at once' * 5} (n = 59 of 60)."


@pytest.mark.parametrize(
    ("caption", "brief"),
    [
        ("Short. Also short. 3 more.", "Short. Also short."),
        (f"What is left of 1.5 points. {LONG}", "What is left of 1.5 points."),
        ("One sentence (n = 9)", "One sentence (n = 9)"),
        ("", ""),
    ],
)
def test_one_or_two_sentences_stay_in_view(caption, brief):
    first, rest = shortened(caption)
    assert first == brief
    assert f"{first} {rest}".strip() == caption.strip()
