"""What a skipping run claims: planted losses and savings are found, noise is not, and a choice is made by bounds."""

import math
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.support import skip_tables as made
from tests.support.charts import found, rows, titles

import chiasm
from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.core.statistics.intervals import share_difference
from chiasm.results.charts.files import specification
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.skip import charts
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT, decide, saves_time, time_shares
from chiasm.studies.skip.findings import lost, skip_findings
from chiasm.studies.skip.overview import plans_table
from chiasm.studies.skip.tables import FAST_V, NONE, RANDOM_DROP
from chiasm.studies.skip.time_findings import too_noisy

FAST = {"safe": (0.8, 0.8), "cheap": (0.7, 0.7), "lossy": (0.5, 0.5)}
PLAN = {"score": 0.9, "loss": 0.02, "loss_low": 0.01, "loss_high": 0.05, "recommended": False, "kind": "search"}
SHARES = {"safe": 0.8, "cheap": 0.7, "lossy": 0.5}


def decided(losses, n=600, shares=None, ratios=None, max_loss=0.02, **more):
    verdicts = made.verdicts(losses, n=n, **more)
    return decide(verdicts, made.plans(shares or SHARES, max_loss), made.timings(ratios or FAST))


def one_of(found, kind, about=None):
    [one] = of_kind(found, kind, about)
    return one


def texts(tables, **more):
    return [finding.text for finding in skip_findings(claims(tables, **more))]


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


def test_what_is_not_established_is_said_with_its_estimate_and_sign():
    tables = {"verdicts": made.verdicts({"a": -0.05, "b": 0.0}, n=100), "plans": made.plans({"a": 0.5, "b": 0.6})}
    tables["timings"] = made.timings({"a": (0.9, 0.9), "b": (0.9, 0.9), NONE: (0.8, 1.2)}, noise=0.3)
    found = " ".join(texts(tables))
    assert "Whether right answers are lost is not established under `a`, `b`: estimates of the loss from " in found
    assert "no loss" not in found.lower()
    assert "no saving" not in found.lower()


def test_times_that_two_equal_calls_exceed_are_not_written():
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=100), "plans": made.plans({"a": 0.5})}
    tables["timings"] = made.timings({"a": (0.9, 1.02), NONE: (0.7, 1.6)}, noise=0.3)
    [text] = [text for text in texts(tables) if "No plan is established to save time" in text]
    assert "times are too noisy to tell: two equal calls of the plain model differ by more" in text
    for one in of_kind(claims(tables), "time"):
        assert too_noisy(one)
        assert f"{one.effect:+.0f} %" not in text


def test_the_plain_model_stands_beside_the_most_frequent_answer():
    found = texts({"verdicts": made.verdicts({"a": 0.0}), "plans": made.plans({"a": 0.5})})
    [text] = [text for text in found if text.startswith("The plain model is right in 90.0 %")]
    assert "most frequent answer of each question type would be right in" in text


def test_divergences_are_never_below_zero_and_are_drawn_as_said():
    own = made.contributions()
    found = of_kind(claims({"contributions": own}), "contribution")
    assert min(one.low for one in found) == 0.0
    assert all((one.p <= 0.05) == (one.low > 0) for one in found)
    drawn = rows(charts.contributions_chart(own, None, SCREEN, claims=found))
    for one in found:
        [row] = drawn.filter(
            label={"ffn": "feed-forward", "block": "both"}.get(one.about, one.about), x=int(one.where)
        ).rows(named=True)
        assert (row["y"], row["low"], row["high"]) == pytest.approx((one.effect, one.low, one.high), rel=1e-4)


def test_the_difference_to_random_weights_is_a_row_and_a_sentence():
    own = made.contributions()
    still = own.with_columns(kl=pl.col("kl") * 0.1, control=pl.lit("twin"))
    found = claims({"contributions": own, "contributions_controls": still})
    beyond = {(one.about, one.where): one for one in of_kind(found, "contribution-beyond")}
    for one in of_kind(found, "contribution"):
        more = beyond[one.about, one.where]
        assert np.isclose(more.effect, 0.9 * one.effect)
        assert (more.p <= 0.05) == (more.low > 0 or more.high < 0)
        assert more.established <= one.established
    [text] = [text for text in texts({"contributions": own, "contributions_controls": still}) if "Leaving out" in text]
    assert "; with random weights " in text
    assert ", a difference of +" in text


def test_every_plan_is_a_row_and_every_interval_is_that_of_the_claims():
    losses = {"search-50": 0.02, "random-50-0": 0.3}
    tables = {"verdicts": made.verdicts(losses), "plans": made.plans(dict.fromkeys(losses, 0.5))}
    more = [pl.lit(value).alias(name) for name, value in PLAN.items()]
    table = plans_table(tables["plans"].with_columns(more), claims(tables))
    assert set(table["plan"]) == {"plain model (nothing left out)", *losses}
    one = one_of(claims(tables), "loss", "search-50")
    cell = table.filter(plan="search-50")["right answers lost (points)"][0]
    assert f"({one.low:.1f} to {one.high:.1f})" in cell
    assert "(1.0 to 5.0)" in table.filter(plan="random-50-0")["right answers lost (points)"][0]
    # What no claim compares stands in the table as it does in the chart.
    timed = tables["plans"].with_columns(more).with_columns(prefill_share=pl.lit(1.25), batch_share=pl.lit(0.8))
    table = plans_table(timed, claims(tables))
    columns = [name for name in table.columns if name.startswith("change of time")]
    assert table.filter(plan="random-50-0").select(columns).row(0) == ("25 (no interval)", "-20 (no interval)")
    assert table.filter(plan="plain model (nothing left out)").select(columns).row(0) == (
        "25 (two equal calls)",
        "-20 (two equal calls)",
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-8.0, 1.0, "not established: 0 is within"),
        (-8.0, -2.0, "not established beyond two equal calls (+2 %)"),
        (None, None, "not established: no interval"),
    ],
)
def test_the_table_says_why_a_time_is_not_established(low, high, said):
    tables = {"verdicts": made.verdicts({"p": 0.0}), "plans": made.plans({"p": 0.5})}
    times = of_kind(claims(tables | {"timings": made.timings({"p": (0.7, 0.7)})}), "time", "p")
    doubted = [
        replace(one, effect=-5.0, low=low, high=high, control_effect=2.3, verdict="not established") for one in times
    ]
    more = [pl.lit(value).alias(name) for name, value in PLAN.items()]
    table = plans_table(tables["plans"].with_columns(more), doubted)
    cells = table.filter(plan="p").select(column for column in table.columns if column.startswith("change of")).row(0)
    assert all(cell.endswith(said) for cell in cells)


def test_every_plan_is_drawn_with_the_intervals_of_the_claims_and_the_recommended_one_has_a_ring():
    kinds = {"search-50": (0.5, "search"), "random-50-0": (0.5, "random-layers"), NONE: (1.0, NONE)}
    table = pl.DataFrame(
        [
            {"plan": plan, "kind": kind, "operations_share": share, "peak_bytes": 100, "loss": 0.02, "loss_low": 0.01}
            | {"loss_high": 0.05, "n": 200, "recommended": plan == "search-50", "max_loss": 0.02, "skipped": "ffn"}
            | {"score": 0.9, "prefill_share": 0.8, "batch_share": 0.7}
            for plan, (share, kind) in kinds.items()
        ]
    )
    tables = {
        "verdicts": made.verdicts({"search-50": 0.02, "random-50-0": 0.3}),
        "plans": made.plans({"search-50": 0.5}),
    }
    said = claims(tables | {"timings": made.timings({"search-50": (0.7, 0.6)})})
    chart = charts.plans_chart(table, SCREEN, claims=said)
    loss = one_of(said, "loss", "search-50")
    for one in of_kind(said, "time", "search-50"):
        [row] = rows(chart, "name").filter(name="search-50", panel=one.where).rows(named=True)
        drawn = (row["x"], row["x_low"], row["x_high"], row["y_low"], row["y_high"])
        assert drawn == pytest.approx((100 + one.effect, 100 + one.low, 100 + one.high, loss.low, loss.high), rel=1e-5)
        assert row["operations left (%)"] == 50
        assert row["chosen"]
    # What no claim is about has the bounds of the table, and no interval of its time.
    control = rows(chart, "name").filter(name="random-50-0").row(0, named=True)
    assert (control["x"], control["x_low"], control["y_low"], control["y_high"]) == (80.0, None, 1.0, 5.0)
    assert rows(chart, "name").filter(name=NONE)["chosen"].to_list() == [None, None]
    words = " ".join([*titles(chart), *specification(chart)["title"]["subtitle"]])
    for part in (
        "Right answers lost (points; logarithmic beyond ±1)",
        "Time left (%, logarithmic)",
        "n = 200",
        "95 %",
        "search-50 is recommended",
    ):
        assert part in words
    nothing = table.with_columns(recommended=pl.col("plan") == NONE)
    said = specification(charts.plans_chart(nothing, SCREEN))["title"]["subtitle"]
    assert "nothing is recommended" in " ".join(said)


def timed_points(*bounds):
    return [charts.Point(f"p{k}", 100.0, 0.0, low, high) for k, (low, high) in enumerate(bounds)]


def test_intervals_of_times_are_drawn_whole_unless_they_would_flatten_all_else():
    (low, high), cut = charts.times_shown(timed_points((75, 180), (math.nan, math.nan)))
    assert low < 75 < 180 < high
    assert not cut
    (low, high), cut = charts.times_shown(timed_points((75, 900), (80, 120)))
    assert low < 75
    assert (high, cut) == (200, True)


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_training_with_a_plan_stands_beside_training_without(width):
    shares = [("none", "", 0.9), ("none", "p", 0.5), ("without-plan", "", 0.8), ("with-plan", "p", 0.85)]
    names = ("trained", "plan", "score")
    table = pl.DataFrame(
        [dict(zip(names, row, strict=True)) | {"score_low": 0.4, "score_high": 0.95, "n": 20} for row in shares]
    )
    chart = charts.recovery_chart(table, size_of(width))
    drawn = rows(chart, "row", "mark").select("row", "mark", "value")
    assert ("trained without the plan (control)", "answering without the plan", 80.0) in drawn.rows()
    assert ("trained with the plan", "answering under p", 85.0) in drawn.rows()
    assert "Right answers (%)" in titles(chart)


def test_layers_that_the_answer_does_not_need_have_a_place_on_the_scale():
    own = made.contributions().with_columns(kl=pl.when(pl.col("layer") > 0).then(0.0).otherwise("kl"))
    chart = charts.contributions_chart(own, own.with_columns(control=pl.lit("twin")), SCREEN)
    [scale] = {str(one) for one in found(chart, "scale") if one and one.get("type") == "log"}
    assert "'clamp': True" in scale
    assert rows(chart).filter(x=1)["y"].to_list() == [0.0] * rows(chart).filter(x=1).height
    assert set(rows(chart)["role"]) == {"measured", "random-weights baseline"}


def test_sentences_are_short():
    losses = {f"search-{k}": 0.0 for k in range(3)} | {"random-1-0": 0.3, "random-1-1": 0.3}
    tables = {"verdicts": made.verdicts(losses, n=60), "plans": made.plans(dict.fromkeys(list(losses)[:3], 0.5))}
    tables |= {"modalities": made.modalities(), "contributions": made.contributions()}
    for text in texts(tables):
        for sentence in re.split(r"[.:;] (?=[A-Z])", text):
            assert len(re.sub(r"\([^()]*\)", "", sentence).split()) <= 60, sentence


def test_p_and_interval_of_a_loss_agree():
    for seed in range(20):
        for one in of_kind(claims({"verdicts": made.verdicts({"a": 0.02, "b": 0.04}, n=150, seed=seed)}), "loss"):
            assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)


def test_noise_is_seldom_claimed():
    named = 0
    for seed in range(40):
        names = ("search-50", "random-50-0", "random-50-1")
        verdicts = made.verdicts(dict.fromkeys(names, 0.03), n=60, seed=seed)
        verdicts = verdicts.with_columns(logprob=pl.Series(np.random.default_rng(seed).normal(-1, 1, verdicts.height)))
        found = claims({"verdicts": verdicts, "modalities": made.modalities(60, 0.1, 0.1, seed=seed)}, smallest=1e-6)
        named += any(one.established for kind in ("search", "modality") for one in of_kind(found, kind))
    assert named <= 8  # two families at 5 % of 40, and three standard deviations


def test_the_search_is_compared_with_every_draw_and_with_draws_in_general():
    shift = {f"random-50-{k}": 0.5 * (k < 3) for k in range(4)}
    tables = {"verdicts": made.verdicts({"search-50": 0.0, **dict.fromkeys(shift, 0.0)}, n=80, shift=shift)}
    found = claims(tables)
    assert [one.established for one in of_kind(found, "search")] == [True, True, True, False]
    few = next(text for text in texts(tables | {"plans": made.plans({"search-50": 0.5})}) if "Random layers" in text)
    assert few.endswith("4 draws are too few to say anything of other draws.")
    draws = one_of(found, "search-draws")
    assert (draws.effect, draws.n) == (75.0, 4)
    assert draws.low < 50 < draws.high, "four draws do not stand for most"
    assert draws.verdict == "not established"
    many = {f"random-50-{k}": 0.5 for k in range(9)}
    tables = {"verdicts": made.verdicts({"search-50": 0.0, **dict.fromkeys(many, 0.0)}, n=80, shift=many)}
    assert one_of(claims(tables), "search-draws").established


def test_dropping_by_attention_stands_beside_dropping_at_random():
    kinds = {"fast-v-50": FAST_V, "random-drop-50-0": RANDOM_DROP}
    shift = {"random-drop-50-0": 0.4}
    tables = {"verdicts": made.verdicts(dict.fromkeys(kinds, 0.0), n=80, kinds=kinds, shift=shift)}
    drop = one_of(claims(tables), "drop")
    assert drop.established
    assert drop.control_effect == pytest.approx(0.41, abs=0.01)
    alike = {"verdicts": made.verdicts(dict.fromkeys(kinds, 0.0), n=80, kinds=kinds)}
    assert one_of(claims(alike), "drop").verdict == "practically none"


def test_plans_that_others_beat():
    losses, shift = {"a": 0.0, "b": 0.0, "c": 0.0}, {"b": 0.5}
    tables = {"verdicts": made.verdicts(losses, n=80, shift=shift), "plans": made.plans({"a": 0.5, "b": 0.6, "c": 0.7})}
    beaten = {one.about: one for one in of_kind(claims(tables), "beaten")}
    assert set(beaten) == {"b", "c"}, "what takes the fewest operations cannot be beaten"
    assert beaten["b"].established
    assert beaten["b"].control == "a"
    assert beaten["c"].verdict == "practically none"


def test_image_against_text_tokens():
    planted = of_kind(claims({"verdicts": made.verdicts({"a": 0.0}), "modalities": made.modalities()}), "modality")
    assert [one.established for one in planted] == [True, True]
    assert all(one.low < 0.19 < one.high for one in planted)
    assert all(one.control == "image tokens" for one in planted)
    noise = made.modalities(image=0.1, text=0.1, spread=0.05)
    none = of_kind(claims({"verdicts": made.verdicts({"a": 0.0}), "modalities": noise}), "modality")
    assert {one.verdict for one in none} == {"practically none"}
    wide = made.modalities(image=0.1, text=0.1, spread=2.0)
    assert not any(
        one.found for one in of_kind(claims({"verdicts": made.verdicts({"a": 0.0}), "modalities": wide}), "modality")
    )


def test_where_the_work_matters_needs_its_control():
    own = made.contributions()
    alone = claims({"contributions": own})
    first = next(one for one in alone if one.about == "ffn" and one.where == "0")
    assert first.verdict == "uncontrolled"
    assert any("uncontrolled" in finding.text for finding in skip_findings(alone))
    weak, strong = (
        made.contributions(losses=((size, 0.001), (0.002, 0.001)), seed=1).with_columns(control=pl.lit(RANDOM_WEIGHTS))
        for size in (0.01, 1.5)
    )
    for controls, verdict in ((weak, "established"), (strong, "not established")):
        found = claims({"contributions": own, "contributions_controls": controls})
        assert next(one for one in found if one.about == "ffn" and one.where == "0").verdict == verdict
        others = [one for one in found if (one.about, one.where) != ("ffn", "0")]
        assert {one.verdict for one in others} == {"practically none"}


def test_a_contribution_goes_beyond_one_more_random_model_or_is_not_established():
    own, few = made.contributions(), made.contributions(losses=((0.02, 0.001), (0.002, 0.001)), seed=1)
    number = pl.col("example_id").str.slice(1).cast(pl.Int64) % 4

    def judged(levels):
        spread = few.with_columns(sample=number, control=pl.lit(RANDOM_WEIGHTS)).with_columns(
            kl=pl.col("kl") + pl.col("sample").replace_strict(dict(enumerate(levels)), return_dtype=pl.Float64)
        )
        found = claims({"contributions": own, "contributions_controls": spread})
        place = next(one for one in found if one.kind == "contribution" and (one.about, one.where) == ("ffn", "0"))
        beyond = next(
            one for one in found if one.kind == "contribution-beyond" and (one.about, one.where) == ("ffn", "0")
        )
        return place, beyond

    alike, far = judged((0.5, 0.5, 0.5, 0.5)), judged((0.0, 0.0, 0.0, 2.0))
    assert np.isclose(alike[1].effect, far[1].effect)
    assert [one.verdict for one in alike] == ["established"] * 2
    assert [one.verdict for one in far] == ["not established"] * 2
    assert far[1].low < 0 < alike[1].low


@pytest.mark.parametrize(
    ("plain", "trained", "controls", "verdict"),
    [
        (0.7, 0.9, True, "established"),
        (0.9, 0.9, True, "not established"),
        (0.7, 0.7, True, "not established"),
        (0.7, 0.9, False, "uncontrolled"),
    ],
)
def test_recovery_must_go_beyond_as_much_training(plain, trained, controls, verdict):
    tables = {
        "verdicts": made.verdicts({"half": 0.0}),
        "recovered": made.recovered(0.7, plain, trained, controls=controls),
    }
    found = claims(tables)
    one = one_of(found, "recovery")
    assert one.verdict == verdict
    tables["plans"] = made.plans({"half": 0.5})
    [text] = [text for text in texts(tables) if "untrained" in text]
    assert ("uncontrolled" in text) is (not controls)
    assert ("is not established to give back" in text) is (trained == 0.7)


def test_numbers_of_sentences_stand_in_rows():
    losses = {"search-50": 0.0, "random-50-0": 0.3, "lossy": 0.1}
    tables = {
        "verdicts": made.verdicts(losses, n=600, shift={"random-50-0": 1.0}),
        "plans": made.plans({"search-50": 0.7, "lossy": 0.5}),
        "timings": made.timings({"search-50": (0.7, 0.7), "lossy": (0.5, 0.5)}),
        "modalities": made.modalities(),
        "contributions": made.contributions(),
    }
    found = claims(tables)
    held = [x for one in found for x in (one.effect, one.low, one.high, one.p, one.control_effect) if x is not None]
    counts = {one.n for one in found} | {one.inputs for one in found} | {95, 0, 1, 2, 3}
    for text in texts(tables):
        plain = re.sub(r"`[^`]*`|layers? [\d, -]+|work of \S+|p < 0.0001", "", text)
        for written in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?", plain):
            value = abs(float(written))
            shown = any(abs(abs(x) - value) <= 0.51 * 10 ** -len(written.partition(".")[2]) for x in held)
            assert shown or value in counts or any(np.isclose(abs(x), value, rtol=6e-3) for x in held), (written, text)


def test_frames_alone_suffice_and_what_is_missing_is_named():
    frame = chiasm.claims("skip", {"verdicts": made.verdicts({"a": 0.0})}, seed=1)
    assert frame.equals(chiasm.claims("skip", {"verdicts": made.verdicts({"a": 0.0})}, seed=1))
    with pytest.raises(ChiasmError, match="needs the table `verdicts`"):
        chiasm.claims("skip", {"plans": made.plans({"a": 0.5})})


def test_a_time_stands_beside_what_goes_beyond_two_equal_calls():
    """Faster by as much as equal calls differ is not faster: a row and a sentence say so."""
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=600), "plans": made.plans({"a": 0.5})}
    tables["timings"] = made.timings({"a": (0.6, 0.9), NONE: (0.9, 0.9)})
    found = claims(tables)
    times, beyond = ({one.where: one for one in of_kind(found, kind)} for kind in ("time", "time-beyond"))
    assert [round(times[place].effect) for place in (ONE_PROMPT, BATCH)] == [-40, -10]
    assert [round(beyond[place].effect) for place in (ONE_PROMPT, BATCH)] == [-33, 0]
    assert times[ONE_PROMPT].established
    assert beyond[ONE_PROMPT].high < 0
    assert not times[BATCH].established
    assert not beyond[BATCH].established
    [text] = [text for text in texts(tables) if "`a` is recommended" in text]
    assert "Two equal calls differ by -10 %; beyond that it is -33 % (" in text


def test_too_few_examples_say_how_many_to_ask_for_and_what_else_is_missing():
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=100), "plans": made.plans({"a": 0.5})}
    tables |= {"contributions": made.contributions(), "timings": made.timings({"a": (1.2, 1.2), NONE: (1.0, 1.0)})}
    found = claims(tables)
    [needed], [limit] = (of_kind(found, kind) for kind in ("needed", "needed-limit"))
    assert limit.effect == needed.effect + tables["contributions"]["example_id"].n_unique()
    [text] = [text for text in texts(tables) if text.startswith("No plan is recommended")]
    assert f"ask for --limit {limit.effect:.0f} or more, or allow more with --max-loss" in text
    assert "would also have to be established that a plan saves time" in text


def test_a_plan_that_reads_slower_is_not_called_too_noisy():
    """Equal calls that differ by less than the plan slows down hide nothing."""
    tables = {"verdicts": made.verdicts({"a": 0.0}, n=100), "plans": made.plans({"a": 0.5})}
    tables["timings"] = made.timings({"a": (1.3, 1.9), NONE: (0.98, 1.02)}, noise=0.05)
    slower = [one for one in of_kind(claims(tables), "time") if one.about == "a" and one.effect > 5]
    assert slower
    assert not any(too_noisy(one) for one in slower)


def test_repeats_are_advised_only_where_they_can_decide():
    """A plan that is surely slower stays so, however often it is timed."""
    for ratios, advised in (((1.6, 1.7), False), ((0.97, 1.03), True)):
        tables = {"verdicts": made.verdicts({"a": 0.0}, n=400), "plans": made.plans({"a": 0.5})}
        tables["timings"] = made.timings({"a": ratios}, noise=0.02 if not advised else 0.3)
        [text] = [text for text in texts(tables) if text.startswith("No plan is recommended")]
        assert ("More --repeats" in text) == advised, text
