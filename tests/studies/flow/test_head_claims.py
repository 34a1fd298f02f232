"""What is claimed of single heads, from tables alone: choice on one half, judgement on the other, controls."""

import numpy as np
import polars as pl
import pytest

from chiasm.core.claims import of_kind
from chiasm.results.charts.theme import SCREEN
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.head_charts import CONFIRMED, head_caption, head_maps
from chiasm.studies.flow.head_claims import CHOSEN, MIN_INPUTS_TO_SPLIT, cut_of, head_claims
from chiasm.studies.flow.head_findings import head_findings
from chiasm.studies.flow.tables import OTHER_HEADS, SIZE_MATCHED

LEAST, HEADS, LAYERS = 0.05, 6, 3
CUT = "image->last@heads=all"


def table(n, effect, cut=CUT, seed=0, spread=0.1, **columns):
    """Rows of `n` examples: `effect` by (layer, head), noise elsewhere."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {
                "example_id": f"e{i:03}", "type": "t", "cut": cut, "layer": layer, "head": head, "kind": "edges",
                "logprob_clean": -1.0, "heads": str(head),
                "logprob_cut": -1.0 + effect.get((layer, head), 0.0) + spread * rng.normal(),
            }
            | columns
            for i in range(n)
            for layer in range(LAYERS)
            for head in range(HEADS)
        ]
    )  # fmt: skip


def found_of(claims, kind):
    return [(one.about.rpartition(" ")[2], one.where) for one in of_kind(claims, kind) if one.established]


def test_a_head_is_chosen_on_one_half_and_confirmed_on_the_other():
    claims = head_claims({"heads": table(40, {(1, 4): -1.0, (2, 0): 0.6})}, LEAST, 0)
    assert sorted(found_of(claims, "head")) == sorted(found_of(claims, "head-held-out")) == [("0", "2"), ("4", "1")]
    assert len(of_kind(claims, "head")) == LAYERS * HEADS
    assert len(of_kind(claims, "head-held-out")) <= CHOSEN
    assert {one.n for one in of_kind(claims, "head-held-out")} == {20}
    top = of_kind(claims, "head-held-out")[0]
    assert (top.control, cut_of(top.about)) == (OTHER_HEADS, CUT)
    (text, _), *_ = [(one.text, one) for one in head_findings(claims)]
    assert "2 do so on the other half too: head 4 of layer 1 and head 0 of layer 2" in text


def test_an_effect_of_the_choosing_half_alone_is_not_confirmed():
    rows = table(40, {})
    # The examples that choose are every other one.
    lucky = (pl.col("example_id").str.slice(1).cast(pl.Int64) % 2 == 0) & (pl.col("layer") == 0) & (pl.col("head") == 2)
    rows = rows.with_columns(logprob_cut=pl.when(lucky).then(-2.0).otherwise(pl.col("logprob_cut")))
    claims = head_claims({"heads": rows}, LEAST, 0)
    assert [one.about for one in of_kind(claims, "head-held-out")][:1] == [f"{CUT}, head 2"]
    assert found_of(claims, "head-held-out") == []


def test_all_heads_alike_are_no_heads_that_carry_a_route():
    """Each does as much as the others of its layer: that is a layer, and no head."""
    claims = head_claims({"heads": table(40, {(1, head): -1.0 for head in range(HEADS)})}, LEAST, 0)
    assert found_of(claims, "head") == found_of(claims, "head-held-out") == []
    assert all(one.low > 0 or one.high < 0 for one in of_kind(claims, "head") if one.where == "1")


@pytest.mark.parametrize("control", [SIZE_MATCHED, RANDOM_WEIGHTS])
def test_what_a_control_does_as_well_is_not_established(control):
    heads = table(40, {(1, 4): -1.0})
    alike = table(40, {(1, 4): -1.0}, seed=1, control=control, sample=0)
    free = table(40, {}, seed=1, control=control, sample=0)
    assert found_of(head_claims({"heads": heads, "heads_controls": free}, LEAST, 0), "head") == [("4", "1")]
    claims = head_claims({"heads": heads, "heads_controls": alike}, LEAST, 0)
    assert found_of(claims, "head") == found_of(claims, "head-held-out") == []
    beyond = next(one for one in of_kind(claims, "head-held-out-beyond") if one.where == "1")
    assert (beyond.control, beyond.verdict) == (control, "not established")


def test_one_more_random_model_may_reach_as_far_with_any_of_its_heads():
    heads = table(40, {(1, 4): -1.0})
    # Other heads of other layers than the one in question, from model to model.
    beside = [
        table(40, {(k % LAYERS, k): -1.2}, seed=k, control=RANDOM_WEIGHTS, sample=k).filter(
            pl.col("example_id").str.slice(1).cast(pl.Int64) % 5 == k
        )
        for k in range(5)
    ]
    claims = head_claims({"heads": heads, "heads_controls": pl.concat(beside)}, LEAST, 0)
    assert found_of(claims, "head") == []
    assert min(one.effect for one in of_kind(claims, "head-reach")) > 1.0


def test_the_bound_of_one_more_random_model_holds_for_all_changes_at_once():
    """Six changes of an untrained model are six occasions to go beyond others: two of three passed a bound for each."""

    def judged(cuts):
        beside = [
            table(40, {(1, 0): -0.2 * (k + 1)}, cut=cut, seed=k, control=RANDOM_WEIGHTS, sample=k).filter(
                pl.col("example_id").str.slice(1).cast(pl.Int64) % 5 == k
            )
            for cut in cuts
            for k in range(5)
        ]
        heads = pl.concat([table(40, {(1, 4): -1.75}, cut=cut) for cut in cuts])
        claims = head_claims({"heads": heads, "heads_controls": pl.concat(beside)}, LEAST, 0)
        reach = next(one for one in of_kind(claims, "head-reach") if one.about.startswith(CUT) and one.where == "1")
        return reach.effect, ("4", "1") in found_of(claims, "head")

    alone, found = judged([CUT])
    together, found_together = judged([CUT, "image->question@heads=all", "zero:heads@last"])
    assert alone < 1.75 < together
    assert found
    assert not found_together


def test_few_inputs_choose_nothing():
    rows = table(MIN_INPUTS_TO_SPLIT - 1, {(1, 4): -1.0})
    claims = head_claims({"heads": rows}, LEAST, 0)
    assert not of_kind(claims, "head-held-out")
    assert found_of(claims, "head") == [("4", "1")]
    assert "15 inputs are too few" in head_findings(claims)[0].text


def test_questions_on_one_image_stay_in_one_half():
    rows = table(40, {(1, 4): -1.0})
    ids = sorted(set(rows["example_id"]))
    examples = pl.DataFrame({"example_id": ids, "input": [f"i{k // 2}" for k in range(40)]})
    held_out = of_kind(head_claims({"heads": rows, "examples": examples}, LEAST, 0), "head-held-out")
    assert {(one.n, one.inputs) for one in held_out} == {(20, 10)}


def test_nothing_is_claimed_of_noise():
    wrong = 0
    for seed in range(20):
        heads, beside = table(24, {}, seed=seed), table(24, {}, seed=100 + seed, control=RANDOM_WEIGHTS, sample=0)
        claims = head_claims({"heads": heads, "heads_controls": beside}, LEAST, 0)
        wrong += bool(found_of(claims, "head") or found_of(claims, "head-held-out"))
    assert wrong <= 1


def test_no_table_no_claims():
    assert head_claims({}, LEAST, 0) == []
    assert head_findings([]) == []


def test_the_map_has_a_cell_for_every_head_and_marks_the_confirmed_one():
    rows = pl.concat([table(40, {(1, 4): -1.0}), table(40, {(0, 1): 0.5}, "zero:heads@last", 1, kind="output")])
    claims = head_claims({"heads": rows}, LEAST, 0)
    drawn = head_maps(claims, SCREEN).to_dict()
    cells = [row for data in drawn["datasets"].values() for row in data]
    assert len(cells) == 2 * LAYERS * HEADS
    marked = {(one["panel"], one["row"], one["column"]) for one in cells if one.get("text") == CONFIRMED}
    assert marked == {("edges image → last", "1", "4"), ("output at last", "0", "1")}
    assert "purpleorange" in str(drawn)
    assert "confirmed on the other" in head_caption(claims)
