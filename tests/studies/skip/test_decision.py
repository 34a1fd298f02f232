"""Which plan is recommended: a choice is made by bounds, for all plans at once."""

import numpy as np
import polars as pl
import pytest
from tests.studies.skip.skip_claims import FAST, SHARES, decided, one_of, texts
from tests.support import skip_tables as made

from chiasm.core.claims import of_kind
from chiasm.core.statistics.intervals import share_difference
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.decision import ONE_PROMPT, decide, saves_time, time_shares
from chiasm.studies.skip.findings import lost
from chiasm.studies.skip.tables import NONE


def test_only_what_keeps_the_loss_by_its_bound_is_recommended():
    losses = {"safe": 0.0, "cheap": 0.0, "lossy": 0.1}
    found = decided(losses)
    assert found.recommended == "cheap"
    assert found.bounds["cheap"] <= 0.02 < found.bounds["lossy"]
    # On few inputs nothing is known to keep it, though nothing was lost.
    few = decided(losses, n=100)
    assert few.recommended == NONE
    assert one_of(few.claims, "loss", "cheap").effect == 0
    assert one_of(few.claims, "recommended").verdict == "not established"
    needed = one_of(few.claims, "needed").effect
    assert decided(losses, n=int(needed) + 10).recommended == "cheap"
    assert decided(losses, n=int(needed) - 10).recommended == NONE


def test_a_plan_that_loses_more_than_allowed_is_seldom_recommended():
    """Ten plans that each lose 4 points where 2 may be lost: the luckiest of them must not pass."""
    names = [f"p{k}" for k in range(10)]
    wrong = 0
    for seed in range(30):
        ratios = dict.fromkeys(names, (0.5, 0.5))
        found = decided(dict.fromkeys(names, 0.04), 400, dict.fromkeys(names, 0.5), ratios, seed=seed)
        wrong += found.recommended != NONE
    assert wrong <= 3


def test_bounds_hold_for_all_plans_that_could_be_chosen():
    alone = decided({"safe": 0.0}, shares={"safe": 0.8}).bounds["safe"]
    assert decided({"safe": 0.0, "cheap": 0.0, "lossy": 0.1}).bounds["safe"] > alone
    controls = {"safe": 0.0, "random-80-0": 0.0, "random-80-1": 0.0}
    assert decided(controls, shares=dict.fromkeys(controls, 0.8)).bounds == {"safe": alone}
    right = np.arange(600) % 10 > 0
    assert alone == pytest.approx(float(share_difference(right, right).high))


def test_questions_on_one_image_count_as_one():
    losses = {"safe": 0.0, "cheap": 0.0, "lossy": 0.1}
    verdicts = made.verdicts(losses, n=600, per=5)
    together = pl.DataFrame(
        {"example_id": [f"e{k:04}" for k in range(600)], "input": [f"i{k // 5}" for k in range(600)]}
    )
    plans, times = made.plans(SHARES), made.timings(FAST)
    tables = {"verdicts": verdicts, "plans": plans, "timings": times, "examples": together}
    assert one_of(claims(tables), "recommended").about == NONE
    del tables["examples"]
    assert one_of(claims(tables), "recommended").about == "cheap"
    wide, narrow = (one_of(claims(tables | more), "loss", "lossy") for more in ({"examples": together}, {}))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert wide.inputs == 120


def test_what_is_slower_for_one_prompt_is_no_saving():
    losses = {"safe": 0.0, "cheap": 0.0, "lossy": 0.1}
    trade = FAST | {"cheap": (1.3, 0.7)}
    found = decided(losses, ratios=trade)
    assert found.recommended == "safe"
    assert not saves_time(found.claims, "cheap")
    tables = {"verdicts": made.verdicts(losses, n=600), "plans": made.plans(SHARES), "timings": made.timings(trade)}
    [text] = [text for text in texts(tables) if "Established to save time" in text]
    assert "Established to save time: `safe`, `lossy`" in text
    assert "slower for one prompt, and so not counted as saving: `cheap`" in text
    # What is only faster for a batch, and no slower alone, saves time.
    assert decided(losses, ratios=FAST | {"cheap": (1.0, 0.7)}).recommended == "cheap"


def test_a_table_of_plans_holds_the_times_that_the_claims_state():
    found, times = decided({"cheap": 0.0, "safe": 0.0, "lossy": 0.2}), made.timings(FAST)
    shares = time_shares(times, found.claims)
    for plan, (one, batch) in FAST.items():
        for name, true in (("prefill_share", one), ("batch_share", batch)):
            assert shares[plan][f"{name}_low"] < true < shares[plan][f"{name}_high"]
            assert shares[plan][name] == pytest.approx(true, rel=0.01)
    for claim in of_kind(found.claims, "time"):
        name = "prefill_share" if claim.where == ONE_PROMPT else "batch_share"
        held = [100 * (shares[claim.about][name + end] - 1) for end in ("", "_low", "_high")]
        assert held == pytest.approx([claim.effect, claim.low, claim.high])
    # Equal calls and controls are no plans to choose: their mean is shown, without a bound.
    assert shares[NONE]["prefill_share"] == pytest.approx(1, abs=0.02)
    assert shares[NONE]["prefill_share_low"] is None


def test_times_within_the_noise_of_equal_calls_save_nothing():
    losses = {"safe": 0.0, "cheap": 0.0, "lossy": 0.0}
    assert decided(losses, ratios=FAST | {NONE: (0.7, 0.7), "lossy": (0.7, 0.7)}).recommended == NONE
    verdicts, plans = made.verdicts(losses, n=600), made.plans(SHARES)
    assert decide(verdicts, plans, made.timings(FAST, noise=1.0)).recommended == NONE
    assert decide(verdicts, plans, made.timings(FAST, repeats=1)).recommended == NONE
    assert decide(verdicts, plans, None).recommended == NONE


def test_a_negative_loss_is_a_gain_only_if_it_is_established():
    found = claims({"verdicts": made.verdicts({"better": -0.9, "same": 0.0, "worse": 0.2}, n=300)})
    better, same, worse = (one_of(found, "loss", name) for name in ("better", "same", "worse"))
    assert lost(better).startswith("it gains 9.7 points (95 % interval 6.3 to 14.5, p < 0.0001, n = 300)")
    assert lost(same).startswith("whether it loses right answers is not established: as many right answers (95 % int")
    assert lost(worse).startswith("it loses ")
    assert better.verdict == worse.verdict == "established"
