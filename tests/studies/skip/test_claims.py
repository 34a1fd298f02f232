"""What a skipping run claims: planted losses and savings are found, noise is not."""

import re

import numpy as np
import polars as pl
import pytest
from tests.studies.skip.skip_claims import one_of, texts
from tests.support import skip_tables as made

import chiasm
from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.findings import skip_findings
from chiasm.studies.skip.tables import FAST_V, NONE, RANDOM_DROP
from chiasm.studies.skip.time_findings import too_noisy


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
