"""What an alignment run claims: effects that are there, and nothing else, from frames alone."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.studies.align.parts import Values, parts, under

import chiasm
from chiasm.core.claims import Claim, of_kind
from chiasm.core.errors import ChiasmError
from chiasm.results.claims import read_claims
from chiasm.studies.align.contrasts import Key
from chiasm.studies.align.findings import align_findings, rank

LAYERS = range(5)
SCORE = pl.DataFrame(
    [
        {"name": "ima_same", "statistic": "mean_token", "value": 0.5, "low": 0.4, "high": 0.6, "n": 50}
        | {"a": "image", "b": "question"}
    ]
)


def claimed(**tables: pl.DataFrame) -> list[Claim]:
    return read_claims(chiasm.claims("align", {"score": SCORE} | tables))


def drift(effect: float, n: int = 60, seed: int = 0, at: int | None = None):
    """Image and question tokens at every depth; the image is `effect` above, everywhere or `at` one depth."""
    rng = np.random.default_rng(seed)
    found: dict[Key, np.ndarray] = {("paired_raw", "image", "question", 0): rng.normal(size=n)}
    for layer in LAYERS:
        common = 0.5 + 0.05 * rng.normal(size=n)
        there = effect if at in (None, layer) else 0.0
        found["drift", "image", "", layer] = common + there + 0.05 * rng.normal(size=n)
        found["drift", "question", "", layer] = common + 0.05 * rng.normal(size=n)
    return found


def test_a_planted_difference_is_found_at_its_depth_and_said_to_be_uncontrolled():
    found = of_kind(claimed(parts=parts(drift(0.1, at=3))), "change")
    assert [one.verdict for one in found if one.where != "3"].count("uncontrolled") == 0
    [planted] = [one for one in found if one.where == "3"]
    assert planted.verdict == "uncontrolled"
    assert planted.effect == pytest.approx(0.1, abs=0.03)
    assert planted.low is not None
    assert planted.low > 0
    text = next(f.text for f in align_findings(found) if f.text.startswith("How much image"))
    assert "less at state 3 (uncontrolled)" in text
    assert "it is uncontrolled" in text


def test_noise_is_claimed_in_few_runs():
    wrong = sum(
        any(one.found for one in of_kind(claimed(parts=parts(drift(0.0, n=40, seed=seed))), "change"))
        for seed in range(40)
    )
    assert wrong <= 5  # 95 % of runs of 40 with 5 % each have at most 5


def controlled(own: float, control: float, n: int = 60):
    tables = {"parts": parts(drift(own, n, seed=1))}
    beside = [under("model", drift(own, n, seed=1)), under("twin", drift(control, n, seed=2))]
    return of_kind(claimed(**tables, parts_controls=pl.concat(beside)), "change")


def test_a_control_that_shows_the_same_blocks_a_claim():
    assert {one.verdict for one in controlled(0.1, 0.0)} == {"established"}
    blocked = controlled(0.1, 0.1)
    assert {one.verdict for one in blocked} == {"not established"}
    assert {one.control for one in blocked} == {"twin"}
    assert blocked[0].control_effect == pytest.approx(0.1, abs=0.03)
    assert {one.verdict for one in controlled(0.1, 0.2)} == {"not established"}


def test_interval_and_p_answer_one_question():
    """Of the effect against 0; what a control leaves of it is a row of its own, with interval and p of that."""
    for own, control in ((0.1, 0.2), (0.1, 0.1), (0.1, 0.0)):
        for one in controlled(own, control):
            assert one.low is not None
            assert one.p is not None
            assert one.low > 0
            assert one.p <= 0.05
    beside = pl.concat([under("model", drift(0.1, seed=1)), under("twin", drift(0.1, seed=2))])
    found = claimed(parts=parts(drift(0.1, seed=1)), parts_controls=beside)
    for one in of_kind(found, "change-control"):
        assert one.low is not None
        assert one.high is not None
        assert one.p is not None
        assert one.p > 0.05
        assert one.low < 0 < one.high
    for finding in align_findings(found):
        for said in re.findall(r"95 % interval ([-+.\d]+) to ([-+.\d]+), p [=≤<] ([\d.]+)", finding.text):
            low, high, p = map(float, said)
            assert (low > 0 or high < 0) == (p <= 0.05), finding.text


def test_what_lies_practically_no_further_than_its_control_is_not_established():
    """The table must not call established what its own row on the control calls practically none."""
    rng = np.random.default_rng(0)

    def steady(of: float) -> Values:
        found: dict[Key, np.ndarray] = {("paired_raw", "image", "question", 0): rng.normal(size=60)}
        found["drift", "image", "", 0] = 0.5 + of + 0.002 * rng.normal(size=60)
        found["drift", "question", "", 0] = 0.5 + 0.002 * rng.normal(size=60)
        return found

    found = against(steady(0.05), steady(0.04), steady(0.0))
    [effect] = of_kind(found, "change")
    near, _ = sorted(of_kind(found, "change-control"), key=lambda one: one.effect)
    assert near.verdict == "practically none"
    assert near.low is not None
    assert near.low > 0
    assert (effect.verdict, effect.control) == ("not established", "twin")
    text = sentence(found, "How much")
    assert "less at state 0" not in text
    assert "It is not established to go beyond a control: random weights give +0.0" in text


def test_the_control_that_is_named_leaves_the_least_and_each_has_a_row_of_its_own():
    own = drift(0.2, seed=1)
    beside = [
        under(name, drift(of, seed=seed))
        for name, of, seed in (("noise", -0.1, 2), ("twin", 0.05, 3), ("apart", 0.2, 4))
    ]
    found = claimed(parts=parts(own), parts_controls=pl.concat([under("model", own), *beside]))
    assert {one.control for one in of_kind(found, "change")} == {"twin"}
    rows = of_kind(found, "change-control")
    assert [one.control for one in rows[:2]] == ["noise", "twin"]  # isolation is no control of chance
    assert [one.effect for one in rows[:2]] == pytest.approx([0.3, 0.15], abs=0.04)
    text = sentence(found, "How much")
    assert "Random perceptual tokens give -0.1" in text
    assert text.count("a difference of +0.") == 2  # every control with the interval of its difference


def test_few_inputs_establish_nothing():
    assert {one.verdict for one in controlled(0.3, 0.0, n=60)} == {"established"}
    extents = pl.DataFrame({"input": [f"image {k}" for k in range(5)], "controlled": True})
    found = of_kind(claimed(parts=parts(drift(0.3)), extents=extents), "change")
    assert {one.verdict for one in found} == {"not established"}


def test_a_score_has_the_interval_of_its_table():
    values = np.random.default_rng(0).normal(0.5, 0.05, size=60)
    own = {("ima_same", "image", "question", None): values}
    table = SCORE.with_columns(value=pl.lit(values.mean()), low=pl.lit(0.48), high=pl.lit(0.52))
    [one] = of_kind(claimed(score=table, parts=parts(own)), "score")
    assert (one.low, one.high) == (0.48, 0.52)
    assert one.verdict == "uncontrolled"


def test_questions_on_one_image_widen_intervals():
    rng = np.random.default_rng(0)
    of_image = rng.normal(size=12)
    values: dict[Key, np.ndarray] = {("ima_same", "image", "question", None): 0.5 + 0.1 * np.repeat(of_image, 8)}
    together = [f"image {k}" for k in np.repeat(np.arange(12), 8)]
    apart, whole = (of_kind(claimed(parts=parts(values, inputs)), "score")[0] for inputs in (None, together))
    assert (whole.high or 0) - (whole.low or 0) > 2 * ((apart.high or 0) - (apart.low or 0))


def test_an_interval_leaves_out_nothing_exactly_where_p_says_so():
    for seed in range(20):
        for one in of_kind(claimed(parts=parts(drift(0.02, seed=seed))), "change"):
            assert one.low is not None
            assert one.high is not None
            assert (one.low > 0 or one.high < 0) == (one.p is not None and one.p <= 0.05)


def test_scores_alone_suffice_and_nothing_is_controlled():
    [one] = claimed()
    assert (one.kind, one.verdict, one.p, one.control) == ("score", "uncontrolled", None, None)
    [finding] = align_findings([one])
    assert "uncontrolled" in finding.text
    with pytest.raises(ChiasmError, match="it needs the table `score`"):
        chiasm.claims("align", {"parts": parts(drift(0.1))})


def test_a_score_below_its_control_is_no_sign_of_alignment():
    rng = np.random.default_rng(0)
    key = ("ima_same", "image", "question", None)
    own, random = {key: 0.5 + 0.05 * rng.normal(size=60)}, {key: 0.7 + 0.05 * rng.normal(size=60)}
    found = claimed(parts=parts(own), parts_controls=pl.concat([under("model", own), under("twin", random)]))
    [score], [against] = (of_kind(found, kind) for kind in ("score", "score-control"))
    assert score.verdict == "not established"
    assert (against.verdict, against.control) == ("established", "twin")
    assert against.effect == pytest.approx(-0.2, abs=0.03)
    text = align_findings(found)[0].text
    assert "below that with random weights" in text
    assert "no sign of alignment that was learnt" in text


def test_masks_beyond_magnitude_by_little_are_practically_nothing():
    rng = np.random.default_rng(0)
    masks = {
        ("iou", "image", "question", None): 0.8 + 0.01 * rng.normal(size=60),
        ("iou_magnitude", "image", "question", None): 0.795 + 0.01 * rng.normal(size=60),
        ("iou_permuted", "image", "question", None): 0.7 + 0.01 * rng.normal(size=60),
    }
    shuffled, magnitude = of_kind(claimed(parts=parts(masks)), "masks")
    assert (shuffled.verdict, shuffled.control) == ("uncontrolled", "shuffled norms")
    assert shuffled.control_effect == pytest.approx(0.7, abs=0.01)
    assert (magnitude.verdict, magnitude.control) == ("practically none", "magnitude alone")
    key = ("iou_magnitude", "image", "question", None)
    random = masks | {key: masks["iou", "image", "question", None] + 0.001 * rng.normal(size=60)}
    beside = pl.concat([under("model", masks), under("twin", random)])
    both = of_kind(claimed(parts=parts(masks), parts_controls=beside), "masks")
    assert [one.control for one in both] == ["twin", "twin"]
    assert both[0].verdict == "not established"  # random weights go as far beyond shuffled norms


def test_sentences_hold_no_number_that_no_claim_holds():
    values = drift(0.1) | {
        ("log_norm", s, "", k): np.full(60, 1.0 + (s == "image")) for s in ("image", "question") for k in LAYERS
    }
    beside = pl.concat([under("model", values), under("twin", drift(0.0, seed=3))])
    for finding in align_findings(claimed(parts=parts(values), parts_controls=beside)):
        assert "95 % interval" in finding.text
        assert "n = 60" in finding.text
        assert "control" in finding.text


def sentence(found: list[Claim], start: str) -> str:
    return next(one.text for one in align_findings(found, 3) if one.text.startswith(start))


def against(own: Values, twin: Values, noise: Values) -> list[Claim]:
    beside = [under("model", own), under("twin", twin), under("noise", noise)]
    return claimed(parts=parts(own), parts_controls=pl.concat(beside))


def test_the_largest_established_state_is_not_called_the_largest():
    rng = np.random.default_rng(0)

    def drifts(of: dict[int, float]) -> Values:
        found: dict[Key, np.ndarray] = {("paired_raw", "image", "question", 0): rng.normal(size=60)}
        for layer, effect in of.items():
            found["drift", "image", "", layer] = 0.5 + effect + 0.005 * rng.normal(size=60)
            found["drift", "question", "", layer] = 0.5 + 0.005 * rng.normal(size=60)
        return found

    found = against(
        drifts({0: 0.45, 1: 0.25, 2: -0.15}), drifts({0: 0.55, 1: 0.0, 2: -0.25}), drifts({0: 0.0, 1: 0.15, 2: 0.0})
    )
    text = sentence(found, "How much")
    assert "largest of the established states after state 1: +0.2" in text
    assert "After state 0 it is larger, +0.4" in text
    assert "but not established; there random weights give +0.5" in text
    assert "After state 2 the sign is the other one: -0.1" in text
    assert "The control that leaves least of it: random perceptual tokens give +0.1" in text
    assert "Random weights give" in text


def test_a_control_of_which_there_is_one_is_not_called_the_nearest():
    values: dict[Key, np.ndarray] = {("paired_raw", "image", "question", 0): np.zeros(60)}
    rng = np.random.default_rng(0)

    def norms(of: float) -> Values:
        return values | {
            ("log_norm", span, "", 0): (span == "image") * of + 0.1 * rng.normal(size=60)
            for span in ("image", "question")
        }

    text = sentence(against(norms(3.0), norms(1.0), norms(3.0)), "At the embeddings")
    assert "The control: random weights give +" in text
    assert "random perceptual" not in text  # they have the norms of those that they replace


def test_an_overlap_says_its_verdict_and_every_control():
    rng = np.random.default_rng(0)
    own, twin, noise = (
        {("iou", "image", "question", None): of + 0.01 * rng.normal(size=60)} for of in (0.815, 0.715, 0.865)
    )
    text = sentence(against(own, twin, noise), "The halves")
    assert "not established beyond its controls" in text
    assert "A control shows as much or more: random perceptual tokens give +0.86" in text
    assert "Random weights give +0.71" in text


def test_attention_is_named_over_all_states_and_its_blocks_are_counted():
    rng = np.random.default_rng(0)

    def near(of: float) -> Values:
        return {
            (f"{kind}_centred", "image", "question", layer): (kind == "paired") * of + 0.05 * rng.normal(size=60)
            for kind in ("paired", "others")
            for layer in (0, 1)
        }

    own = near(0.4)
    beside = [under("model", own), under("twin", near(0.65)), under("noise", near(0.3)), under("apart", near(0.1))]
    text = sentence(claimed(parts=parts(own), parts_controls=pl.concat(beside)), "Beyond what all")
    assert "not established at states 0-1" in text
    assert "random weights give +0.6" in text
    assert "Attention between them in the first 3 blocks: it raises the difference at states 0-1; most at" in text


def test_divergences_that_disagree_are_named():
    rng = np.random.default_rng(0)
    pair = ("image", "question", 0)
    own: dict[Key, np.ndarray] = {
        ("js", *pair): 0.2 + 0.01 * rng.normal(size=60),
        ("kl", *pair): 0.001 * rng.normal(size=60),
    }
    null: dict[Key, np.ndarray] = {(f"{name}_null", *pair): 0.1 + 0.01 * rng.normal(size=60) for name in ("js", "kl")}
    text = sentence(claimed(parts=parts(own | null)), "Words that hidden")
    assert "Kullback-Leibler divergences have the same verdicts but for these: at state 0 that of image from" in text
    assert "practically none" in text


def test_what_was_not_found_is_ordered_by_its_size():
    small, large = (
        Claim(kind="change", about="a", quantity="q", unit="1", effect=effect, n=60, verdict="not established")
        for effect in (0.01, 0.3)
    )
    assert rank(small, 30.0) < rank(large, 5.0) < rank(replace(small, verdict="uncontrolled"), 5.0)
    assert rank(small, 5.0) == rank(small, 5.0) < rank(small, 6.0)


def test_a_score_that_is_higher_without_attention_between_the_modalities_says_so_at_once():
    rng = np.random.default_rng(0)
    key = ("ima_0", "image", "question", None)

    def scores(of: float) -> Values:
        return {key: of + 0.02 * rng.normal(size=60)}

    own = scores(0.5)
    beside = [under("model", own), under("twin", scores(0.2)), under("apart", scores(0.8))]
    text = sentence(claimed(parts=parts(own), parts_controls=pl.concat(beside)), "The alignment score")
    first = text.partition(". It")[0]
    assert "established beyond random weights, though the model shows more with no attention between" in first


def several(own: float, random: list[float]) -> list[Claim]:
    """The image's change beside that of several models with random weights."""
    beside = [under("model", drift(own, seed=1)), under("twin", drift(random[0], seed=2))]
    further = [parts(drift(of, seed=2 + k)).with_columns(sample=pl.lit(k)) for k, of in enumerate(random) if k]
    tables = {"parts": parts(drift(own, seed=1)), "parts_controls": pl.concat(beside)}
    return claimed(**tables, **({"parts_random": pl.concat(further)} if further else {}))


def test_random_models_that_differ_block_what_one_of_them_does_not():
    alone, alike, apart = (several(0.2, of) for of in ([0.0], [0.0] * 4, [0.0, 0.08, -0.05, 0.1]))
    assert {one.verdict for one in of_kind(alone, "change")} == {"established"}
    assert {one.verdict for one in of_kind(alike, "change")} == {"established"}
    assert {one.verdict for one in of_kind(apart, "change")} == {"not established"}
    for one in of_kind(apart, "change-control"):
        assert one.control_effect == pytest.approx(0.13 / 4, abs=0.03)  # the mean of the four
        assert one.low is not None
        assert one.high is not None
        assert one.p is not None
        assert one.low < 0 < one.high
        assert one.p > 0.05


def test_several_random_models_have_one_interval_that_agrees_with_its_p():
    rng = np.random.default_rng(0)
    for _ in range(10):
        for one in of_kind(several(0.08, list(rng.normal(0, 0.02, 4))), "change-control"):
            assert one.low is not None
            assert one.high is not None
            assert one.p is not None
            assert (one.low > 0 or one.high < 0) == (one.p <= 0.05)


PAIR = ("image", "question")


def neighbours(beyond: float, seed: int = 0, n: int = 60) -> Values:
    rng = np.random.default_rng(seed)
    return {
        (name, *PAIR, layer): of + (name == "neighbours") * 0.1 * rng.normal(size=n)
        for layer in range(3)
        for name, of in (("neighbours", beyond if layer == 2 else 0.0), ("neighbours_null", 0.17))
    }


def test_neighbours_in_common_are_found_where_they_are_beyond_shuffled_pairs():
    found = of_kind(claimed(parts=parts(neighbours(0.3))), "neighbours")
    assert [one.verdict for one in found] == ["not established", "not established", "established"]
    assert {(one.control, round(one.control_effect or 0, 2)) for one in found} == {("shuffled pairing", 0.17)}
    text = sentence(found, "Mutual nearest")
    assert "more in common at state 2; not established at states 0-1" in text
    assert "The control is shuffled pairs, which gives +0.17" in text


def test_neighbours_that_random_weights_have_too_are_not_established():
    own = neighbours(0.3)
    beside = pl.concat([under("model", own), under("twin", neighbours(0.35, seed=1))])
    found = claimed(parts=parts(own), parts_controls=beside)
    assert {one.verdict for one in of_kind(found, "neighbours")} == {"not established"}
    assert {one.control for one in of_kind(found, "neighbours")} == {"twin"}
    assert "random weights give +0.3" in sentence(found, "Mutual nearest")


def gaps(of: float, seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    return {("gap_share", *PAIR, layer): of * (layer == 1) + 0.05 * rng.normal(size=60) for layer in range(3)}


def test_a_gap_is_found_at_its_depth_and_blocked_by_one_that_random_weights_have():
    alone = of_kind(claimed(parts=parts(gaps(0.4))), "gap")
    assert [one.verdict for one in alone] == ["not established", "uncontrolled", "not established"]
    own = gaps(0.4)
    for twin, verdict in ((gaps(0.1, 1), "established"), (gaps(0.6, 2), "not established")):
        beside = pl.concat([under("model", own), under("twin", twin)])
        found = claimed(parts=parts(own), parts_controls=beside)
        assert of_kind(found, "gap")[1].verdict == verdict
        [less] = [one for one in of_kind(found, "gap-control") if one.where == "1"]
        assert less.established
        assert (less.effect > 0) == (verdict == "established")
    assert "Modality gap between image and question" in sentence(found, "Modality gap")
