"""Figures of a flow run: what is drawn is what is claimed, and possible."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.core.claims import of_kind
from chiasm.studies.flow import captions, charts
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.tables import KEEP_ONE


def _bands(axes):
    return [band.get_paths()[0].vertices for band in axes.collections]


@pytest.mark.parametrize("draw", [charts.flow_curves, charts.flow_controls])
def test_bands_of_cuts_are_the_intervals_of_the_claims(draw):
    effects, controls = made.effects(), made.controls()
    found = of_kind(claims({"effects": effects, "controls": controls}), "effect")
    figure = draw(effects, controls, claims=found)
    first = [one for one in found if one.about == "question->last"]
    band = _bands(figure.axes[0])[0]
    for one in first:
        at = np.sort(band[band[:, 0] == int(one.where), 1])
        assert at[0] == pytest.approx(100 * np.exp(one.low))
        assert at[-1] == pytest.approx(100 * np.exp(one.high))
    title = " ".join(figure.legends[0].get_title().get_text().split())
    assert title.startswith("geometric mean and 95 % interval over all cuts and layers at once")
    assert "intervals of the findings" in captions.flow(effects, controls, claimed=True)


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
