"""What a pruning run claims: planted differences are found, noise is not, and a mask is recommended by its bound."""

import numpy as np
import polars as pl
import pytest

import chiasm
from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.results.tables import conform
from chiasm.studies.prune.claims import claims
from chiasm.studies.prune.findings import prune_findings
from chiasm.studies.prune.tables import IMAGE_TOKENS, PRUNED, TEXT_TOKENS

TYPES = tuple("abcdef")


def pruned(lost, n=240, sparsity=0.5, seed=0, per=1):
    """Answers of the untouched model, right in nine of ten, and under masks that turn a share `lost` of them wrong.

    `lost`: by (mask, calibration), a number, or a function of the question's type. `per`: questions on one image, which
    turn together.
    """
    rng, rows = np.random.default_rng(seed), []
    plain = np.arange(n) % 10 > 0
    for (mask, calibration), share in {("dense", "none"): 0.0, **lost}.items():
        drawn = np.repeat(rng.random(-(-n // per)), per)[:n]
        dense = mask == "dense"
        where = {"sparsity": 0.0 if dense else sparsity, "pattern": "none" if dense else "unstructured"}
        for k in range(n):
            type_ = TYPES[k % 6]
            wrong = drawn[k] < (share(type_) if callable(share) else share)
            rows.append(
                {"example_id": f"e{k:04}", "type": type_, "mask": mask, "calibration": calibration, **where}
                | {"part": "none" if dense else "all", "answer": f"x{k % 8}", "written": "x", "generated": "x"}
                | {"correct": bool(plain[k] and not wrong), "logprob": -0.5, "tokens": 1}
            )
    return conform(PRUNED, pl.DataFrame(rows))


def test_the_released_combination_is_compared_with_that_of_the_sparsity_named():
    lost = {("wanda", "all"): 0.0, ("intersection", "types"): 0.0, ("intersection-released", "types"): 0.3}
    found = claims({"pruned": pruned(lost)})
    [one] = of_kind(found, "released")
    assert (one.about, one.control) == ("intersection-released", "intersection")
    assert one.established
    assert one.low < -27 < one.high
    assert any("as released" in finding.text and "zeroes more" in finding.text for finding in prune_findings(found))
    assert not of_kind(claims({"pruned": pruned({("wanda", "all"): 0.0, ("intersection", "types"): 0.0})}), "released")


def test_planted_differences_are_found():
    lost = {
        ("wanda", "all"): 0.0,
        ("magnitude", "none"): 0.3,
        ("random", "none"): 0.9,
        ("wanda", IMAGE_TOKENS): 0.4,
        ("wanda", TEXT_TOKENS): 0.0,
        ("intersection", "types"): 0.0,
    }
    found = claims({"pruned": pruned(lost)})
    methods = {one.control: one for one in of_kind(found, "method")}
    assert methods["magnitude"].established
    assert methods["magnitude"].low < 27 < methods["magnitude"].high
    assert methods["magnitude"].control_effect == pytest.approx(methods["magnitude"].effect)
    [modality] = of_kind(found, "modality")
    assert modality.high < 0
    assert modality.established
    [combined] = of_kind(found, "combined")
    assert combined.verdict == "not established"
    assert combined.effect == 0


def test_own_masks_are_found_where_the_type_is_why():
    def own(name):
        return lambda type_: 0.0 if type_ == name else 0.6

    lost = {("wanda", "all"): 0.0, **{("wanda", name): own(name) for name in TYPES}}
    [one] = of_kind(claims({"pruned": pruned(lost)}), "own-type")
    assert one.established
    assert one.effect > 40
    assert one.control_effect < one.effect


def test_noise_is_seldom_claimed():
    named = {"method": 0, "own-type": 0}
    for seed in range(40):
        lost = {("wanda", "all"): 0.3, ("magnitude", "none"): 0.3, ("random", "none"): 0.3}
        lost |= {("wanda", name): 0.3 for name in TYPES}
        found = claims({"pruned": pruned(lost, n=96, seed=seed)}, seed=seed, smallest=1e-6)
        for kind in named:
            named[kind] += any(one.established for one in of_kind(found, kind))
    assert max(named.values()) <= 6  # 5 % of 40, and three standard deviations


def test_a_mask_that_loses_more_than_allowed_is_seldom_recommended():
    masks = pl.DataFrame({"max_loss": [0.05]})
    wrong = 0
    for seed in range(40):
        tables = [pruned({("wanda", "all"): 0.1}, n=240, sparsity=s, seed=[seed, int(10 * s)]) for s in (0.3, 0.5, 0.7)]
        both = pl.concat([tables[0], *(one.filter(pl.col("mask") != "dense") for one in tables[1:])])
        [chosen] = of_kind(claims({"pruned": both, "masks": masks}), "recommended")
        wrong += chosen.established
    assert wrong <= 6


def test_the_bound_decides_and_the_margin_is_the_runs_own():
    table = pruned({("wanda", "all"): 0.0}, n=240)
    for allowed, chosen in ((0.01, "dense"), (0.02, "wanda")):
        found = claims({"pruned": table, "masks": pl.DataFrame({"max_loss": [allowed]})})
        [one] = of_kind(found, "recommended")
        assert one.about == chosen
        [kept] = of_kind(found, "kept")
        assert kept.established is (kept.high <= 100 * allowed)
        assert kept.control_effect == 100 * allowed
    [needed] = of_kind(found, "needed")
    assert needed.effect == 189  # 1.96^2 x 0.98 / 0.02


def test_questions_on_one_image_count_as_one():
    table = pruned({("wanda", "all"): 0.1, ("magnitude", "none"): 0.2}, per=6)
    inputs = {"example_id": [f"e{k:04}" for k in range(240)], "input": [f"i{k // 6}" for k in range(240)]}
    together, alone = (
        of_kind(claims({"pruned": table} | more), "loss")[0] for more in ({"examples": pl.DataFrame(inputs)}, {})
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert (together.inputs, alone.inputs, together.n) == (40, 240, 240)


def test_p_and_interval_agree():
    for seed in range(10):
        lost = {("wanda", "all"): 0.1, ("magnitude", "none"): 0.16, ("random", "none"): 0.3}
        for one in claims({"pruned": pruned(lost, n=120, seed=seed)}):
            if one.kind in ("loss", "method"):
                assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)


def test_frames_alone_suffice_and_what_is_missing_is_named():
    frame = chiasm.claims("prune", {"pruned": pruned({("wanda", "all"): 0.1})}, seed=3)
    assert frame.equals(chiasm.claims("prune", {"pruned": pruned({("wanda", "all"): 0.1})}, seed=3))
    with pytest.raises(ChiasmError, match="needs the table `pruned`"):
        chiasm.claims("prune", {})


def test_ablations_are_compared_with_chance_and_with_each_other():
    names = ("ablate-common", "ablate-first", "ablate-second", "ablate-random")
    table = pruned({("wanda", "all"): 0.0, **{(name, "modalities"): 0.4 * (name == names[0]) for name in names}})
    found = claims({"pruned": table})
    held = {(one.about, one.control) for one in of_kind(found, "ablation") if one.established}
    assert held == {(names[0], names[3]), (names[0], names[1]), (names[0], names[2])}
    [text] = [one.text for one in prune_findings(found) if "Kept weights" in one.text]
    assert "weights that both masks keep leave fewer right answers than as many at random, by -" in text
    assert "any other difference" in text
