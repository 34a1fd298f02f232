"""Sentences of a flow run: made from its claims, and saying nothing that they do not hold."""

import re

import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import probability
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.judgement import beyond_scale_notes
from chiasm.studies.flow.tables import AVERAGED, SIZE_MATCHED


def _said(tables, layers=8, windows="centred"):
    return flow_findings(claims(tables), layers=layers, windows=windows)


def _about(findings, cut):
    return next(f.text for f in findings if f.text.startswith(f"Cutting {cut}"))


def _controlled(effects):
    still = made.effects(8, tuple(effects["cut"].unique(maintain_order=True)), strength=0, seed=11)
    return {"effects": effects, "controls": still.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))}


def test_planted_ranges_are_said_with_their_numbers():
    tables = {"effects": made.effects(32, made.CUTS, window=9), "controls": made.controls(32, made.CUTS, window=9)}
    tables["answers"] = made.answers(32)
    findings = _said(tables, layers=32)
    text = _about(findings, "image->question")
    (a, b, c, d) = map(int, re.search(r"layers (\d+)-(\d+) and layers (\d+)-(\d+) of 32", text).groups())
    assert a == 0
    assert b < 10 <= c <= 13
    assert 15 <= d <= 20
    assert "For reference, no control: another example's image with nothing cut changes it by -1.45 nat (" in text
    top = next(one for one in claims(tables) if one.about == "image->question" and one.where == "3")
    assert f"most at layer 3: {top.effect:.3g} nat (95 % interval {top.low:.3g} to {top.high:.3g}, p ≤ 0.001, " in text
    assert "n = 48)" in text
    assert "practically nothing at any layer" in _about(findings, "last->last")
    assert [f.strength for f in findings] == sorted((f.strength for f in findings), reverse=True)
    assert any("has an established effect in 3 of 3 question types" in f.text for f in findings)
    forms = next(f.text for f in findings if "capitalised answer leads" in f.text)
    assert re.search(r"from hidden state 2[3-7] on \(uncontrolled\)", forms)


def test_averaged_keys_are_named_beside_the_cut():
    effects = made.effects(8, ("image->question",))
    tables = _controlled(effects)
    averaged = effects.with_columns(control=pl.lit(AVERAGED), sample=pl.lit(0))
    tables["controls"] = pl.concat([tables["controls"], averaged])
    text = _about(_said(tables), "image->question")
    assert "every key holding the mean state of all of them, it changes by -" in text
    assert "(uncontrolled)" in text


def test_every_number_of_a_sentence_stands_in_a_row():
    tables = {"effects": made.effects(), "controls": made.controls(), "answers": made.answers()}
    rows = claims(tables)
    known = {f"{abs(v):.{d}g}" for one in rows for v in (one.effect, one.low, one.high, one.p, one.control_effect)
             if v is not None for d in (2, 3)}  # fmt: skip
    known |= {str(one.n) for one in rows} | {part for one in rows for part in re.findall(r"\d+", one.where)}
    for finding in flow_findings(rows, layers=8):
        if finding.text.startswith("Intervals and p-values hold for"):
            continue  # counts of rows
        said = r"95 % interval|State 0|which leaves \S+ % of the probability|\d+ of \d+ question types|In 95 %"
        text = re.sub(said, "", finding.text)
        text = re.sub(r"layers? [\d, and-]*\d of 8|corrected over layers", "", text)
        for number in re.findall(r"(?<![\w.>])[-+]?(\d+(?:\.\d+)?(?:e-?\d+)?)", text):
            assert number in known or number in {"0", "1"}, (number, finding.text)


def test_what_has_no_control_is_called_uncontrolled_in_the_same_sentence():
    text = _about(_said({"effects": made.effects(8, ("question->last",))}), "question->last")
    assert "lowers" in text
    assert "It is uncontrolled" in text


def test_helping_and_hurting_are_two_things():
    effects = made.effects(8, ("image->question",))
    helps = pl.col("layer") >= 3
    swapped = effects.with_columns(
        logprob_clean=pl.when(helps).then("logprob_cut").otherwise("logprob_clean"),
        logprob_cut=pl.when(helps).then("logprob_clean").otherwise("logprob_cut"),
    )
    text = _about(_said(_controlled(swapped)), "image->question")
    assert re.search(r"lowers .* at layers 0-1 and raises it at layers? 3", text)


@pytest.mark.parametrize(("windows", "said"), [("prefix", "cuts of layers 0 to"), ("suffix", "cuts from layer")])
def test_growing_windows_are_named_by_what_they_cover(windows, said):
    text = _said({"effects": made.effects(8, ("image->question",))}, windows=windows)[0].text
    assert said in text
    assert "window centres" not in text


def test_nothing_is_said_to_be_nothing():
    findings = _said({"effects": made.effects(8, strength=0), "controls": made.controls(8)})
    assert findings[0].text.startswith("No cut has an established effect on the answer's log-probability at any layer")
    assert not any("lowers" in f.text or "raises" in f.text for f in findings)


def test_few_examples_are_called_few():
    findings = _said({"effects": made.effects(8, examples=4)})
    assert "more are needed" in findings[0].text
    assert all("nan" not in f.text for f in _said({"effects": made.effects(8, examples=1, cuts=made.CUTS[:1])}))


def test_questions_on_one_input_have_no_interval():
    effects = made.effects(8, ("image->question",), 20)
    for inputs, said in ((pl.lit("i"), "no interval: too few inputs, n = 20 on 1 input"),
                         (pl.col("example_id").str.slice(-1), "n = 20 on 10 inputs")):  # fmt: skip
        text = " ".join(f.text for f in _said({"effects": effects.with_columns(input=inputs)}))
        assert said in text
        assert "nan" not in text


def test_the_smallest_effect_and_what_was_looked_at_are_said_in_numbers():
    findings = _said({"effects": made.effects(8), "controls": made.controls(8)})
    assert "all 95 % intervals lie within ±0.05 nat, the smallest effect" in _about(findings, "last->last")
    scope = next(f.text for f in findings if f.text.startswith("Intervals and p-values hold"))
    assert "3 cuts x 8 windows of layers at once" in scope


def test_noise_is_told_by_its_percentile_and_what_is_not_named_by_the_threshold():
    effects = made.effects(8)
    noise = effects.select("example_id", "logprob_clean", logprob_noop=pl.col("logprob_clean") + 0.002)
    text = next(f.text for f in _said({"effects": effects, "noise": noise}) if "arithmetic" in f.text)
    assert "In 95 % of examples" in text
    assert "no more than 0.002 nat (n = 48); effects below 0.05 nat" in text
    assert "up to" not in text


def test_a_geometric_mean_is_called_one_beside_the_published_measure():
    effects = made.effects(8, ("question->last",))
    text = _about(_said(_controlled(effects)), "question->last")
    said = r"leaves \d+ % of the probability \(geometric mean; the published measure, the mean relative change: "
    assert re.search(said + r"-\d[\d.]* %, 95 % interval -\d[\d.]* to -\d", text)
    tiny = pl.col("example_id").is_in(["q0000", "q0001"])
    wild = effects.with_columns(change_percent=pl.when(tiny).then(281_322.0).otherwise("change_percent"))
    assert "to above +1000)" in _about(_said(_controlled(wild)), "question->last")


def test_types_are_told_with_their_own_controls_and_that_the_pair_was_picked():
    tables = {"effects": made.effects(32, made.CUTS, window=9), "controls": made.controls(32, made.CUTS, window=9)}
    text = next(f.text for f in _said(tables, layers=32) if "question types" in f.text)
    assert "Type by type, the control (" in text
    assert "the pair was picked, and p allows for it" in text


def test_the_least_p_that_resampling_can_give_is_a_bound():
    assert probability(0.001) == "p ≤ 0.001"
    assert probability(0.0011) == "p = 0.0011"
    assert probability(1.0) == "p = 1"


def test_layers_that_only_a_control_holds_back_are_said():
    """At every layer the control does as much: the effect differs from 0 there, and no sentence may hide that."""
    tables = _controlled(made.effects(8, ("question->last",), window=1))
    first = pl.col("layer") < 4
    own = tables["effects"].with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0)).filter(first)
    rest = tables["controls"].filter(~first).select(own.columns)
    effects = tables["effects"].with_columns(logprob_cut=pl.col("logprob_clean") - 0.5)
    own = own.with_columns(logprob_cut=pl.col("logprob_clean") - 0.5)
    spread = 0.1 * (pl.int_range(pl.len()) % 3 - 1)
    effects = effects.with_columns(logprob_cut=pl.col("logprob_cut") + spread)
    text = _about(_said({"effects": effects, "controls": pl.concat([own, rest])}), "question->last")
    assert "at layers 4-7 of 8" in text
    assert "At layers 0-3 it differs from 0, but is not established to differ from its control." in text


def test_every_strong_effect_is_looked_at_by_type_and_so_many_at_most(monkeypatch):
    """An effect of one type alone, in a layer other than that of the strongest, must not pass for one of all types."""
    tables = _controlled(made.effects(8, ("image->question", "question->last")))
    rows = claims(tables)
    strong = sorted((one for one in of_kind(rows, "effect") if one.established), key=lambda one: -abs(one.effect))
    assert len(strong) > 2
    looked_at = dict.fromkeys((one.about.rpartition(", ")[0], one.where) for one in of_kind(rows, "type"))
    assert list(looked_at) == [(one.about, one.where) for one in strong[:12]]
    monkeypatch.setattr("chiasm.studies.flow.type_claims.MOST", 2)
    assert len({(one.about.rpartition(", ")[0], one.where) for one in of_kind(claims(tables), "type")}) == 2
    said = [text.text for text in _said(tables) if "question types" in text.text]
    assert len(said) == 2


def test_a_cut_that_costs_more_than_another_image_is_said_to_take_more_than_what_is_seen():
    cut = {"kind": "effect", "quantity": "change", "unit": "nat", "n": 50, "where": "0", "verdict": "established"}
    scale = cut | {"kind": "scale", "verdict": "uncontrolled", "where": "all"}
    swap = "another example's image with nothing cut"
    claims = [
        Claim(about="question->last", effect=-9.0, low=-10.0, high=-8.0, **cut),
        Claim(about="image->question", effect=-3.0, low=-4.0, high=-2.0, **cut),
        Claim(about=f"question->last, {swap}", effect=-6.5, low=-7.5, high=-5.5, **scale),
        Claim(about=f"image->question, {swap}", effect=-6.5, low=-7.5, high=-5.5, **scale),
    ]
    [note] = beyond_scale_notes(claims)
    assert note.startswith(
        "question->last at layer 0 costs more (-9 nat (95 % interval -10 to -8, n = 50)) than another"
    )
