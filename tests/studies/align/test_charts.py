"""The charts of an alignment run: what is drawn is what the tables hold, controls beside it."""

import polars as pl
import pytest
from tests.support.charts import dashes, datasets, found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.theme import SCREEN, dash_of, size_of
from chiasm.studies.align.charts.depth import (
    drift_curves,
    norm_curves,
    released_gap,
    score_dots,
    similarity_curves,
    vocabulary_curves,
)
from chiasm.studies.align.charts.panels import distinct_styles
from chiasm.studies.align.charts.tokens import token_map
from chiasm.studies.align.charts.weights import overlap_curves, overlap_matrix
from chiasm.studies.align.charts.words import nearest_words, word_histograms
from chiasm.studies.align.findings import judging_notes

BOUNDS = {"low": None, "high": None, "n": 20}
FLOATS = {"low": pl.Float64, "high": pl.Float64}


def similarity(without: float, layers: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"a": "image", "b": "question", "layer": layer, "tap": "residual", "mode": "avg", "paired": True}
            | {"variant": variant, "mean": 0.1 * layer + (without if variant == "no_outliers" else 0.0)}
            | BOUNDS
            for layer in range(layers)
            for variant in ("raw", "no_outliers")
        ],
        schema_overrides=FLOATS,
    )


def depth(layers: int = 4, **more: object) -> pl.DataFrame:
    """A table of means by state for two spans."""
    return pl.DataFrame(
        [
            {
                "span": span,
                "layer": layer,
                "mean": 0.1 * layer + shift,
                "low": 0.1 * layer,
                "high": 1.0,
                "n": 20,
                **more,
            }
            for span, shift in (("image", 0.0), ("question", 0.3))
            for layer in range(layers)
        ]
    )


def controlled(table: pl.DataFrame, *names: str) -> pl.DataFrame:
    return pl.concat([table.with_columns(control=pl.lit(name)) for name in names])


def overlap(sparsities: tuple[float, ...] = (0.3, 0.5)) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"a": a, "b": "question", "layer": layer, "matrix": matrix, "sparsity": sparsity, "iou": 0.5 + 0.1 * layer}
            | {"null_random": 0.33, "null_magnitude": 0.6, "null_permuted": 0.4, "tokens_a": 90, "tokens_b": 30}
            | {"ceiling": 0.9, "low": 0.45, "high": 0.75, "n": 20}
            for a in ("image", "audio")
            for layer in range(2)
            for matrix in ("q", "k")
            for sparsity in sparsities
        ]
    )


@pytest.mark.parametrize(("without", "panels"), [(0.0, 1), (0.1, 2)])
def test_a_panel_that_repeats_the_first_is_left_out(without: float, panels: int):
    assert rows(similarity_curves(similarity(without), None, SCREEN))["panel"].n_unique() == panels


@pytest.mark.parametrize("size", [SCREEN, size_of("3.3in")])
def test_lines_are_the_values_of_the_table_and_controls_have_their_dash(size):
    table, beside = depth(gap=1), controlled(depth(gap=1), "noise", "twin", "apart")
    chart = drift_curves(table, beside, size)
    drawn = rows(chart)
    own = drawn.filter(role="measured", label="question").sort("x")
    assert own["y"].to_list() == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert own["high"].to_list() == [1.0] * 4
    assert dashes(chart) == {
        "measured": [1, 0],
        **{
            name: dash_of(name)
            for name in ("random perceptual tokens", "random-weights baseline", "modality isolation")
        },
    }
    assert "n = 20" in " ".join(specification(chart)["title"]["subtitle"])


def test_without_controls_nothing_is_dashed():
    drawn = rows(drift_curves(depth(gap=1), None, SCREEN))
    assert set(drawn["role"]) == {"measured"}


def test_norms_stand_on_a_logarithmic_scale_with_plain_ticks():
    table = depth().with_columns(statistic=pl.lit("median"), std=pl.lit(0.2), mean=10.0 ** pl.col("layer"))
    chart = norm_curves(table, None, SCREEN)
    scales = [one["scale"] for one in found(chart, "y") if "scale" in one]
    assert {one["type"] for one in scales} == {"log"}
    [ticks] = {tuple(one["axis"]["values"]) for one in found(chart, "y") if one.get("axis")}
    assert ticks == (1.0, 10.0, 100.0, 1000.0)
    assert rows(chart)["low"].min() > 0
    assert "± 1 SD from" in titles(chart)


def test_quantities_of_different_units_have_scales_of_their_own():
    entropy = depth(quantity="entropy", against="")
    between = depth(quantity="js", against="question").filter(span="image")
    chart = vocabulary_curves(pl.concat([entropy, between]), None, SCREEN)
    assert specification(chart)["resolve"]["scale"]["y"] == "independent"
    assert set(rows(chart)["panel"]) == {"entropy of a token's words (nat)", "divergence of mean distributions (nat)"}


def test_the_released_mean_over_pairs_is_dashed_beside_the_paired_one():
    table = depth(gap=1).with_columns(paired=pl.col("mean") + 0.05)
    chart = released_gap(table, controlled(table, "twin"), SCREEN)
    drawn = rows(chart).filter(label="image", x=2, panel="model")
    values = dict(drawn.select("role", "y").iter_rows())
    assert values == pytest.approx({"measured": 0.25, "all pairs of examples, as released": 0.2})
    assert "control: random-weights baseline" in set(rows(chart)["panel"])


def score(**more: object) -> pl.DataFrame:
    kind = {"name": "ima_0", "statistic": "mean_token", "a": "image", "b": "question"}
    return pl.DataFrame([{**kind, "value": 0.1, "low": 0.05, "high": 0.2, "n": 20, **more}], schema_overrides=FLOATS)


def test_scores_stand_beside_those_of_the_controls():
    beside = controlled(score(value=0.4), "noise", "twin")
    dots = rows(score_dots(score(), beside, size_of("3.3in")), "row", "mark", "value")
    values = dict(dots.select("mark", "value").iter_rows())
    assert values == {"model": 0.1, "random perceptual tokens": 0.4, "random-weights baseline": 0.4}
    assert dots.filter(mark="model").select("low", "high", "n").row(0) == (0.05, 0.2, 20)
    alone = score_dots(score(low=None, high=None), None, SCREEN)
    assert "no interval: too few inputs" in " ".join(specification(alone)["title"]["subtitle"])


def test_overlaps_stand_beside_nulls_ceiling_and_controls():
    table = overlap().filter(a="image")
    drawn = rows(overlap_curves(table, None, controlled(table, "twin"), SCREEN)).filter(panel="50 % left out", x=1)
    values = {(label, role): y for label, role, y in drawn.select("label", "role", "y").iter_rows()}
    masks = "masks of the two spans"
    assert values == pytest.approx(
        {
            (masks, "measured"): 0.6,
            (masks, "shuffled norms"): 0.4,
            (masks, "magnitude alone"): 0.6,
            (masks, "random masks"): 0.33,
            (masks, "random-weights baseline"): 0.6,
            ("ceiling: halves of one span", "measured"): 0.9,
        }
    )


def test_a_matrix_of_overlaps_has_both_sides_and_the_baseline_as_its_last_panel():
    table = overlap()
    [cells] = datasets(overlap_matrix(table, controlled(table, "twin"), SCREEN))
    assert cells["panel"].unique(maintain_order=True).to_list()[-1] == "control: random-weights baseline"
    own = cells.filter(panel="masks of either")
    one, other = (
        own.filter(row=a, column=b)["value"].item() for a, b in (("image", "question"), ("question", "image"))
    )
    assert one == other == pytest.approx(0.55)
    assert own.filter(row="image", column="audio")["value"].item() is None


def test_a_part_of_a_character_has_a_placeholder_and_words_show_their_spaces():
    table = pl.DataFrame(
        [
            {"span": "image", "layer": 0, "k": 1, "token_id": k, "word": word, "share": 0.5, "n": 20}
            for k, word in enumerate(("\ufffd", " a", "$", "<b>"))
        ]
    )
    drawn = rows(nearest_words(table, None, SCREEN), "word", "place")
    assert drawn["word"].to_list() == ["(part of a character)", "\u2423a", "$", "<b>"]
    assert drawn["share"].to_list() == [50.0] * 4


def test_words_of_controls_are_shares_of_the_same_words():
    table = pl.DataFrame(
        [
            {"span": "image", "layer": layer, "k": 1, "token_id": k, "word": f"w{k}", "share": 0.5 - 0.1 * k, "n": 20}
            for layer in range(3)
            for k in range(2)
        ]
    )
    beside = controlled(table.filter(token_id=1), "twin")
    drawn = rows(nearest_words(table, beside, SCREEN), "word", "place").filter(panel="image, state 1")
    assert dict(drawn.filter(of="random-weights baseline").select("word", "share").iter_rows()) == {"w0": 0, "w1": 40}


def test_histograms_say_where_in_the_vocabulary_words_lie():
    table = pl.DataFrame(
        [
            {"span": span, "layer": layer, "k": k, "start": 4, "stop": 8, "share": 0.25, "n": 20}
            for span in ("image", "question")
            for layer in range(3)
            for k in (1, 5)
        ]
    )
    chart = word_histograms(table, controlled(table, "twin"), size_of("3.3in"))
    drawn = rows(chart, "middle", "share")
    assert set(drawn["middle"]) == {6.0}
    assert set(drawn["share"]) == {25.0}
    assert set(drawn["of"]) == {"the model", "random-weights baseline"}
    assert drawn["panel"].n_unique() == 4
    assert "Index of the word in the vocabulary" in titles(chart)


def test_maps_of_tokens_say_whose_they_are():
    table = pl.DataFrame(
        [
            {"example_id": str(k), "span": "image", "layer": 0, "method": "tsne", "x": float(k), "y": 0.0}
            for k in range(3)
        ]
    )
    chart = token_map(table, controlled(table, "twin"), SCREEN)
    drawn = rows(chart, "x", "y", "example_id")
    assert drawn["panel"].unique(maintain_order=True).to_list() == ["state 0", "random-weights baseline, state 0"]
    assert "mean nothing" in " ".join(specification(chart)["title"]["subtitle"])


def test_notes_say_what_p_and_practically_nothing_mean():
    least, p = judging_notes(0.02)
    assert "0.02 in cosines" in least
    assert "0.095" in least
    assert "is an effect that a control shows as well" in p


def test_one_input_is_said_to_have_no_interval():
    said = " ".join(specification(similarity_curves(similarity(0.0), None, SCREEN))["title"]["subtitle"])
    assert "no interval: too few inputs; n = 20" in said


def test_one_state_can_be_drawn():
    for size in (SCREEN, size_of("3.3in")):
        assert svg(specification(similarity_curves(similarity(0.1, layers=1), None, size))).startswith("<svg")
        assert svg(specification(drift_curves(depth(layers=1, gap=1), None, size))).startswith("<svg")


def test_no_two_lines_share_a_colour_while_there_are_others():
    assert distinct_styles({"a": 1, "b": 1, "c": 0}) == {"a": 1, "b": 0, "c": 2}
    assert distinct_styles({str(k): 0 for k in range(8)})["7"] == 0
