"""Where a cut does most: found where it was planted, as unsure as resamples are, and one layer of many like it."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.core.claims import of_kind
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.tables import SIZE_MATCHED

CUTS = ("image->question", "question->last")


def _still(effects):
    still = made.effects(8, tuple(effects["cut"].unique(maintain_order=True)), strength=0, seed=11)
    return still.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))


def _as_control(rows):
    return rows.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))


def _same_windows(effects, first, last):
    """The windows around layers `first` to `last` made one, as clipping does, with what the strongest changes."""
    columns, inside = effects.columns, pl.col("layer").is_between(first, last)
    mean = pl.col("logprob_cut").mean().over("cut", "layer")
    effects = effects.with_columns(mean=mean)
    strongest = pl.col("mean") == pl.col("mean").min().over("cut")
    own = effects.filter(strongest).select("example_id", "cut", middle="logprob_cut")
    joined = effects.join(own, on=["example_id", "cut"], how="left", maintain_order="left")
    changed = {
        "start": pl.when(inside).then(0).otherwise(pl.col("start")),
        "stop": pl.when(inside).then(8).otherwise(pl.col("stop")),
        "logprob_cut": pl.when(inside).then("middle").otherwise(pl.col("logprob_cut")),
    }
    return joined.with_columns(**changed).select(columns)


@pytest.mark.parametrize("cut", CUTS)
def test_a_planted_peak_is_found_and_alone_where_nothing_is_near(cut):
    effects = made.effects(8, (cut,), window=1)
    found = claims({"effects": effects, "controls": _still(effects)})
    (one,) = of_kind(found, "peak")
    assert one.where == peak(of_kind(found, "effect")).where
    assert one.low <= one.effect <= one.high
    assert one.verdict == ("uncontrolled" if one.low == one.high else "not established")


def test_two_layers_alike_leave_open_where_the_peak_is():
    """Both do the same but for noise of the examples: resamples fall on either, and the sentence says so."""
    effects = made.effects(8, CUTS[1:], window=1)
    top = int(peak(of_kind(claims({"effects": effects}), "effect")).where)
    other = (top + 4) % 8
    own = effects.filter(layer=top).sort("example_id")["logprob_cut"]
    noise = pl.Series([0.01 * (-1) ** k for k in range(len(own))])
    rest, beside = effects.filter(pl.col("layer") != other), effects.filter(layer=other).sort("example_id")
    alike = pl.concat([rest, beside.with_columns(logprob_cut=own + noise)])
    found = claims({"effects": alike, "controls": _still(alike)})
    (one,) = of_kind(found, "peak")
    assert {one.low, one.high} == {min(top, other), max(top, other)}
    assert one.verdict == "not established"
    texts = " ".join(finding.text for finding in flow_findings(found, layers=8))
    assert f"(in 95 % of resamples at layers {one.low:.0f}-{one.high:.0f})" in texts


def test_layers_whose_windows_are_the_same_are_named_together():
    effects = _same_windows(made.effects(8, CUTS[1:]), 1, 6)
    effects = effects.with_columns(
        logprob_cut=pl.when(pl.col("layer").is_in([0, 7])).then("logprob_clean").otherwise("logprob_cut")
    )
    found = claims({"effects": effects, "controls": _still(effects)})
    (one,) = of_kind(found, "peak")
    assert (one.where, one.effect, one.low, one.high, one.verdict) == ("1-6", 3.5, 1, 6, "uncontrolled")
    (text,) = [one.text for one in flow_findings(found, layers=8, different=3) if "most at" in one.text]
    assert "most at layers 1-6, whose windows are the same: " in text
    texts = " ".join(one.text for one in flow_findings(found, layers=8, different=3))
    assert "1 cut x 8 windows of layers (3 different) at once" in texts


def test_cuts_that_peak_in_one_window_have_no_order():
    apart = made.effects(8, CUTS)
    assert of_kind(claims({"effects": apart, "controls": _still(apart)}), "order")
    effects = _same_windows(apart, 0, 7)
    found = claims({"effects": effects, "controls": _still(effects)})
    assert {one.where for one in of_kind(found, "peak")} == {"0-7"}
    assert not of_kind(found, "order")


def test_a_cut_that_peaks_with_the_last_one_leaves_the_order_as_it_is():
    """Of three cuts two peak in one layer: the third is before both all the same."""
    two = made.effects(8, CUTS)
    again = two.filter(pl.col("cut") == CUTS[1]).with_columns(cut=pl.lit("question->suffix"))
    three = pl.concat([two, again])
    orders = [of_kind(claims({"effects": one, "controls": _still(one)}), "order") for one in (two, three)]
    assert [one.verdict for found in orders for one in found] == ["established", "established"]
    assert orders[1][0].p == orders[0][0].p


def test_windows_that_grow_or_are_all_there_keep_their_names():
    every = made.effects(4, CUTS[1:], window=1).filter(pl.col("layer") < 2)
    two = pl.concat([every, every.with_columns(stop=pl.col("stop") + 1)])
    found = claims({"effects": two, "controls": _still(two)})
    assert not of_kind(found, "peak")
    assert not of_kind(found, "order")


def test_a_peak_lies_in_its_interval_where_a_larger_change_is_not_established():
    """At the last layer the control does as much as the cut: the change is largest there, and not established."""
    effects = made.effects(8, CUTS[1:], window=1)
    last = pl.col("layer") == 7
    larger = effects.with_columns(logprob_cut=pl.when(last).then(pl.col("logprob_clean") - 5).otherwise("logprob_cut"))
    controls = pl.concat([_still(larger).filter(~last), larger.filter(last).pipe(_as_control)])
    found = claims({"effects": larger, "controls": controls})
    (one,) = of_kind(found, "peak")
    assert max(of_kind(found, "effect"), key=lambda own: abs(own.effect)).where == "7"
    assert one.where == "7"
    assert one.low <= one.effect <= one.high
    [text] = [
        one.text for one in flow_findings(found, layers=8) if one.text.startswith("Cutting") and "lowers" in one.text
    ]
    assert "of these (the largest mean change is that at layer 7, not established)" in text


def test_a_peak_among_layers_that_differ_in_spread_is_looked_for_among_all_of_them():
    """A small sure effect at layer 0, a large unsure one at layer 5: where the change is largest is not known."""
    missed = 0
    for seed in range(10):
        effects = made.effects(6, CUTS[1:], window=1, seed=seed)
        rng = np.random.default_rng(seed)
        change = np.where(
            effects["layer"] == 0,
            rng.normal(-0.5, 0.3, len(effects)),
            np.where(effects["layer"] == 5, rng.normal(-2, 6, len(effects)), rng.normal(0, 0.02, len(effects))),
        )
        effects = effects.with_columns(logprob_cut=pl.col("logprob_clean") + pl.Series(change))
        found = claims({"effects": effects, "controls": _still(effects)})
        for one in of_kind(found, "peak"):
            missed += not one.low <= 5 <= one.high
    assert missed <= 1
