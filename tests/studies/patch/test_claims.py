"""Claims of made-up tables whose truth is known; and that nothing is claimed where nothing is."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.studies.patch.patch_tables import tables

import chiasm
from chiasm.core.claims import of_kind
from chiasm.studies.patch.claims import claims
from chiasm.studies.patch.findings import patch_findings
from chiasm.studies.patch.headline import patch_headline

NULLS = ("same-answer", "random-tokens", "shuffled-donor")


def route(span, direction, layer, rng):
    """The image until layer 1, the question in layer 2, the last position in layer 3."""
    there = {"image": layer <= 1, "question": layer == 2, "last": layer == 3}[span]
    return float(there) + rng.normal(0, 0.05)


def nothing(span, direction, layer, rng):
    return rng.normal(0, 0.05)


def found_of(kind, made):
    return {(one.about, one.where) for one in of_kind(claims(made), kind) if one.found}


def carried(*directions):
    layers = {"image": (0, 1), "question": (2,), "last": (3,)}
    return {(f"{span}, {d}", str(k)) for span, of in layers.items() for k in of for d in directions}


def test_a_route_is_found_and_nothing_else():
    made = tables(route, controls=dict.fromkeys(NULLS, nothing), random_gap=0.0)
    assert found_of("recovery", made) == carried("denoise", "noise")
    assert found_of("most", made) == carried("denoise", "noise")
    own = claims(made)
    assert all(one.verdict == "established" for one in of_kind(own, "recovery") if one.found)
    gap = of_kind(own, "gap")[0]
    assert (gap.verdict, gap.n, round(gap.effect, 6)) == ("established", 40, 8.0)
    assert patch_headline(own) == (
        "The image's states carry most of the answer in layers 0 to 1 (in layer 0 they are the other input itself); "
        "the question's states in layer 2; those of the last position in layer 3."
    )


def test_the_public_function_gives_the_same_from_frames_alone():
    made = tables(route, controls=dict.fromkeys(NULLS, nothing))
    frame = chiasm.claims("patch", made)
    assert set(frame.filter(pl.col("claim").str.starts_with("recovery-"))["verdict"]) >= {"established"}


def test_the_difference_to_a_control_counts_the_pairs_that_have_it():
    made = tables(route, controls={"same-answer": nothing})
    made["controls"] = made["controls"].filter(pl.col("example_id") < "e030")
    own = claims(made)
    assert {(one.n, one.inputs) for one in of_kind(own, "recovery")} == {(40, 40)}
    assert {(one.n, one.inputs) for one in of_kind(own, "beyond")} == {(30, 30)}
    said = next(one.text for one in patch_findings(own) if one.text.startswith("The image's states, put into"))
    assert "points (95 % interval" in said
    assert "n = 30)" in said


@pytest.mark.parametrize("name", NULLS)
def test_what_a_control_has_as_well_is_not_established(name):
    """All that the states bring, a donor of the same answer (or any tokens, or any donor) brings too."""
    beside = dict.fromkeys(NULLS, nothing) | {name: route}
    own = claims(tables(route, controls=beside))
    denoise = [one for one in of_kind(own, "recovery") if "denoise" in one.about]
    assert not any(one.found for one in denoise)
    noise = [one for one in of_kind(own, "recovery") if ", noise" in one.about]
    assert any(one.found for one in noise) == (name == "shuffled-donor"), "which takes any answer away"
    if name == "shuffled-donor":
        assert patch_headline(own) == (
            "States of the other run take most of the answer away: the image's states in layers 0 to 1 (in layer 0 "
            "they are the other input itself), the question's states in layer 2 and those of the last position in "
            "layer 3; that own states bring most of it back in the other run is not established."
        )


def test_without_controls_all_is_uncontrolled():
    own = claims(tables(route))
    assert {one.verdict for one in of_kind(own, "recovery") if one.found} == {"uncontrolled"}
    assert patch_headline(own).endswith("; uncontrolled where no control was run.")


def test_a_gap_that_random_weights_have_too_establishes_nothing():
    own = claims(tables(route, controls=dict.fromkeys(NULLS, nothing), random_gap=9.0))
    assert not any(one.found for one in of_kind(own, "recovery"))
    assert "is not established in any layer" in patch_headline(own)
    assert any("not established to mean anything" in one.text for one in patch_findings(own))


def test_a_part_of_the_gap_is_there_and_decides_nothing():
    some = lambda span, direction, layer, rng: 0.3 * (span == "image") + rng.normal(0, 0.05)  # noqa: E731
    made = tables(some, controls=dict.fromkeys(NULLS, nothing))
    assert found_of("recovery", made) == {(f"image, {d}", str(k)) for d in ("denoise", "noise") for k in range(4)}
    assert not found_of("most", made)
    assert "is not established in any layer (at most" in patch_headline(claims(made))


def test_pairs_with_too_small_a_gap_are_counted_and_left_out():
    made = tables(route, small=5)
    own = claims(made)
    [count] = of_kind(own, "small-gap")
    assert (count.effect, count.n) == (5.0, 40)
    assert {one.n for one in of_kind(own, "recovery")} == {35}
    assert any("5 of 40 pairs without a share" in one.text for one in patch_findings(own))


def test_no_pair_with_a_gap_says_so():
    own = claims(tables(route, small=40))
    assert not of_kind(own, "recovery")
    assert patch_headline(own).startswith("The two images make no difference that states could carry: of 40 pairs")
    assert patch_findings(own)


def test_few_inputs_establish_nothing():
    assert not found_of("recovery", tables(route, n=6, controls=dict.fromkeys(NULLS, nothing)))


def test_nothing_is_claimed_of_nothing():
    """At most so many false claims as an interval that holds for all columns at once allows."""
    false = 0
    for seed in range(25):
        made = tables(nothing, controls=dict.fromkeys(NULLS, nothing), n=20, layers=3, seed=seed)
        false += bool(found_of("recovery", made))
    assert false <= 3


def test_order_of_rows_changes_nothing():
    made = tables(route, controls=dict.fromkeys(NULLS, nothing), n=12)
    turned = {name: frame.sample(fraction=1.0, shuffle=True, seed=1) for name, frame in made.items()}
    key = lambda one: (one.kind, one.about, one.where)  # noqa: E731
    for one, other in zip(sorted(claims(made), key=key), sorted(claims(turned), key=key), strict=True):
        assert key(one) == key(other)
        assert other.effect == pytest.approx(one.effect)
        assert one.verdict == other.verdict


def knockouts(made, at, n=40, layers=4, noise=0.1):
    rng = np.random.default_rng(1)
    rows = [
        {"example_id": f"e{k:03d}", "type": "all", "cut": "image->question", "layer": layer, "start": layer}
        | {"stop": layer + 1, "target_token_id": 1, "logprob_clean": -0.1}
        | {"logprob_cut": -0.1 - at[layer] - rng.normal(0, noise)}
        for k in range(n)
        for layer in range(layers)
    ]
    return made | {"knockouts": pl.DataFrame(rows)}


def fading(span, direction, layer, rng):
    """The image's share by layer: 1, 0.9, 0.5, 0.4, 0.1, 0: it moves most in layer 1, then 3."""
    return (1.0, 0.9, 0.5, 0.4, 0.1, 0.02)[layer] + rng.normal(0, 0.02) if span == "image" else rng.normal(0, 0.02)


def test_layers_that_both_methods_rank_alike_agree():
    costs = (0.2, 2.0, 0.25, 1.5, 0.22, 0.1)
    made = knockouts(tables(fading, layers=6), costs, layers=6)
    own = claims(made)
    [rank], [layer] = of_kind(own, "agreement"), of_kind(own, "agreement-layer")
    assert rank.effect > 0.8
    assert rank.low is not None
    assert rank.low > 0
    assert layer.effect == 0
    assert layer.verdict == "practically none"
    [text] = [one.text for one in patch_findings(own) if "rank" in one.text]
    assert "name the same layer first" in text


def test_layers_that_differ_are_said_to_differ():
    made = knockouts(tables(fading, layers=6), (0.1, 0.1, 0.1, 0.1, 0.1, 3.0), layers=6)
    [layer] = of_kind(claims(made), "agreement-layer")
    assert (layer.effect, layer.verdict) == (-4.0, "established")


def test_wide_windows_are_not_compared():
    made = tables(fading, layers=6)
    made["effects"] = made["effects"].with_columns(stop=pl.col("layer") + 2)
    assert not of_kind(claims(knockouts(made, (1, 2, 3, 4, 5, 6), layers=6)), "agreement")


def test_headlines_of_one_direction_say_what_it_shows():
    own = claims(tables(route, controls=dict.fromkeys(NULLS, nothing)))
    back = [one for one in own if "noise" not in one.about.replace("denoise", "")]
    lost = [replace(one) for one in own if "denoise" not in one.about]
    assert patch_headline(back).startswith("The image's states bring back most of the answer in layers 0 to 1")
    assert patch_headline(lost).startswith("The image's states are needed for the answer in layers 0 to 1")


def idle(made, n=40, layers=6, seed=2):
    """The same with a cut that changes nothing but noise."""
    return knockouts(made, [0.0] * layers, n=n, layers=layers, noise=0.05)


def test_a_cut_that_does_nothing_is_not_compared():
    """Its largest change is noise, and lies in some layer: how far that is from patching's says nothing."""
    own = claims(idle(tables(fading, layers=6)))
    assert not of_kind(own, "agreement")
    assert not of_kind(own, "agreement-layer")
    [one] = of_kind(own, "agreement-no-cut")
    assert one.about == "image->question"
    assert not one.found
    assert not of_kind(own, "agreement-no-patch")
    [text] = [one.text for one in patch_findings(own) if "not compared" in one.text]
    assert "the cut image->question is not established to change anything" in text.replace("The cut", "the cut")
    assert not any("apart" in one.text for one in patch_findings(own))


def test_patching_that_moves_nothing_is_not_compared():
    made = knockouts(tables(nothing, layers=6), (0.2, 2.0, 0.25, 1.5, 0.22, 0.1), layers=6)
    own = claims(made)
    assert not of_kind(own, "agreement-layer")
    [one] = of_kind(own, "agreement-no-patch")
    assert (one.unit, one.verdict) == ("%", "practically none")
    assert any("is not established to move any of the gap" in one.text for one in patch_findings(own))


def test_intervals_over_several_cuts_are_wider():
    """Ranks and layers of three cuts are looked at together, each at 5 % over the three."""
    costs = (0.2, 0.5, 0.25, 0.4, 0.22, 0.1)
    alone = knockouts(tables(fading, layers=6), costs, layers=6, noise=1.0)
    names = ("image->question", "image->last", "image->suffix")
    three = alone | {"knockouts": pl.concat([alone["knockouts"].with_columns(cut=pl.lit(name)) for name in names])}
    [one], many = of_kind(claims(alone), "agreement"), of_kind(claims(three), "agreement")
    assert len(many) == 3
    assert many[0].p == pytest.approx(min(1.0, 3 * one.p))
    assert many[0].low <= one.low
    assert many[0].high >= one.high


def typed(share, **more):
    """Tables whose pairs are of two types by turns; `share` is told the type as well."""
    made = tables(share, **more)
    for name in ("effects", "controls"):
        kind = pl.when(pl.col("example_id").str.slice(1).cast(int) % 2 == 0).then(pl.lit("A")).otherwise(pl.lit("B"))
        made[name] = made[name].with_columns(type=kind)
    return made


def test_a_type_that_is_carried_elsewhere_is_told_from_the_other():
    made = typed(route, controls=dict.fromkeys(NULLS, nothing))
    late = (pl.col("span") == "last") & (pl.col("layer") == 3) & (pl.col("type") == "B")
    made["effects"] = made["effects"].with_columns(recovery=pl.when(late).then(0.4).otherwise("recovery"))
    own = claims(made)
    by_type = {one.about: one for one in of_kind(own, "type")}
    assert by_type["last, noise, A"].effect == pytest.approx(100, abs=3)
    assert by_type["last, noise, B"].effect == pytest.approx(40, abs=3)
    assert {one.verdict for one in by_type.values()} == {"established"}
    differ = {one.about: one for one in of_kind(own, "types")}
    assert differ["last, noise, A against B"].verdict == "established"
    same = [one for about, one in differ.items() if about.startswith("image")]
    assert len(same) == 2
    assert not any(one.established for one in same)
    said = [one.text for one in patch_findings(own) if "question types" in one.text]
    assert any("A and B differ by +60" in text for text in said)
    assert any("A and B are not established to differ" in text for text in said)


def test_types_are_not_compared_where_the_patch_is_the_other_run():
    """The whole image at the first layer: all of the gap, in any type, whatever the model does."""
    first = lambda span, direction, layer, rng: float(span == "image" and layer == 0) + rng.normal(0, 0.05)  # noqa: E731
    own = claims(typed(first, controls=dict.fromkeys(NULLS, nothing)))
    assert found_of("recovery", typed(first, controls=dict.fromkeys(NULLS, nothing)))
    assert not of_kind(own, "type")


def test_one_type_alone_is_not_compared():
    own = claims(tables(route, controls=dict.fromkeys(NULLS, nothing)))
    assert not of_kind(own, "type")


def test_an_unrelated_donor_is_a_control_of_what_comes_back_and_a_scale_of_what_is_lost():
    own = claims(tables(route, controls=dict.fromkeys(NULLS, nothing)))
    scales, controls = of_kind(own, "recovery-scale"), [*of_kind(own, "recovery-control"), *of_kind(own, "beyond")]
    assert {(one.about.split(", ")[1], one.control) for one in scales} == {("noise", "shuffled-donor")}
    assert {one.about.split(", ")[1] for one in controls if one.control == "shuffled-donor"} == {"denoise"}
