"""The figures of an alignment run say what they draw."""

import polars as pl
import pytest
from matplotlib.figure import Figure

from chiasm.studies.align.charts.depth import score_bars, similarity_curves
from chiasm.studies.align.charts.words import nearest_words, token_map, word_histograms
from chiasm.studies.align.findings import judging_notes

BOUNDS = {"low": None, "high": None, "n": 20}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]


def similarity(without: float) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"a": "image", "b": "question", "layer": layer, "tap": "residual", "mode": "avg", "paired": True}
            | {"variant": variant, "mean": 0.1 * layer + (without if variant == "no_outliers" else 0.0)}
            | BOUNDS
            for layer in range(3)
            for variant in ("raw", "no_outliers")
        ],
        schema_overrides={"low": pl.Float64, "high": pl.Float64},
    )


@pytest.mark.parametrize(("without", "panels"), [(0.0, 1), (0.1, 2)])
def test_a_panel_that_repeats_the_first_is_left_out(without: float, panels: int):
    assert len(similarity_curves(similarity(without)).axes) == panels


def test_a_part_of_a_character_has_a_placeholder():
    rows = pl.DataFrame(
        [
            {"span": "image", "layer": 0, "k": 1, "token_id": k, "word": word, "share": 0.5, "n": 20}
            for k, word in enumerate(("\ufffd", "a b", "$"))
        ]
    )
    [labels] = [[one.get_text() for one in axes.get_yticklabels()] for axes in nearest_words(rows).axes[:1]]
    assert labels == ["(part of a character)", "a b", r"\$"]


def test_titles_of_maps_of_a_control_take_two_lines():
    rows = pl.DataFrame(
        [
            {"example_id": str(k), "span": "image", "layer": 0, "method": "tsne", "x": float(k), "y": 0.0}
            for k in range(3)
        ]
    )
    drawn = titles(token_map(rows, rows.with_columns(control=pl.lit("twin"))))
    assert drawn == ["state 0", "control: random-weights baseline,\nstate 0"]


def test_the_label_of_the_scores_fits_a_column():
    rows = pl.DataFrame(
        [
            {
                "name": "ima_0",
                "statistic": "mean_token",
                "value": 0.1,
                "low": 0.0,
                "high": 0.2,
                "n": 20,
                "a": "a",
                "b": "b",
            }
        ]
    )
    figure = score_bars(rows)
    figure.canvas.draw()
    [axes] = figure.axes
    box, whole = axes.xaxis.label.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0
    assert box.x1 <= whole.x1


def test_notes_say_what_p_and_practically_nothing_mean():
    least, p = judging_notes(0.02)
    assert "0.02 in cosines" in least
    assert "0.095" in least
    assert "is an effect that a control shows as well" in p


def test_axes_of_words_say_what_they_count():
    rows = pl.DataFrame(
        [
            {"span": span, "layer": layer, "k": k, "token_id": 1, "word": "a", "share": 0.5, "n": 20}
            | {"start": 0, "stop": 2}
            for span in ("image", "question")
            for layer in range(3)
            for k in (1, 5)
        ]
    )
    labels = [axes.get_xlabel() for axes in nearest_words(rows).axes]
    assert labels == [""] * 3 + ["Tokens (%)"] * 3
    labels = [axes.get_xlabel() for axes in word_histograms(rows).axes]
    assert labels == [""] * 2 + ["Index of the word in the vocabulary"] * 2


def test_one_input_is_said_to_have_no_interval():
    title = similarity_curves(similarity(0.0)).legends[0].get_title().get_text()
    assert title == "no interval: too few inputs, n = 20"
