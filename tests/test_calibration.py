"""Sentences keep their promise on data whose truth is known: small versions of `bench/calibration.py`.

Limits are those of the promise and three standard errors of so few runs; what was there before exceeds them.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bench.calibration import RESULTS_LINE, claimed, claimed_of_kinds
from bench.coverage import cases, coverage
from bench.measure import RESULTS
from bench.null_data import DRAWS, SAMPLE, centred, flow_run, load_sample, made, resampled, shifted

import chiasm
from bench import no_effect, no_effect_causal
from chiasm.core.statistics.bands import ALPHA, mean_bands
from chiasm.studies.flow.sweep import sweep


def most(runs, share=0.05):
    """As many of `runs` as may happen at `share`, and three standard deviations more."""
    return runs * share + 3 * np.sqrt(runs * share * (1 - share))


def least(runs, share=0.93):
    return runs * share - 3 * np.sqrt(runs * share * (1 - share))


@pytest.fixture(scope="module")
def real():
    """Differences of a run of `tiny`, each cut and control centred at each layer."""
    return load_sample(SAMPLE)


def test_the_real_differences_have_no_effect_and_are_skewed(real):
    data = sweep(real["effects"])
    values = np.ma.masked_array(data.values, ~data.present)
    assert np.abs(values.mean(axis=0)).max() < 1e-9
    skew = (values**3).mean(axis=0) / values.std(axis=0) ** 3
    assert np.abs(skew).max() > 5


@pytest.mark.parametrize("controls", [True, False])
def test_few_runs_claim_an_effect_where_every_mean_difference_is_zero(real, controls):
    """It was 66 % of runs at n = 48 when signs were flipped."""
    tables, runs = (real if controls else {"effects": real["effects"]}), 30
    found = claimed("real", "48", "flow", lambda rng: resampled(tables, 48, rng), runs)
    assert found.found <= most(runs)
    assert found.established <= most(runs)


def test_a_planted_effect_is_found_in_the_same_data(real):
    rng, runs = np.random.default_rng(0), 10
    tables = shifted({"effects": real["effects"]}, -3.0)
    assert all(
        set(chiasm.claims("flow", resampled(tables, 48, rng))["verdict"]) & {"uncontrolled"} for _ in range(runs)
    )


def test_skewed_differences_of_one_cut_are_seldom_taken_for_an_effect(real):
    """Any layer of a cut at p <= 0.05, of examples whose mean difference is 0: flipped signs did so in 5 to 40 %."""
    rng, runs = np.random.default_rng(1), 50
    data = sweep(real["effects"])
    for cut in dict.fromkeys(column[0] for column in data.columns):
        chosen = data.of_cut(cut)
        rows = np.flatnonzero(data.present[:, chosen].all(axis=1))
        named = 0
        for seed in range(runs):
            drawn = data.values[rng.choice(rows, 48)][:, chosen]
            bands = mean_bands(drawn, smallest_error=0.01, resamples=399, seed=seed)
            named += bool(((bands.p <= ALPHA) & (np.abs(bands.mean) >= 0.05)).any())
        assert named <= most(runs, 0.07), cut


@pytest.mark.parametrize("name", ["exponential", "bimodal, 1 in 3 apart"])
@pytest.mark.parametrize("nested", [True, False])
def test_few_runs_claim_an_effect_on_skewed_and_clustered_data(name, nested):
    runs = 40
    found = claimed(
        name,
        "10 x 5",
        "flow",
        lambda rng: made(DRAWS[name], rng, images=10, per_image=5, nested=nested, layers=4, control=False),
        runs,
    )
    assert found.found <= most(runs)


def _name(case):
    return " ".join(case[:3])


_QUICK = {
    ("mean", "normal", "12"),
    ("mean", "exponential", "24"),
    ("mean", "exponential", "10 x 5"),
    ("mean of a stream", "normal", "24"),
    ("mean by groups (jackknife)", "normal", "24"),
    ("share (Wilson)", "80% right", "10 x 5"),
    ("paired shares (Tango)", "80 % and 70 % right", "20 x 3"),
    ("ratio of sums (perplexity)", "gamma-distributed losses of 1 to 7 tokens", "24"),
    ("macro-F1", "4 classes, 3 seeds", "50"),
    ("peak of 12 layers, picked on the data", "exponential", "24"),
    ("24 columns, all at once", "normal", "24"),
    ("contrast of two types", "one type per image", "20 x 3"),
}


@pytest.mark.parametrize("case", [case for case in cases({}) if case[:3] in _QUICK], ids=_name)
def test_intervals_hold_as_often_as_they_say(case):
    runs = 100
    found = coverage(case, runs, seed=1)
    assert found.without == 0
    assert found.share * runs >= least(runs)


def test_single_intervals_of_twelve_layers_do_not_hold_at_the_peak():
    """What the simultaneous interval is for: picked on the data, a peak's own interval misses too often."""
    rng, runs, inside = np.random.default_rng(3), 100, 0
    for seed in range(runs):
        bands = mean_bands(rng.normal(size=(24, 12)), simultaneous=False, resamples=199, seed=seed)
        at = int(np.argmin(bands.mean))
        inside += bands.low[at] <= 0 <= bands.high[at]
    assert inside < least(runs)


def test_the_results_are_kept_in_the_docs_and_within_their_targets():
    body = json.loads((RESULTS / "calibration.json").read_text())
    page = (Path(__file__).parents[1] / "docs" / "calibration.md").read_text()
    assert page.partition(RESULTS_LINE)[2].strip() == (RESULTS / "calibration.md").read_text().strip()
    for row in body["real"]:
        assert row["found"] / row["runs"] <= 0.07, row
    assert sum(row["found"] for row in body["random"]) <= 1


@pytest.mark.heavy
@pytest.mark.parametrize("n", [24, 48, 100])
def test_few_runs_claim_an_effect_on_a_fresh_population(n, tmp_path_factory):
    tables, _ = centred(flow_run(tmp_path_factory.getbasetemp() / "calibration", 400))
    found = claimed("fresh", str(n), "flow", lambda rng: resampled(tables, n, rng), 200)
    assert found.found <= most(200)


@pytest.mark.heavy
@pytest.mark.parametrize("case", [case for case in cases({}) if case.target], ids=_name)
def test_every_interval_holds_as_often_as_it_says(case):
    runs = 400
    found = coverage(case, runs, seed=2)
    assert found.share * (runs - found.without) >= least(runs - found.without, case.target[0])


@pytest.mark.heavy
@pytest.mark.parametrize("row", list(no_effect.studies()), ids=lambda row: f"{row[0]} {row[1]}")
def test_other_studies_seldom_claim_what_is_not_there(row):
    data, size, family, draw = row
    kind = pl.col("claim").str.replace(r"-\d+$", "") == family.kind
    found = claimed(data, size, family.study, draw, 150, kind & family.chosen)
    assert found.found <= most(150)


def _asked(asked, n, runs):
    """In how many of `runs` draws of `n` examples each kind of claim that is asked for says anything, by kind."""
    kinds = {kind: (pl.col("claim").str.replace(r"-\d+$", "") == kind) & part for kind, part in asked.kinds.items()}
    return claimed_of_kinds(kinds, str(n), asked.study, lambda rng: asked.draw(n, rng), runs)


@pytest.mark.parametrize("asked", list(no_effect_causal.made_up()), ids=lambda one: f"{one.study} {one.data}")
def test_causal_methods_seldom_claim_what_is_not_there(asked):
    runs = 20
    for row in _asked(asked, 24, runs):
        assert row.found <= most(runs), row


@pytest.mark.heavy
@pytest.mark.parametrize("n", [24, 48, 100])
@pytest.mark.parametrize("asked", list(no_effect_causal.made_up()), ids=lambda one: f"{one.study} {one.data}")
def test_causal_methods_claim_in_few_runs_what_is_not_there(asked, n):
    for row in _asked(asked, n, 150):
        assert row.found <= most(150), row


def test_planted_heads_shares_and_routes_are_found_in_the_same_tables():
    rng = np.random.default_rng(5)
    heads = no_effect_causal.made_heads(DRAWS["heavy-tailed, t with 3 degrees"], 48, rng)
    one = (pl.col("head") == 2) & (pl.col("layer") == 3)
    heads["heads"] = heads["heads"].with_columns(logprob_cut=pl.col("logprob_cut") - 4.0 * one.cast(pl.Float64))
    found = chiasm.claims("flow", heads).filter(verdict="established")
    both = {f"{cut}, head 2" for cut in ("image->last@heads=all", "zero:heads@last")}
    for kind in ("head", "head-held-out"):
        own = found.filter(pl.col("claim").str.replace(r"-\d+$", "") == kind)
        assert set(own["about"]) == both, kind
        assert set(own["where"]) == {"3"}
    shares = no_effect_causal.made_patches(DRAWS["normal"], 48, rng)
    there = (pl.col("span") == "image") & (pl.col("layer") == 1)
    shares["effects"] = shares["effects"].with_columns(recovery=pl.col("recovery") + there.cast(pl.Float64))
    found = chiasm.claims("patch", shares).filter(pl.col("claim").str.starts_with("recovery-"), verdict="established")
    assert set(found.select("about", "where").rows()) == {("image, denoise", "1"), ("image, noise", "1")}
