"""What is claimed of words, from tables alone: groups beside their controls, and objects that are not there."""

import numpy as np
import polars as pl
import pytest

from chiasm.core.claims import MIN_INPUTS, of_kind
from chiasm.core.statistics.intervals import share_interval
from chiasm.data.answer_words import NOT_THERE, THERE
from chiasm.results.charts.theme import SCREEN
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.wording import listed
from chiasm.studies.flow.tables import BLANK, IMAGE_SWAP, SIZE_MATCHED
from chiasm.studies.flow.word_charts import word_drawings
from chiasm.studies.flow.word_claims import QUANTITY_OF_WORDS, cut_of, group_of, word_claims, words_by_group
from chiasm.studies.flow.word_findings import word_findings, word_notes

LEAST, LAYERS = 0.05, 3
CUT = "image->last+answer"
GROUPS = (THERE, NOT_THERE, "colours", "function words")


def table(n, effect, groups=GROUPS, seed=0, spread=0.1, has=lambda group, k: True, words=2, **columns):
    """`words` words of each group in each of `n` examples: `effect` by (layer, group), noise elsewhere."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {
                "example_id": f"e{k:03}", "type": "t", "word": 10 * at + number, "text": "w", "class": "c",
                "group": group, "tokens": 1, "cut": CUT, "layer": layer, "start": layer, "stop": layer + 1,
                "logprob_clean": -1.0,
                "logprob_cut": -1.0 + effect.get((layer, group), 0.0) + spread * rng.normal(),
            }
            | columns
            for k in range(n)
            for at, group in enumerate(groups)
            if has(group, k)
            for number in range(words)
            for layer in range(LAYERS)
        ]
    )  # fmt: skip


def found_of(claims, kind="word"):
    return {(group_of(one.about), one.where) for one in of_kind(claims, kind) if one.established}


def layers(own, inside):
    return f"layers {listed([one.where for one, here in zip(own, inside, strict=True) if here])}"


def test_a_group_that_depends_on_a_route_is_told_from_those_that_do_not():
    own, free = (
        table(30, {(1, "colours"): -1.0, (2, THERE): 0.5}),
        table(30, {}, seed=1, control=SIZE_MATCHED, sample=0),
    )
    claims = word_claims({"answer_words": own, "answer_words_controls": free}, LEAST, 0)
    assert found_of(claims) == {("colours", "1"), (THERE, "2")}
    assert len(of_kind(claims, "word")) == len(GROUPS) * LAYERS
    (top,) = [one for one in of_kind(claims, "word") if one.where == "1" and group_of(one.about) == "colours"]
    assert (top.quantity, top.n, top.control, cut_of(top.about)) == (QUANTITY_OF_WORDS, 30, SIZE_MATCHED, CUT)
    assert top.effect == pytest.approx(-1.0, abs=0.1)
    assert {one.about for one in of_kind(claims, "word-beyond")} == {f"{CUT}, colours", f"{CUT}, {THERE}"}
    texts = [one.text for one in word_findings(claims, layers)]
    assert "Colours lose at layers 1" in texts[0]
    assert "Objects that are there gain at layers 2" in texts[0]
    assert "function words" in texts[0].partition("Practically nothing")[2] + texts[0].partition("Not established")[2]


@pytest.mark.parametrize("control", [SIZE_MATCHED, BLANK, RANDOM_WEIGHTS])
def test_what_a_control_does_as_well_is_not_established(control):
    own = table(30, {(1, "colours"): -1.0})
    alike = table(30, {(1, "colours"): -1.0}, seed=1, control=control, sample=0)
    claims = word_claims({"answer_words": own, "answer_words_controls": alike}, LEAST, 0)
    assert found_of(claims) == set()
    assert any(one.control == control for one in of_kind(claims, "word-beyond"))


def test_the_bound_of_one_more_random_model_holds_for_all_cuts_at_once():
    """A group of words may be named under any cut: each is an occasion to go beyond models with random weights."""

    def judged(cuts):
        beside = [
            table(40, {(1, "colours"): -0.2 * (k + 1)}, cut=cut, seed=k, control=RANDOM_WEIGHTS, sample=k).filter(
                pl.col("example_id").str.slice(1).cast(pl.Int64) % 5 == k
            )
            for cut in cuts
            for k in range(5)
        ]
        own = pl.concat([table(40, {(1, "colours"): -1.75}, cut=cut) for cut in cuts])
        claims = word_claims({"answer_words": own, "answer_words_controls": pl.concat(beside)}, LEAST, 0)
        reach = next(one for one in of_kind(claims, "word-reach") if cut_of(one.about) == CUT)
        return reach.effect, ("colours", "1") in found_of(claims)

    alone, found = judged([CUT])
    together, found_together = judged([CUT, "question->last+answer", "answer->answer"])
    assert alone < 1.75 < together
    assert found
    assert not found_together


def test_without_a_control_it_is_called_uncontrolled():
    claims = word_claims({"answer_words": table(30, {(1, "colours"): -1.0})}, LEAST, 0)
    assert {one.verdict for one in of_kind(claims, "word") if one.where == "1"} >= {"uncontrolled"}
    assert "uncontrolled" in word_findings(claims, layers)[0].text


def test_every_example_weighs_the_same_however_much_it_says():
    short, long = table(10, {(0, "colours"): -2.0}, ("colours",), spread=0.0), table(10, {}, ("colours",), words=50)
    long = long.with_columns(example_id=pl.format("l{}", "example_id"), logprob_cut=pl.lit(-1.0))
    claims = word_claims({"answer_words": pl.concat([short, long])}, LEAST, 0)
    assert [one.effect for one in of_kind(claims, "word") if one.where == "0"] == [pytest.approx(-1.0)]
    (count,) = of_kind(claims, "word-count")
    assert (count.effect, count.n) == (20 + 500, 20)


def test_groups_of_few_inputs_are_counted_and_nothing_is_said_of_them():
    """Questions on one image are one input."""
    own = table(40, {(1, NOT_THERE): -3.0}, has=lambda group, k: group != NOT_THERE or k < 20)
    inputs = pl.DataFrame({"example_id": [f"e{k:03}" for k in range(40)], "input": [f"i{k % 7}" for k in range(40)]})
    few = word_claims({"answer_words": own, "examples": inputs}, LEAST, 0)
    assert {one.kind for one in few} == {"word-count"}
    many = inputs.with_columns(input=pl.Series([f"i{k % 7 if k < 20 else k}" for k in range(40)]))
    claims = word_claims({"answer_words": own, "examples": many}, LEAST, 0)
    assert NOT_THERE not in {group_of(one.about) for one in of_kind(claims, "word")}
    assert not of_kind(claims, "word-contrast")
    texts = " ".join(one.text for one in word_findings(claims, layers))
    assert f"too few to compare (both are needed in {MIN_INPUTS} inputs)" in texts
    assert (
        f"Too few to say anything of, as fewer than {MIN_INPUTS} inputs have them: {NOT_THERE} (40 words in 20" in texts
    )


def some(group, k):
    """Both in a third of the inputs, one of them in the others."""
    return group not in (THERE, NOT_THERE) or k % 3 == 0 or (k % 3 == 1) == (group == THERE)


def test_objects_that_are_not_there_beside_those_that_are():
    own = table(60, {(1, THERE): -1.5, (1, NOT_THERE): -0.3}, has=some)
    free = table(60, {}, seed=1, has=some, control=SIZE_MATCHED, sample=0)
    claims = word_claims({"answer_words": own, "answer_words_controls": free}, LEAST, 0)
    contrast = {one.where: one for one in of_kind(claims, "word-contrast")}
    assert [where for where, one in contrast.items() if one.established] == ["1"]
    top = contrast["1"]
    assert (top.about, top.control) == (f"{CUT}, {NOT_THERE} against {THERE}", THERE)
    assert top.effect == pytest.approx(1.2, abs=0.1)
    assert top.control_effect == pytest.approx(-1.5, abs=0.1)
    assert top.low < 1.2 < top.high
    assert top.p <= 0.01
    assert top.n == 40
    (beyond,) = of_kind(claims, "word-contrast-beyond")
    assert (beyond.control, beyond.effect) == (SIZE_MATCHED, pytest.approx(1.2, abs=0.1))
    assert any("costs them less at layers 1" in one.text for one in word_findings(claims, layers))


def test_a_difference_that_a_control_shows_as_well_is_not_established():
    effect = {(1, THERE): -1.5, (1, NOT_THERE): -0.3}
    beside = table(60, effect, seed=1, has=some, control=BLANK, sample=0)
    claims = word_claims({"answer_words": table(60, effect, has=some), "answer_words_controls": beside}, LEAST, 0)
    assert not [one for one in of_kind(claims, "word-contrast") if one.established]
    assert any("are not established to differ" in one.text for one in word_findings(claims, layers))


def test_false_differences_are_rare():
    """Over tables without any, as many words as a short run has; values as skewed as changes of log-probabilities."""
    rng = np.random.default_rng(0)
    wrong, runs = [], 60
    for seed in range(runs):
        has = {(group, k): rng.random() < 0.5 for group in (THERE, NOT_THERE) for k in range(30)}
        own = table(30, {}, (THERE, NOT_THERE), seed, has=lambda group, k, has=has: has[group, k])
        skewed = 1 - np.exp(pl.col("logprob_cut") * 4 + 4)
        claims = word_claims({"answer_words": own.with_columns(logprob_cut=skewed - 1)}, LEAST, seed)
        wrong.append(any(one.found for one in of_kind(claims, "word-contrast")))
    assert share_interval(np.array(wrong)).low <= 0.05
    assert sum(wrong) <= 8


def test_another_image_is_a_scale_and_no_control():
    swap = table(30, {(k, "colours"): -2.0 for k in range(LAYERS)}, spread=0.0, control=IMAGE_SWAP, sample=0)
    claims = word_claims({"answer_words": table(30, {}), "answer_words_controls": swap}, LEAST, 0)
    scales = {group_of(one.about): one.effect for one in of_kind(claims, "word-scale")}
    assert scales["colours"] == pytest.approx(-2.0)
    assert scales["function words"] == 0
    assert {one.control for one in of_kind(claims, "word")} == {None}
    assert any("another example's image with nothing cut" in one.text for one in word_findings(claims, layers))


def test_no_words_no_claims_and_notes_say_what_groups_are():
    assert word_claims({}, LEAST, 0) == []
    assert word_findings([], layers) == word_notes([]) == []
    claims = word_claims({"answer_words": table(9, {})}, LEAST, 0)
    assert "no parts of speech are guessed" in word_notes(claims)[0]
    assert "CHAIR" in word_notes(claims)[-1]
    assert len(word_notes(word_claims({"answer_words": table(9, {}, ("colours",))}, LEAST, 0))) == 2


def test_the_chart_has_a_panel_for_each_cut_and_a_line_for_each_group():
    own, beside = table(12, {(1, "colours"): -1.0}), table(12, {}, seed=1, control=BLANK, sample=0)
    more = [frame.with_columns(cut=pl.lit("answer->answer")) for frame in (own, beside)]
    tables = {
        "answer_words": pl.concat([own, more[0]]),
        "answer_words_controls": pl.concat([beside, more[1]]),
    }
    claims = word_claims(tables, LEAST, 0)
    rows, controls = (words_by_group(tables, name) for name in tables)
    drawn = word_drawings(rows, controls, claims, 0.0)
    assert list(drawn) == ["answer-words"]
    spec = drawn["answer-words"].draw(size=SCREEN).to_dict()
    (data,) = spec["datasets"].values()
    assert {row["panel"] for row in data} == {"image → last+answer", "answer → answer"}
    assert {row["label"] for row in data} == set(GROUPS)
    assert {row["role"] for row in data} == {"measured", "the same cut on a blank image"}
    held = {(one.about, one.where): one for one in of_kind(claims, "word")}
    for row in data:
        if row["role"] == "measured":
            cut = row["panel"].replace(" → ", "->")
            one = held[f"{cut}, {row['label']}", str(int(row["x"]))]
            assert row["y"] == pytest.approx(100 * np.exp(one.effect), rel=1e-3)
            assert row["low"] == pytest.approx(100 * np.exp(one.low), rel=1e-3)
    assert "n = 12" in drawn["answer-words"].caption()
    assert word_drawings(None, None, claims, 0.0) == word_drawings(rows, controls, [], 0.0) == {}
