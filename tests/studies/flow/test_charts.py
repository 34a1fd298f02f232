"""Figures of a flow run: what is drawn is what is claimed, and possible."""

import polars as pl
from tests.support import flow_tables as made

from chiasm.studies.flow import captions, charts
from chiasm.studies.flow.tables import KEEP_ONE


def _bands(axes):
    return [band.get_paths()[0].vertices for band in axes.collections]


def test_bands_of_shares_stay_between_0_and_100():
    words = made.words(examples=6)
    for figure in (charts.caption_words(words), charts.answer_tracking(made.answers(), made.answers(seed=8))):
        for band in _bands(figure.axes[0]):
            assert band[:, 1].min() >= 0
            assert band[:, 1].max() <= 100
        assert figure.legends[0].get_title().get_text().startswith("mean and 95 % interval")


def test_cuts_that_do_nothing_are_left_out_of_doses_and_named():
    effects, controls = made.effects(), made.controls()
    doses = controls.filter(pl.col("control").str.starts_with("dose-"))
    cut = doses["cut"][0]
    caption = captions.dose(effects, controls, [])
    assert f"change practically nothing: {cut}" in caption
    assert "all shares of a line" in captions.dose(effects, controls, [cut])
    n = doses.filter(pl.col("cut") == cut)["example_id"].n_unique()
    assert f"(n = {n})" in captions.dose(effects, controls, [cut])


def test_captions_of_maps_keep_the_sign():
    rows = made.patches()
    against = rows.with_columns(value=pl.when(pl.col("patch") == 3).then(-8.4).otherwise(0.5))
    assert "keep-one -8.4 nat" in captions.patches(rows, methods={KEEP_ONE: against})
    largest = (rows["logprob_cut"] - rows["logprob_clean"]).min()
    assert f"the largest here is {largest:+.2g} nat" in captions.patches(rows)


def test_the_caption_counts_the_examples_of_every_line():
    answers = made.answers()
    fewer = answers.filter((pl.col("form") == "lower") | (pl.col("example_id") < "q0040"))
    assert "(n = 40 to 48)" in captions.tracking(fewer)
