import re

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.judgement import judge_cut
from chiasm.studies.flow.tables import SIZE_MATCHED


def _about(findings, cut):
    return next(f for f in findings if f.text.startswith(f"Cutting {cut} "))


def test_planted_ranges_are_found_with_their_numbers():
    effects, controls = made.effects(32, made.CUTS, window=9), made.controls(32, made.CUTS, window=9)
    findings = flow_findings(effects, controls, made.answers(32))
    text = _about(findings, "image->question").text
    (a, b, c, d) = map(int, re.search(r"layers (\d+)-(\d+) and layers (\d+)-(\d+) of 32", text).groups())
    assert a == 0
    assert b < 10 <= c <= 13
    assert 15 <= d <= 20
    assert "Another example's image, with nothing cut, changes it by -" in text
    rows = effects.filter((pl.col("cut") == "image->question") & (pl.col("layer") == 3))
    assert f"layer 3 ({rows['change_percent'].mean():.1f} %, 95 % interval " in text
    assert "n = 48" in text
    assert "no layer significantly" in _about(findings, "last->last").text
    assert [f.strength for f in findings] == sorted((f.strength for f in findings), reverse=True)
    types = next(f.text for f in findings if "question types" in f.text)
    assert "has an effect in 3 of 3 question types" in types
    assert not any("question types" in f.text for f in flow_findings(made.effects(8, examples=15)))  # 5 of each
    # image.other->question hurts at the same layers as image->question: which is first cannot be settled.
    assert any("hurts first and which last is not settled" in f.text for f in findings)
    forms = next(f.text for f in findings if "lower-case answer" in f.text)
    assert "at hidden state 21" in forms
    assert "from state 25 on the capitalised form leads" in forms


def test_the_order_of_cuts_is_told_where_resamples_agree():
    effects = made.effects(32, ("image->question", "question->last"), window=9)
    order = next(f.text for f in flow_findings(effects) if "cuts that hurt" in f.text)
    assert order.startswith("Of 2 cuts that hurt, image->question most at layer")
    assert "and question->last most at layer" in order
    assert "in at least 100 % of 2000 resamples" in order


def test_a_layer_where_the_types_differ_is_told_with_its_p():
    effects = made.effects(8, ("image->question",), 60)
    alike = next(f.text for f in flow_findings(effects) if "question types" in f.text)
    assert float(re.search(r"p = ([\d.e-]+) \(types", alike)[1]) > 0.01
    untouched = pl.when(pl.col("type") == "query").then("prob_clean").otherwise("prob_cut")
    changed = effects.with_columns(
        prob_cut=untouched, change_percent=100 * (untouched - pl.col("prob_clean")) / pl.col("prob_clean")
    )
    differing = next(f.text for f in flow_findings(changed) if "question types" in f.text)
    assert "has an effect in 2 of 3 question types" in differing
    assert float(re.search(r"p = ([\d.e-]+) \(types", differing)[1]) < 0.01


def test_questions_on_one_input_have_no_interval_and_no_nan():
    effects = made.effects(8, ("image->question",), 20)
    for inputs, said in ((pl.lit("i"), "no interval from questions on one input, n = 20 on 1 input"),
                         (pl.col("example_id").str.slice(-1), "n = 20 on 10 inputs")):  # fmt: skip
        text = " ".join(f.text for f in flow_findings(effects.with_columns(input=inputs)))
        assert said in text
        assert "nan" not in text


@pytest.mark.parametrize(("windows", "said"), [("prefix", "cuts of layers 0 to"), ("suffix", "cuts from layer")])
def test_growing_windows_are_named_by_what_they_cover(windows, said):
    text = flow_findings(made.effects(8, ("image->question",)), windows=windows)[0].text
    assert said in text
    assert "window centres" not in text


def test_nothing_is_said_to_be_nothing():
    findings = flow_findings(made.effects(8, strength=0), made.controls(8))
    assert len(findings) >= 3
    assert findings[0].text.startswith("No cut changes the answer's probability significantly at any layer (n = 48")
    assert not any("lowers" in f.text or "raises" in f.text for f in findings)


def test_seldom_a_layer_is_named_where_there_is_none():
    cut = made.CUTS[2]
    named = [
        judge_cut(made.effects(8, (cut,), 24, seed=s), made.controls(8, (cut,), 24, seed=100 + s), cut).found
        for s in range(60)
    ]
    assert sum(named) <= 8  # 5 % of 60, and three standard deviations


def test_a_control_that_hurts_is_no_effect_of_the_cut():
    cut = "question->last"
    hurting = made.effects(8, (cut,)).with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    assert not judge_cut(made.effects(8, (cut,), strength=0, seed=5), hurting, cut).found
    assert judge_cut(made.effects(8, (cut,)), None, cut).found
    assert not judge_cut(made.effects(8, (cut,)), hurting, cut).found


def test_helping_is_told_apart_from_hurting():
    effects = made.effects(8, ("image->question",))
    helps = pl.col("layer") >= 3
    swapped = effects.with_columns(
        logprob_clean=pl.when(helps).then("logprob_cut").otherwise("logprob_clean"),
        logprob_cut=pl.when(helps).then("logprob_clean").otherwise("logprob_cut"),
    ).with_columns(
        prob_clean=pl.col("logprob_clean").exp(),
        prob_cut=pl.col("logprob_cut").exp(),
        change_percent=100 * (pl.col("logprob_cut") - pl.col("logprob_clean")).exp() - 100,
    )
    text = _about(flow_findings(swapped), "image->question").text
    assert re.search(r"lowers .* at layers 0-2 of 8 .* and raises .* at layers? 3", text)
    assert "Significant against no change (there is no control)" in text


def test_few_examples_are_called_few():
    findings = flow_findings(made.effects(8, examples=4))
    assert "more are needed" in findings[0].text
    assert len(findings) >= 3
    assert len(flow_findings(made.effects(8, examples=1, cuts=made.CUTS[:1]))) >= 3


def test_effects_within_the_noise_floor_are_not_named():
    effects = made.effects(8)
    noise = effects.filter(pl.col("cut") == "last->last").with_columns(change_percent=pl.lit(20.0))
    findings = flow_findings(effects, noise=noise)
    assert "no layer significantly" in _about(findings, "image->last").text  # -7 % at its largest
    assert "lowers" in _about(findings, "question->last").text
    assert any("by up to 20 %" in f.text for f in findings)
    still = flow_findings(effects, noise=noise.with_columns(change_percent=pl.lit(0.0)))
    assert any("the noise floor is 0 %" in f.text for f in still)


def test_controls_without_common_examples_are_not_used():
    effects, controls = made.effects(8), made.controls(8)
    foreign = controls.with_columns(example_id="other" + pl.col("example_id"))
    assert judge_cut(effects, foreign, "question->last").control is None
    assert judge_cut(effects, controls, "question->last").control == SIZE_MATCHED
    only = controls.filter(pl.col("control") == RANDOM_WEIGHTS)
    assert judge_cut(effects, only, "question->last").control == RANDOM_WEIGHTS


def test_a_control_that_few_examples_have_is_passed_over():
    effects, controls = made.effects(8), made.controls(8)
    few = controls.filter((pl.col("control") != SIZE_MATCHED) | (pl.col("example_id") < "q0010"))
    assert judge_cut(effects, few, "question->last").control == RANDOM_WEIGHTS
    most = controls.filter((pl.col("control") != SIZE_MATCHED) | (pl.col("example_id") < "q0030"))
    result = judge_cut(effects, most, "question->last")
    assert (result.control, result.tested, result.curve.n) == (SIZE_MATCHED, 30, 48)
    text = _about(flow_findings(effects, most), "question->last").text
    assert "its control (as many random keys, which 30 of the examples have)" in text


def test_several_cuts_are_paid_for():
    one = judge_cut(made.effects(8), None, "image->last")
    six = judge_cut(made.effects(8), None, "image->last", cuts=6)
    np.testing.assert_allclose(six.corrected, np.minimum(1, 6 * one.corrected))


def test_order_that_is_not_settled_is_said_not_to_be():
    cuts = ("image.object->question", "image->last")  # planted at 0.45 and 0.55 of the depth: layers 3 and 4 of 8
    flat = made.effects(8, cuts, examples=24)
    mixed = flat.with_columns(
        change_percent=pl.when(pl.col("layer").is_in([3, 4])).then(-20 + 3 * pl.col("logprob_clean")).otherwise(0.0)
    )
    noisy = mixed.with_columns(
        pl.col("change_percent") + pl.Series(np.random.default_rng(0).normal(0, 3, mixed.height))
    )
    text = [f.text for f in flow_findings(noisy) if "order in" in f.text]
    assert all("is not settled" in t for t in text)


@pytest.mark.parametrize("missing", [True, False])
def test_tables_that_cannot_be_averaged_are_refused(missing):
    effects = made.effects(8)
    if missing:
        effects = effects.filter(~((pl.col("example_id") == "q0003") & (pl.col("layer") == 2)))
    else:
        effects = pl.concat([effects, effects.with_columns(pl.col("start") + 1)])
    with pytest.raises(ValueError, match="lack a layer" if missing else "several windows"):
        flow_findings(effects)
