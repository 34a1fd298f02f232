"""Sentences and figures of a pruning run say what was planted in its tables."""

import numpy as np
import polars as pl
import pytest
from tests.support import charts

from chiasm.core.claims import Claim, of_kind
from chiasm.results.charts.files import specification
from chiasm.results.charts.theme import SCREEN
from chiasm.results.series import with_inputs
from chiasm.results.tables import conform
from chiasm.studies.prune.charts import masks_chart, transfer_chart
from chiasm.studies.prune.claims import claims
from chiasm.studies.prune.findings import prune_findings
from chiasm.studies.prune.headline import prune_advice
from chiasm.studies.prune.scores import KEYS, Answers, Level, mask_rows
from chiasm.studies.prune.tables import DENSE, MASKS, MASKS_CONTROLS, PRUNED, PRUNED_CONTROLS, SIZES

TYPES = ("colour", "shape")
N = 80


def rows(mask, calibration, sparsity, share, part="all", pattern="unstructured", seed=0, n=N):
    """`share` of each type right: a number, or one for each type. Wrong answers are spread at random."""
    rng = np.random.default_rng([seed, len(mask), len(calibration), round(100 * sparsity)])
    shares = share if isinstance(share, dict) else dict.fromkeys(TYPES, share)
    right = {name: rng.permutation(np.arange(n // 2) < round(s * n / 2)) for name, s in shares.items()}
    return [
        {
            "example_id": f"e{k}",
            "type": TYPES[k % 2],
            "mask": mask,
            "calibration": calibration,
            "sparsity": sparsity,
            "pattern": pattern,
            "part": part,
            "answer": "red" if k % 4 < 2 else "blue",
            "written": "red",
            "generated": "red",
            "correct": bool(right[TYPES[k % 2]][k // 2]),
            "logprob": -0.5,
            "tokens": 2,
        }
        for k in range(n)
    ]


def table(*parts):
    return conform(PRUNED, pl.DataFrame([row for part in parts for row in part]))


def dense(share=0.95):
    return rows("dense", "none", 0.0, share, part="none", pattern="none")


def texts(pruned, controls=None, max_loss=0.02):
    tables = {"pruned": pruned, "masks": pl.DataFrame({"max_loss": [max_loss]})}
    if controls is not None:
        tables["pruned_controls"] = controls
    return [finding.text for finding in prune_findings(claims(tables), types=len(TYPES))]


def level(sparsity, wanda=0.95, magnitude=0.6, random=0.2, own=0.9, other=0.9):
    by_type = [rows("wanda", t, sparsity, {t: own, **{o: other for o in TYPES if o != t}}) for t in TYPES]
    return [
        rows("wanda", "all", sparsity, wanda),
        rows("magnitude-row", "none", sparsity, magnitude),
        rows("random", "none", sparsity, random),
        *by_type,
        rows("intersection", "types", sparsity, wanda, seed=1),
        rows("wanda", "image tokens", sparsity, wanda, seed=2),
        rows("wanda", "text tokens", sparsity, wanda, seed=3),
    ]


def alike(mask, calibration, sparsity, n=N):
    """The very answers of `dense`."""
    shape = {"mask": mask, "calibration": calibration, "sparsity": sparsity, "pattern": "unstructured", "part": "all"}
    return [row | shape for row in rows("dense", "none", 0.0, 0.95, n=n)]


def test_the_sparsity_that_keeps_the_loss_allowed_is_recommended():
    n = 400
    wanda = [alike("wanda", "all", 0.3, n), alike("wanda", "all", 0.5, n), rows("wanda", "all", 0.7, 0.4, n=n)]
    untouched = rows("dense", "none", 0.0, 0.95, part="none", pattern="none", n=n)
    first, second, *_ = texts(table(untouched, *wanda), max_loss=0.02)
    assert first.startswith(
        "Wanda at 50 % of the weights is recommended, the most that is established to keep within a loss of 2 points "
        "of right answers: whether right answers are lost is not established, the loss is +0.0 points (95 % interval "
    )
    assert "Untouched, the model is right in 95.0 %" in first
    assert "Bounds hold for all 3 levels" in first
    assert "at 70 % it loses 55.0 points" in second


def test_on_few_inputs_nothing_is_recommended_though_nothing_was_lost():
    first = texts(table(dense(), alike("wanda", "all", 0.3), alike("wanda", "all", 0.5)))[0]
    assert first.startswith(
        "No mask is recommended: at none of 2 levels is Wanda established to keep within a loss of 2"
    )
    assert "whether right answers are lost is not established, the loss is " in first
    assert "this is known only from 247 inputs on (here 80)" in first


def test_a_loss_at_once_is_told():
    first, second, *_ = texts(table(dense(), *level(0.3, wanda=0.5), *level(0.5)))
    assert first.startswith("No mask is recommended")
    assert "at 30 % it loses 45.0 points (95 % interval 3" in second


def test_a_negative_loss_is_a_gain():
    second = texts(table(dense(0.5), *level(0.3, wanda=0.95)))[1]
    assert "at 30 % it gains 45.0 points (95 % interval 3" in second


def test_a_model_that_knows_nothing_has_little_to_lose():
    first = texts(table(dense(0.5), *level(0.3, wanda=0.5)))[0]
    assert "not established to be more than the 50 % of the most frequent answer: there is little to lose" in first


def test_baselines_stand_at_the_same_sparsity():
    [told] = [
        text
        for text in texts(table(dense(), *level(0.3, magnitude=0.95), *level(0.5, magnitude=0.6)))
        if text.startswith("Against other masks")
    ]
    assert "Wanda keeps more right answers than magnitude per row at 50 % (+35.0 points" in told
    assert "Wanda keeps more right answers than weights at random (one draw) at 30 % (+75.0 points" in told


@pytest.mark.parametrize(("own", "other"), [(0.95, 0.4), (0.9, 0.9)])
def test_two_masks_cannot_show_that_the_type_matters(own, other):
    found = texts(table(dense(), *level(0.5, own=own, other=other)))
    [told] = [text for text in found if "own less others" in text]
    assert told.startswith("That the type that a mask is calibrated on matters is not established")
    assert told.endswith("So few masks cannot show more.")
    if own > other:
        assert "own less others is +55 points" in told
        assert "p = 1," in told


def by_six_types(share):
    """Masks of six types on twenty questions of each; `share(mask, type)` of them right."""
    names = tuple("abcdef")
    found = []
    for mask, calibration in (("dense", "none"), ("wanda", "all"), *(("wanda", name) for name in names)):
        for name in names:
            right = 20 if calibration not in names else round(20 * share(calibration, name))
            for k in range(20):
                [row] = rows(mask, calibration, 0.0 if mask == "dense" else 0.5, 1.0, n=2)[:1]
                found.append(row | {"example_id": f"{name}{k}", "type": name, "correct": k < right})
    return table(found)


def test_masks_of_types_are_handed_to_the_types_at_random():
    level = Level(0.5, "unstructured", "all")
    fitting = by_six_types(lambda mask, name: 0.9 if mask == name else 0.4)
    pairing = Answers(fitting).pairing(level, 0)
    assert pairing.p == pytest.approx(1 / 720)
    assert 0 < pairing.reach < 50
    assert any(text.startswith("Masks do not serve all question types alike") for text in texts(fitting))
    # Each mask is bad at one type, the last at its own: on these examples own masks lose, by the luck of the pairing.
    unlucky = by_six_types(lambda mask, name: 0.0 if name == "f" and mask in "ef" else 0.9)
    pairing = Answers(unlucky).pairing(level, 0)
    assert pairing.p == pytest.approx(1 / 3)
    [one] = of_kind(claims({"pruned": unlucky}), "own-type")
    assert one.high < 0, "the examples say that these masks differ"
    assert one.verdict == "not established"
    assert one.p <= 0.05  # of the interval beside it
    assert one.control_effect == pytest.approx(pairing.reach)
    [handed] = of_kind(claims({"pruned": unlucky}), "own-type-control")
    assert handed.p == pytest.approx(1 / 3)
    assert handed.low < 0 <= handed.high
    assert handed.verdict == "not established"
    [handed] = of_kind(claims({"pruned": fitting}), "own-type-control")
    assert handed.p <= 0.05
    assert handed.low > 0
    [told] = [text for text in texts(unlucky) if "own less others" in text]
    assert told.startswith("That the type that a mask is calibrated on matters is not established")


def test_the_twin():
    control = [row | {"control": "twin"} for row in [*dense(0.05), *rows("wanda", "all", 0.5, 0.05)]]
    found = texts(table(dense(), *level(0.5)), conform(PRUNED_CONTROLS, pl.DataFrame(control)))
    assert any(
        "A model with random weights, right in 5.0 % (95 % interval " in text and "has no established loss" in text
        for text in found
    )


def test_a_control_that_cannot_lose_is_none():
    control = [row | {"control": "twin"} for row in [*dense(0.0), *rows("wanda", "all", 0.5, 0.0)]]
    tables = {"pruned": table(dense(), *level(0.5)), "pruned_controls": conform(PRUNED_CONTROLS, pl.DataFrame(control))}
    found = claims(tables)
    assert not of_kind(found, "baseline")
    assert any("has nothing to lose under a mask, and so is no control" in one.text for one in prune_findings(found))


def test_a_mask_that_zeroes_nothing_is_the_model_itself():
    found = claims({"pruned": table(dense(), rows("wanda", "all", 0.0, 0.95), *level(0.5))})
    assert {one.where for one in of_kind(found, "loss")} == {"50 %"}


def test_the_first_finding_says_what_a_mask_leaves_out():
    n = 400
    untouched = rows("dense", "none", 0.0, 0.95, part="none", pattern="none", n=n)
    sizes = {"sparsity": 0.5, "pattern": "unstructured", "part": "all", "weights": 1000, "zeroed": 500}
    sizes |= {"parameters": 2000, "bytes": 8000, "bytes_saved": 1875, "operations_share": 0.45}
    tables = {"pruned": table(untouched, alike("wanda", "all", 0.5, n)), "sizes": conform(SIZES, [sizes])}
    found = claims(tables | {"masks": pl.DataFrame({"max_loss": [0.02]})})
    first = prune_findings(found)[0].text
    assert "A mask there zeroes 500 of the model's 2,000 weights: 23 % fewer bytes (of 8,000)" in first
    assert "45 % of a token's products with the decoder's weights are with 0" in first
    assert {one.unit for one in found if one.kind.startswith("saved")} == {"weights", "bytes", "%"}


def test_what_is_not_established_comes_last_by_its_size():
    pruned = table(dense(), *level(0.5, magnitude=0.95, random=0.95))
    ranked = prune_findings(claims({"pruned": pruned}), types=len(TYPES))
    against = next(one for one in ranked if one.text.startswith("Against other masks"))
    assert against.strength < 10
    assert ranked[0].strength == 100
    assert [one.strength for one in ranked] == sorted((one.strength for one in ranked), reverse=True)


def test_a_bare_run_still_has_findings():
    assert len(texts(table(dense(), rows("wanda", "all", 0.5, 0.9)))) == 2


def test_scores_of_masks():
    masks = mask_rows(table(dense(), rows("wanda", "all", 0.5, {"colour": 1.0, "shape": 0.5})))
    found = {(row["mask"], row["evaluation"]): row for row in masks}
    assert set(found) == {(m, e) for m in ("dense", "wanda") for e in ("all", *TYPES)}
    assert found["wanda", "colour"]["score"] == 1
    assert found["wanda", "shape"]["score"] == 0.5
    assert found["wanda", "all"]["score"] == 0.75
    assert found["wanda", "all"]["n"] == N
    assert found["wanda", "all"]["perplexity"] == pytest.approx(np.exp(0.25))


def test_one_example_has_no_interval():
    (row,) = mask_rows(table(rows("wanda", "all", 0.5, 1.0, n=2)).head(1))
    assert (row["perplexity_low"], row["perplexity_high"]) == (None, None)


def masks_of(*parts):
    return conform(MASKS, pl.DataFrame(mask_rows(table(*parts)), infer_schema_length=None))


@pytest.mark.parametrize("value", ["score", "perplexity"])
def test_curves_hold_every_mask_and_its_control(value):
    ffn = [row | {"part": "ffn"} for row in rows("wanda", "all", 0.3, 0.9)]
    shaped = [row | {"pattern": "2:4"} for row in rows("wanda", "all", 0.5, 0.9)]
    masks = masks_of(dense(), *level(0.3), *level(0.7), ffn, shaped)
    twin = [row | {"control": "twin"} for row in rows("wanda", "all", 0.3, 0.1)]
    controls = conform(MASKS_CONTROLS, pl.DataFrame(mask_rows(pl.DataFrame(twin), (*KEYS, "control"))))
    chart = masks_chart(masks, controls, SCREEN, value=value)
    drawn = charts.rows(chart, "row", "mark")
    assert drawn["panel"].unique(maintain_order=True).to_list() == ["30 % zeroed", "2:4 zeroed", "70 % zeroed"]
    assert drawn.filter(panel="30 % zeroed")["row"].to_list() == [
        "untouched",
        "Wanda",
        "Wanda, ffn only",
        "magnitude per row",
        "intersection of types",
        "random weights zeroed",
        "Wanda on random weights",
    ]
    assert "n = 80" in specification(chart)["title"]["subtitle"][0]


def test_the_map_has_a_cell_for_every_mask_and_type():
    masks = masks_of(dense(), *level(0.3), *level(0.5, own=1.0, other=0.5))
    cells = charts.rows(transfer_chart(masks, SCREEN, sparsity=0.5, pattern="unstructured"), "row", "column")
    assert cells["row"].unique(maintain_order=True).to_list() == [
        "colour",
        "shape",
        "all types",
        "intersection",
        "random mask (control)",
        "untouched",
    ]
    assert cells.height == 12
    assert cells["value"].to_list()[:4] == [100, 50, 50, 100]


def test_questions_on_one_image_are_fewer_draws():
    pruned = table(dense(), *level(0.5))
    # What goes wrong goes wrong on one image.
    own = pruned.filter(pl.col("mask") == "dense")
    together = own.select("example_id", input=pl.when("correct").then("example_id").otherwise(pl.lit("image")))
    alone, few = (
        pl.DataFrame(mask_rows(t)).filter(pl.col("evaluation") == "all", pl.col("mask") == "dense").row(0, named=True)
        for t in (pruned, with_inputs(pruned, together))
    )
    assert alone["score"] == few["score"]
    assert few["high"] - few["low"] > alone["high"] - alone["low"]
    one = mask_rows(pruned.with_columns(input=pl.lit("image")))[0]
    assert (one["low"], one["high"], one["perplexity_low"]) == (None, None, None)
    alone = texts(pruned.with_columns(input=pl.lit("image")))
    assert any("no interval" in text for text in alone)
    assert alone[0].startswith("No mask is recommended")


def test_the_advice_says_how_many_inputs_would_decide():
    shared = {"n": 40, "inputs": 40, "unit": "", "quantity": "q", "verdict": "not established"}
    none = Claim(kind="recommended", about=DENSE, effect=0.0, **shared)
    needed = Claim(kind="needed", about="a mask", effect=568.0, **shared)
    [text] = prune_advice([none, needed])
    assert text.startswith("Leave the model as it is for now. To show")
    assert "takes 568 inputs, and 40 judged here: ask for more with --limit" in text
    [use] = prune_advice([Claim(kind="recommended", about="wanda", where="50 %", effect=50.0, **shared)])
    assert use.startswith("Zero 50 % of the weights")
    assert prune_advice([]) == []
