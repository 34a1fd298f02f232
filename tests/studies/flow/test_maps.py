"""What is said of maps over many images: a planted share is found, noise and blank maps are not named."""

import re

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made

import chiasm
from chiasm.core.claims import of_kind
from chiasm.core.schema import TableSchema
from chiasm.results.tables import conform
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.map_findings import map_findings
from chiasm.studies.flow.maps import at_even_steps, by_strength, map_claims, summarised, typical
from chiasm.studies.flow.tables import METHODS, PATCH_VALUES, PATCH_VALUES_CONTROLS

PATCHES, COVERED = 20, 4


def values(
    shown=None, images=40, noise=0.01, on_object=1.0, methods=METHODS, boxes=True, seed=0, size=1.0, half=0.0
) -> pl.DataFrame:
    """Maps of which a share `shown` (by method) has one patch of `size` nat, under a box in a share `on_object`.

    `half`: how far the intervals of Shapley values reach.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for method in methods:
        part = (shown or {}).get(method, 0.0)
        for image in range(images):
            worth = rng.normal(0, noise, PATCHES).clip(-3 * noise, 3 * noise)
            if image < round(part * images):
                under = image < round(part * images * on_object)
                worth[rng.integers(0, COVERED) if under else rng.integers(COVERED, PATCHES)] = size
            for patch, value in enumerate(worth):
                drawn = method == "shapley"
                rows.append(
                    {"example_id": f"q{image:03d}", "type": "query", "patch": patch, "method": method}
                    | {"value": value, "n": 8 if drawn else 1, "answer": "red"}
                    | {"low": value - half if drawn else None, "high": value + half if drawn else None}
                    | {"in_object": patch < COVERED if boxes else None}
                )
    return conform(PATCH_VALUES, rows)


def controls(**given) -> pl.DataFrame:
    given = {"seed": 9} | given
    return as_controls(values(**given))


def as_controls(frame: pl.DataFrame, schema: TableSchema = PATCH_VALUES_CONTROLS) -> pl.DataFrame:
    return conform(schema, frame.with_columns(control=pl.lit("twin"), sample=pl.lit(0)))


def said_of(frame, beside=None, examples=None, smallest=0.1):
    tables = {"patch_values": frame} | ({} if beside is None else {"patch_values_controls": beside})
    return map_claims(tables | ({} if examples is None else {"examples": examples}), smallest=smallest)


def only(found, kind, about):
    (one,) = of_kind(found, kind, about)
    return one


SHOWN = {"leave-one-out": 0.2, "keep-one": 0.9, "shapley": 0.5}


def test_the_share_of_maps_that_show_anything_is_what_was_planted():
    found = said_of(values(SHOWN), controls())
    for method, share in SHOWN.items():
        one = only(found, "map", method)
        assert one.effect == pytest.approx(share)
        assert one.low < share < one.high
        assert (one.n, one.inputs, one.unit) == (40, 40, "1")
        assert one.quantity.endswith("by more than 0.1 nat")
        assert one.control == "twin"
        assert one.control_effect == 0
        assert one.verdict == "established"
        beyond = only(found, "map-beyond", method)
        assert beyond.effect == pytest.approx(share)
        assert beyond.p <= 0.05
        assert beyond.low > 0
        assert beyond.established
    contrast = only(found, "map-methods", "keep-one less leave-one-out")
    assert contrast.effect == pytest.approx(0.7)
    assert contrast.established
    assert contrast.control_effect == pytest.approx(0.2)


def test_noise_below_the_smallest_effect_shows_nothing():
    found = said_of(values(images=120), controls(images=120))
    assert {one.verdict for one in of_kind(found, "map")} == {"practically none"}
    assert all(one.effect == 0 for one in of_kind(found, "map"))
    assert only(said_of(values(SHOWN), smallest=2.0), "map", "keep-one").effect == 0


def test_random_weights_that_reach_as_far_take_the_claim_away():
    strong = controls(shown={"keep-one": 0.05}, size=3.0)
    found = said_of(values(SHOWN), strong)
    kept = only(found, "map", "keep-one")
    assert kept.quantity.endswith("by more than 3 nat")
    assert kept.effect == 0
    assert not kept.found
    assert only(found, "map-reach", "keep-one, random weights").effect == pytest.approx(3.0)
    assert only(found, "map", "leave-one-out").established, "each method has its own controls"
    alike = said_of(values(SHOWN, seed=1), as_controls(values(SHOWN, seed=2)))
    assert not any(one.found for one in of_kind(alike, "map"))


def test_without_random_weights_a_share_is_uncontrolled():
    found = said_of(values(SHOWN))
    assert {one.verdict for one in of_kind(found, "map")} == {"uncontrolled"}
    assert {one.verdict for one in of_kind(found, "map-object")} <= {"uncontrolled", "not established"}
    text = " ".join(one.text for one in map_findings(found))
    assert "uncontrolled: no maps of random-weights models, or a single one, stand beside it" in text


def test_few_images_establish_nothing():
    found = said_of(values({"keep-one": 1.0}, images=6), controls(images=6))
    assert not any(one.found for one in found)


def test_a_shapley_value_whose_interval_takes_in_nothing_is_not_shown():
    sure = only(said_of(values(SHOWN, half=0.5), controls()), "map", "shapley")
    unsure = only(said_of(values(SHOWN, half=1.5), controls()), "map", "shapley")
    assert sure.effect == pytest.approx(0.5)
    assert unsure.effect == 0
    single = values(SHOWN).with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    assert only(said_of(single, controls()), "map", "shapley").effect == 0


def test_questions_on_one_image_count_for_less():
    frame, beside = values({"keep-one": 0.5}, methods=("keep-one",)), controls(methods=("keep-one",))
    ids = frame["example_id"].unique().sort()
    examples = pl.DataFrame({"example_id": ids, "type": "query", "input": [f"image-{k // 4}" for k in range(len(ids))]})
    alone, together = (only(said_of(frame, beside, given), "map", "keep-one") for given in (None, examples))
    assert (alone.inputs, together.inputs) == (40, 10)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert together.effect == alone.effect


def test_the_strongest_patch_against_the_share_of_patches_under_boxes():
    found = said_of(values({"keep-one": 1.0}, on_object=0.75), controls())
    one = only(found, "map-object", "keep-one")
    assert one.effect == pytest.approx(0.75 - COVERED / PATCHES)
    assert one.low < one.effect < one.high
    assert one.established
    assert one.control == "twin"
    boxes = only(found, "map-boxes", "boxes of the objects asked about")
    assert boxes.effect == pytest.approx(COVERED / PATCHES)
    by_chance = said_of(values({"keep-one": 1.0}, on_object=COVERED / PATCHES), controls())
    assert not only(by_chance, "map-object", "keep-one").found
    # Random weights whose strongest patch lies under the boxes as often: their places alone explain it.
    alike = controls(shown={"keep-one": 1.0}, on_object=0.75, size=0.05)
    assert not only(said_of(values({"keep-one": 1.0}, on_object=0.75), alike), "map-object", "keep-one").found


def test_of_equal_patches_the_share_under_boxes_counts_and_none_speaks_for_the_answer_in_a_flat_map():
    flat = values(noise=0.0, images=10)
    assert summarised(flat)["hit"].null_count() == summarised(flat).height
    assert {one.kind for one in said_of(flat)} & {"map-hit", "map-object"} == set()
    assert not any("box" in one.text for one in map_findings(said_of(flat)))
    raised = flat.with_columns(value=pl.lit(0.5))
    assert summarised(raised)["hit"].to_list() == pytest.approx([COVERED / PATCHES] * 30)


def test_a_patch_that_speaks_against_the_answer_is_not_the_one_that_adds_most():
    frame = values({"keep-one": 1.0}, on_object=0.0, noise=0.0)  # a patch off the boxes, in every image
    on_box = (pl.col("patch") == 0) & (pl.col("method") == "keep-one")
    frame = frame.with_columns(value=pl.when(on_box).then(0.2).otherwise(-pl.col("value")))
    hits = only(said_of(frame), "map-hit", "keep-one")
    assert (hits.effect, hits.high) == (1, 1)


@pytest.mark.parametrize("images", [8, 11, 40])
@pytest.mark.parametrize("on_object", [0.0, 0.4, 0.8, 1.0])
def test_a_rate_less_a_share_keeps_within_what_is_possible(images, on_object):
    """A bootstrap of 11 images gave +71 points with an interval from -77 to +185."""
    one = only(said_of(values({"keep-one": 1.0}, images=images, on_object=on_object), None), "map-object", "keep-one")
    chance = COVERED / PATCHES
    assert -chance - 1e-12 <= one.low <= one.effect <= one.high <= 1 - chance + 1e-12
    assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)


def test_hits_are_told_as_so_many_of_so_many_images():
    found = said_of(values({"keep-one": 1.0}, images=20, on_object=0.9), controls(images=20))
    text = next(one.text for one in map_findings(found) if "box" in one.text)
    random = only(found, "map-hit", "keep-one, random weights")
    assert "The patch that adds most to the answer (the largest value above 0) lies in a box" in text
    assert "where boxes cover 20 % of the patches" in text
    assert re.search(r"keep-one in 18 of 20 images \(90 %, 95 % interval \d+ to \d+\)", text)
    assert f"in random-weights models in {round(20 * random.effect)} of 20 images, a difference of " in text
    assert "more often than a patch drawn at random" in text


def test_a_single_map_of_a_random_model_is_no_control():
    """Held against all others it would always stand out: there are no others."""
    found = said_of(values(SHOWN, images=12), controls(images=1))
    assert {one.control for one in of_kind(found, "map")} == {None}
    assert {one.verdict for one in of_kind(found, "map")} <= {"uncontrolled", "not established"}
    assert not of_kind(found, "map-beyond")
    assert "uncontrolled" in map_findings(found)[0].text


def test_methods_are_compared_at_one_threshold_which_is_said():
    # Random weights reach 3 nat where one patch is kept: at 0.1 nat hiding would seem to show more.
    found = said_of(values(SHOWN), controls(shown={"keep-one": 0.05}, size=3.0))
    contrast = only(found, "map-methods", "keep-one less leave-one-out")
    assert contrast.effect == 0
    assert contrast.quantity.endswith("by more than 3 nat")
    text = map_findings(found)[0].text
    assert "Leave-one-out: by more than 0.1 nat, in 8 of 40 images" in text
    assert "Keep-one: by more than 3 nat, the most that any patch of any image does in random-weights models" in text
    assert "each held against all others" in text


def test_without_boxes_nothing_is_said_of_objects():
    found = said_of(values(SHOWN, boxes=False), controls(boxes=False))
    assert {one.kind for one in found} == {"map", "map-beyond", "map-reach", "map-methods"}
    assert not any("box" in one.text for one in map_findings(found))


def test_maps_are_no_part_of_the_claims_of_a_run_without_them():
    assert map_claims({}, smallest=0.1) == []
    assert map_findings([]) == []
    plain = claims({"effects": made.effects()})
    assert not any(one.kind.startswith("map") for one in plain)
    tables = {"effects": made.effects(), "patch_values": values(SHOWN), "patch_values_controls": controls()}
    frame = chiasm.claims("flow", tables)
    assert frame.filter(pl.col("claim").str.starts_with("map-methods")).height == 1
    # A patch must exceed twice the smallest effect worth naming: it has no mean over examples.
    doubled = of_kind(claims(tables, smallest=0.3), "map")
    assert all(one.quantity.endswith("by more than 0.6 nat") for one in doubled)


def test_numbers_in_sentences_are_numbers_of_claims():
    found = said_of(values(SHOWN, on_object=0.8), controls())
    shares = {one.effect for one in found} | {one.control_effect for one in found} | {one.p for one in found}
    shares |= {one.low for one in found} | {one.high for one in found}
    known = {0.0, 0.1, 95.0, 0.0001} | {float(one.n) for one in found}
    known |= {float(round(one.effect * one.n)) for one in found if one.kind in ("map", "map-hit")}
    for one in shares - {None}:
        known |= {round(100 * one), round(abs(100 * one)), float(f"{one:.2g}"), float(f"{abs(one):.2g}")}
    for finding in map_findings(found):
        for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", finding.text):
            assert float(number) in known, (number, finding.text)


def test_the_typical_map_is_the_median_and_reports_step_evenly():
    frame = values(images=9, methods=("keep-one", "leave-one-out"))
    scale = pl.col("example_id").str.slice(1).cast(pl.Float64)
    # The later the example, the weaker where one is hidden and the stronger where one is kept.
    factor = pl.when(pl.col("method") == "leave-one-out").then(10 - scale).otherwise(scale)
    ranked = frame.with_columns(value=factor * (pl.col("patch") == 3))
    assert by_strength(ranked) == [f"q{k:03d}" for k in reversed(range(9))]
    assert typical(ranked) == "q004"
    assert typical(ranked.filter(pl.col("example_id") < "q008")) == "q004", "of two in the middle the weaker"
    assert at_even_steps(ranked, 3) == ["q008", "q004", "q000"]
    assert at_even_steps(ranked, 20) == by_strength(ranked)
