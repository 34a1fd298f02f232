"""Claims on attribution, neurons and concepts from frames alone: planted effects, noise, controls that do the same."""

import numpy as np
import polars as pl
import pytest

from chiasm.studies.inside.claims import claims
from chiasm.studies.inside.findings import findings_of
from chiasm.studies.inside.means import pointing

ABOUT = {"domain": "scenes", "setting": "as given"}


def attributions(n=24, *, energy=0.6, swapped=0.1, sooner=0.2, error=0.01, seed=0, repeats=1):
    rng = np.random.default_rng(seed)
    noise = np.repeat(rng.normal(0, 0.05, (-(-n // repeats), 3)), repeats, axis=0)
    return pl.DataFrame(
        [
            ABOUT
            | {"example_id": str(k), "input": str(k // repeats), "method": "gradient-shap", "error": error}
            | {"object": energy + noise[k, 0], "area": 0.1, "object_swapped": swapped + noise[k, 1] / 2}
            | {"deletion": 0.4 - sooner + noise[k, 2], "deletion_random": 0.4}
            | {"insertion": 0.4 + sooner + noise[k, 2], "insertion_random": 0.4}
            for k in range(n)
        ]
    )


def of(found, kind):
    return [one for one in found if one.kind == kind]


def test_pointing_that_was_planted_is_found_beyond_its_controls():
    found = claims({"attributions": attributions()})
    [one] = of(found, "pointing")
    assert one.verdict == "established"
    assert (one.effect, one.control_effect) == (pytest.approx(50, abs=3), pytest.approx(0, abs=2))
    assert float(pointing(attributions(), "gradient-shap").area.mean) == pytest.approx(10)
    assert [c.verdict for kind in ("deletion", "insertion") for c in of(found, kind)] == ["established"] * 2
    assert "points (95 % interval +4" in findings_of(of(found, "pointing"))[0].text


def test_maps_of_other_examples_that_point_alike_block_it():
    [one] = of(claims({"attributions": attributions(swapped=0.6)}), "pointing")
    assert one.verdict == "not established"
    assert one.control_effect == pytest.approx(50, abs=3)
    alone = attributions().with_columns(object_swapped=pl.lit(None, pl.Float64))
    assert [c.verdict for c in of(claims({"attributions": alone}), "pointing")] == ["uncontrolled"]


def test_maps_that_do_not_add_up_are_withheld_and_counted():
    half = pl.concat([attributions(12), attributions(12, error=0.3, energy=0.0, seed=1)])
    half = half.with_columns(
        example_id=pl.Series([str(k) for k in range(24)]), input=pl.Series([str(k) for k in range(24)])
    )
    found = claims({"attributions": half})
    assert of(found, "pointing")[0].n == 12
    assert of(found, "pointing")[0].effect > 40
    text = findings_of(found)[0].text
    assert "gradient-shap in 12 of 24 maps" in text
    assert "withheld" in text
    none = claims({"attributions": attributions(error=0.3)})
    assert {one.kind for one in none} == {"complete", "error"}


def test_noise_is_claimed_in_few_runs():
    false = 0
    for seed in range(60):
        found = claims({"attributions": attributions(16, energy=0.1, sooner=0.0, seed=seed)})
        false += any(one.established for one in found)
    assert false <= 9  # three kinds, at 5 % each


def test_questions_on_one_image_count_together():
    once, many = (of(claims({"attributions": attributions(24, repeats=k)}), "pointing")[0] for k in (1, 4))
    assert many.high - many.low > 1.5 * (once.high - once.low)
    assert (many.n, many.inputs) == (24, 6)


def ablation(change, random, n=20, seed=0):
    rng = np.random.default_rng(seed)
    row = ABOUT | {"score": "gradient", "group": "", "own": True, "count": 10}
    return pl.DataFrame(
        [
            row
            | {"example_id": str(k), "input": str(k)}
            | {"change": change + rng.normal(0, 0.2), "change_random": random + rng.normal(0, 0.1)}
            for k in range(n)
        ]
    )


def test_neurons_must_do_more_than_random_ones():
    [lost] = claims({"neuron_ablation": ablation(-1.0, -0.1)})
    assert (lost.verdict, lost.effect) == ("established", pytest.approx(-0.9, abs=0.15))
    assert "falls by more than without as many random neurons" in findings_of([lost])[0].text
    [same] = claims({"neuron_ablation": ablation(-1.0, -1.0, seed=2)})
    assert not same.established
    assert "not established" in findings_of([same])[0].text or "practically" in findings_of([same])[0].text


def test_the_image_share_is_judged_by_what_is_found_without_one():
    def rows(blank, seed=0):
        rng = np.random.default_rng(seed)
        share = 0.5 + rng.normal(0, 0.03, 20)
        base = ABOUT | {"method": "kernel-shap"}
        return pl.DataFrame(
            [
                base | {"example_id": str(k), "input": str(k), "share": share[k], "blank": blank + rng.normal(0, 0.01)}
                for k in range(20)
            ]
        )

    assert [one.verdict for one in claims({"modalities": rows(0.2)})] == ["established"]
    assert not claims({"modalities": rows(0.5)})[0].established


def test_concepts_need_a_corrected_p_and_an_interval():
    base = ABOUT | {"concept": "ring", "random": 0.5, "n": 40}
    rows = pl.DataFrame(
        [base | {"layer": k, "value": v, "p": p} for k, (v, p) in enumerate([(0.95, 0.004), (0.6, 0.4)])]
    )
    found = claims({"concepts": rows})
    assert [one.verdict for one in found] == ["established", "not established"]
    assert "ring at layers 0" in findings_of(found)[0].text
    nothing = claims({"concepts": rows.with_columns(p=pl.lit(0.4))})
    assert "none of 1 concepts is established" in findings_of(nothing)[0].text


def test_specific_neurons_against_shuffled_groups():
    base = ABOUT | {"groups": "a, b", "count_random": 10.0, "low_random": 6.0, "high_random": 14.0, "n": 12}
    many, few = (claims({"specific_neurons": pl.DataFrame([base | {"count": c}])})[0] for c in (40, 12))
    assert (many.verdict, many.effect, many.low) == ("established", 30, 26)
    assert few.verdict == "not established"
