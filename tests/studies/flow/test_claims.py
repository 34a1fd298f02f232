"""What a flow run claims: planted effects are found, noise is not, and controls and clusters can take a claim away."""

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables as made

import chiasm
from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.results.claims import claims_frame, read_claims
from chiasm.results.schemas import CLAIMS, RANDOM_WEIGHTS
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.judgement import rounding_of_means
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.tables import AVERAGED, IMAGE_SWAP, SIZE_MATCHED

CUT = "question->last"


def _of(found, cut):
    return of_kind(found, "effect", cut)


def _established(found, cut):
    return [int(one.where) for one in _of(found, cut) if one.established]


def test_planted_layers_are_found_and_others_are_not():
    found = claims(
        {"effects": made.effects(32, made.CUTS, window=9), "controls": made.controls(32, made.CUTS, window=9)}
    )
    layers = _established(found, "image.object->question")
    assert {13, 14, 15} <= set(layers) <= set(range(10, 20))
    assert all(one.verdict == "practically none" for one in _of(found, "last->last"))
    top = peak(_of(found, "image.object->question"))
    assert 13 <= int(top.where) <= 15
    assert top.low < -0.55 < top.high  # what was planted
    assert top.control == SIZE_MATCHED or top.control == RANDOM_WEIGHTS


def test_the_frame_has_the_contracts_columns_and_reads_back():
    tables = {"effects": made.effects(), "controls": made.controls(), "answers": made.answers()}
    frame = chiasm.claims("flow", tables)
    assert tuple(frame.columns) == CLAIMS.names
    assert frame["claim"].is_unique().all()
    assert set(frame["verdict"]) <= {"established", "practically none", "not established", "uncontrolled"}
    assert claims_frame(read_claims(frame)).equals(frame)
    assert frame.equals(chiasm.claims("flow", tables)), "the same tables and seed give the same claims"


def test_a_difference_to_a_control_counts_the_inputs_that_have_the_control():
    controls = made.controls()
    some = controls["example_id"].unique().sort().head(36)
    found = claims({"effects": made.effects(), "controls": controls.filter(pl.col("example_id").is_in(some.implode()))})
    beyond = of_kind(found, "beyond")
    assert beyond
    assert {(one.n, one.inputs) for one in beyond} == {(36, 36)}
    assert {one.inputs for one in of_kind(found, "effect")} == {48}


def test_frames_alone_suffice_and_what_is_missing_is_named():
    found = claims({"effects": made.effects(8, (CUT,))})
    assert _of(found, CUT)[5].verdict == "uncontrolled"
    with pytest.raises(ChiasmError, match="needs the table `effects`"):
        chiasm.claims("flow", {"controls": made.controls()})
    with pytest.raises(ChiasmError, match="the study `flo`"):
        chiasm.claims("flo", {})


def test_interval_p_and_verdict_agree():
    found = claims({"effects": made.effects(), "controls": made.controls()})
    for one in found:
        if one.established:
            assert one.p <= 0.05
            assert one.low > 0 or one.high < 0


@pytest.mark.heavy
def test_noise_is_seldom_claimed():
    named = 0
    for seed in range(40):
        tables = {
            "effects": made.effects(8, examples=24, seed=seed, strength=0),
            "controls": made.controls(8, examples=24, seed=100 + seed),
        }
        named += any(one.found for one in claims(tables, seed=seed, smallest=1e-6) if one.kind == "effect")
    assert named <= 6  # 5 % of 40, and three standard deviations


def test_a_control_that_does_as_much_takes_the_claim_away():
    effects = made.effects(8, (CUT,))
    alike = effects.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    assert not _established(claims({"effects": effects, "controls": alike}), CUT)
    hurting = made.effects(8, (CUT,), strength=0, seed=5)
    assert not _established(claims({"effects": hurting, "controls": alike}), CUT)
    none = made.effects(8, (CUT,), strength=0, seed=6).with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    assert _established(claims({"effects": effects, "controls": none}), CUT)


def test_a_control_that_does_more_establishes_nothing():
    """However surely the two differ: the difference does not speak for the effect, and its row shows why."""
    effects = made.effects(8, (CUT,), strength=0.5)
    more = made.effects(8, (CUT,)).with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    found = claims({"effects": effects, "controls": more})
    beyond = {one.where: one for one in of_kind(found, "beyond", CUT)}
    top = min(_of(found, CUT), key=lambda one: one.effect)
    assert top.p <= 0.05
    assert beyond[top.where].low > 0
    assert not any(one.established for one in [*_of(found, CUT), *beyond.values()])


def test_the_difference_to_the_control_is_a_row():
    """Paired by example: with a control that is the cut less 0.2 nat it is exactly that."""
    effects = made.effects(8, (CUT,))
    less = effects.with_columns(pl.col("logprob_cut") + 0.2, control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    found = claims({"effects": effects, "controls": less})
    for one in of_kind(found, "beyond", CUT):
        own = next(other for other in _of(found, CUT) if other.where == one.where)
        assert one.effect == pytest.approx(-0.2)
        assert one.effect == pytest.approx(own.effect - own.control_effect)
        assert one.control == own.control == SIZE_MATCHED
        assert one.established == own.established
    assert any(one.established for one in of_kind(found, "beyond", CUT))


def test_averaged_keys_have_claims_of_their_own_and_judge_nothing():
    """They are a part of what the cut does: as large an effect takes no claim away."""
    effects = made.effects(8, (CUT,))
    still = made.effects(8, (CUT,), strength=0, seed=6).with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    averaged = effects.with_columns(control=pl.lit(AVERAGED), sample=pl.lit(0))
    found = claims({"effects": effects, "controls": pl.concat([still, averaged])})
    assert _established(found, CUT)
    both = {one.where: [one.effect] for one in found if one.kind == "effect"}
    for one in found:
        if one.kind == "averaged":
            both[one.where].append(one.effect)
            assert one.verdict in ("uncontrolled", "not established", "practically none")
    assert all(cut == pytest.approx(mean) for cut, mean in both.values())


def test_every_control_must_be_surpassed():
    effects, controls = made.effects(8, (CUT,)), made.controls(8, (CUT,))
    alike = effects.with_columns(control=pl.lit(RANDOM_WEIGHTS), sample=pl.lit(0, pl.Int64))
    both = pl.concat([controls.filter(pl.col("control") == SIZE_MATCHED), alike.select(controls.columns)])
    found = claims({"effects": effects, "controls": both})
    assert not _established(found, CUT)
    assert {one.control for one in _of(found, CUT) if abs(one.effect) > 0.3} == {RANDOM_WEIGHTS}


def test_an_effect_within_the_range_of_random_models_is_not_established():
    effects = made.effects(8, (CUT,), examples=60)
    base = made.effects(8, (CUT,), examples=60, strength=0, seed=3)
    model = pl.col("example_id").str.slice(-1).cast(pl.Int64) % 5
    for size, held in ((0.02, True), (0.9, False)):
        # Models of one shape that differ by `size`, as models with random weights do.
        offset = (model - 2) * size
        controls = base.with_columns(
            logprob_cut=pl.col("logprob_cut") + offset, control=pl.lit(RANDOM_WEIGHTS), sample=model
        )
        assert bool(_established(claims({"effects": effects, "controls": controls}), CUT)) is held


def test_what_random_models_do_at_one_layer_counts_at_all_layers_of_a_cut():
    """The layer is picked by its effect: what random models do at most is what any layer is held against."""
    effects = made.effects(8, (CUT,), examples=60)
    quiet = made.effects(8, (CUT,), examples=60, strength=0, seed=3)
    model = pl.col("example_id").str.slice(-1).cast(pl.Int64) % 5
    peak_layer = int(peak(_of(claims({"effects": effects}), CUT)).where)
    for elsewhere, held in ((0.0, True), (0.5, False)):
        does = pl.when(pl.col("layer") == (peak_layer + 3) % 8).then(-elsewhere * (1 + model)).otherwise(0.0)
        controls = quiet.with_columns(
            logprob_cut=pl.col("logprob_cut") + does, control=pl.lit(RANDOM_WEIGHTS), sample=model
        )
        assert bool(_established(claims({"effects": effects, "controls": controls}), CUT)) is held


def test_a_control_that_few_examples_have_is_passed_over():
    effects, controls = made.effects(8), made.controls(8)
    few = controls.filter((pl.col("control") != SIZE_MATCHED) | (pl.col("example_id") < "q0010"))
    assert {one.control for one in _of(claims({"effects": effects, "controls": few}), CUT)} == {RANDOM_WEIGHTS}
    foreign = controls.with_columns(example_id="other" + pl.col("example_id"))
    assert {one.control for one in _of(claims({"effects": effects, "controls": foreign}), CUT)} == {None}
    swapped = controls.with_columns(control=pl.lit(IMAGE_SWAP))
    assert {one.control for one in _of(claims({"effects": effects, "controls": swapped}), CUT)} == {None}


def test_questions_on_one_image_count_as_one():
    """Examples of one image share most of their change: taken as independent they would claim what is not there."""
    rng = np.random.default_rng(0)
    named = {"clustered": 0, "independent": 0}
    for seed in range(40):
        image = rng.normal(0, 0.5, 12)
        change = np.repeat(image, 5) + rng.normal(0, 0.05, 60)
        effects = made.effects(1, (CUT,), examples=60, strength=0)
        effects = effects.with_columns(logprob_cut=pl.col("logprob_clean") + pl.Series(change))
        examples = pl.DataFrame({"example_id": effects["example_id"], "input": [f"image {k // 5}" for k in range(60)]})
        named["clustered"] += claims({"effects": effects, "examples": examples}, seed=seed)[0].found
        named["independent"] += claims({"effects": effects}, seed=seed)[0].found
    assert named["clustered"] <= 6
    assert named["independent"] >= 10


def _typed(images, per, nested, seed, shift=0.0):
    """Changes without any difference between types (but `shift` of one), several questions on every image."""
    rng = np.random.default_rng(seed)
    n = images * per
    kinds = np.repeat(rng.integers(0, 4, images), per) if nested else rng.integers(0, 4, n)
    change = -3 + np.repeat(rng.normal(size=images), per) + 0.5 * rng.normal(size=n) + shift * (kinds == 0)
    effects = (
        made.effects(1, (CUT,), examples=n)
        .sort("example_id")
        .with_columns(
            logprob_cut=pl.col("logprob_clean") + pl.Series(change), type=pl.Series([f"type {k}" for k in kinds])
        )
    )
    inputs = pl.DataFrame({"example_id": effects["example_id"], "input": [f"i{k // per}" for k in range(n)]})
    control = effects.with_columns(
        logprob_cut=pl.col("logprob_clean") + pl.Series(rng.normal(0, 0.01, n)),
        control=pl.lit(SIZE_MATCHED),
        sample=pl.lit(0),
    )
    return {"effects": effects, "examples": inputs, "controls": control}


@pytest.mark.parametrize(("images", "per", "nested"), [(60, 1, False), (40, 3, False), (40, 3, True), (40, 8, True)])
def test_types_that_do_not_differ_are_seldom_said_to(images, per, nested):
    """Types of one per image: shuffling questions, as if they were independent, claims a difference in 38 to 83 %."""
    runs = 40
    said = sum(
        one.established
        for seed in range(runs)
        for one in of_kind(claims(_typed(images, per, nested, seed), seed=seed), "types")
    )
    assert said <= 7  # 5 % of 40, and three standard deviations


def test_types_that_differ_are_said_to():
    found = of_kind(claims(_typed(60, 3, False, seed=1, shift=2.0)), "types")
    assert found[0].established
    assert "type 0" in found[0].about


def test_a_contrast_of_types_counts_the_two_that_it_compares():
    tables = _typed(60, 3, False, seed=1, shift=2.0)
    found = claims(tables)
    (one,) = of_kind(found, "types")
    pair = one.about.rpartition(", ")[2].split(" against ")
    of_pair = tables["effects"].filter(pl.col("type").is_in(pair)).join(tables["examples"], on="example_id")
    assert one.n == of_pair.height < 180
    assert one.inputs == of_pair["input"].n_unique()


def test_each_type_stands_beside_its_own_control():
    tables = _typed(60, 3, False, seed=1)
    moved = pl.col("logprob_cut") - 0.3 * (pl.col("type") == "type 2")
    tables["controls"] = tables["controls"].with_columns(logprob_cut=moved)
    beside = {one.about.rpartition(", ")[2]: one.control_effect for one in of_kind(claims(tables), "type")}
    for name, effect in beside.items():
        assert effect == pytest.approx(-0.3 if name == "type 2" else 0.0, abs=0.01)
    # A control that does as much in one type takes that type away, and only that.
    as_much = pl.col("logprob_cut") - 6 * (pl.col("type") == "type 2")
    tables["controls"] = tables["controls"].with_columns(logprob_cut=as_much)
    held = {one.about.rpartition(", ")[2]: one.established for one in of_kind(claims(tables), "type")}
    assert not held or held == {name: name != "type 2" for name in held}


def test_the_published_measure_stands_beside_with_its_interval():
    effects = made.effects(8)
    found = claims({"effects": effects, "controls": made.controls(8)})
    for one in of_kind(found, "published"):
        rows = effects.filter(pl.col("cut") == one.about, pl.col("layer") == int(one.where))
        assert one.effect == pytest.approx(rows["change_percent"].mean())
        assert -100 <= one.low <= one.effect <= one.high
        assert (one.unit, one.n) == ("%", rows.height)
    assert len(of_kind(found, "published")) == len(of_kind(found, "effect"))
    assert not of_kind(claims({"effects": effects.drop("change_percent")}), "published")


def test_the_smallest_effect_worth_naming_is_a_row():
    (one,) = of_kind(claims({"effects": made.effects(4)}, smallest=0.07), "smallest")
    assert (one.effect, one.unit) == (0.07, "nat")


def test_differences_of_probabilities_stay_within_one():
    answers = made.answers(8).with_columns(prob=pl.when(pl.col("form") == "capital").then(0.98).otherwise(0.01))
    few = (pl.col("form") == "capital") & (pl.col("example_id") == "q0000")
    forms = of_kind(
        claims(
            {
                "effects": made.effects(8),
                "answers": answers.with_columns(prob=pl.when(few).then(0.0).otherwise("prob")),
            }
        ),
        "form",
    )
    assert forms
    assert all(-1 <= one.low <= one.high <= 1 for one in forms)


def test_one_example_cannot_decide_by_a_tiny_probability():
    """A relative change has no upper bound: with a clean probability of 1e-4 one example reached +281,322 %."""
    effects = made.effects(8, (CUT,), strength=0)
    lifted = pl.col("example_id") == "q0000"
    effects = effects.with_columns(
        logprob_clean=pl.when(lifted).then(-9.0).otherwise("logprob_clean"),
        logprob_cut=pl.when(lifted).then(-1.0).otherwise("logprob_cut"),
    ).with_columns(change_percent=100 * ((pl.col("logprob_cut") - pl.col("logprob_clean")).exp() - 1))
    assert effects["change_percent"].max() > 100_000
    found = claims({"effects": effects})
    assert not any(one.found for one in found if one.kind == "effect")
    assert max(abs(one.effect) for one in found if one.kind == "effect") < 1


def rounded(effects, *, bias, spread, examples=8):
    """The table `rounding`: what computing as served adds to each effect of the first examples."""
    rng = np.random.default_rng(5)
    first = effects["example_id"].unique(maintain_order=True)[:examples]
    rows = effects.filter(pl.col("example_id").is_in(first.to_list()))
    off = bias + spread * rng.standard_normal(rows.height)
    return rows.select(
        "example_id",
        *("type", "cut", "layer", "start", "stop"),
        change_served=pl.col("logprob_cut") - pl.col("logprob_clean") + off,
        change_raised=pl.col("logprob_cut") - pl.col("logprob_clean"),
    )


@pytest.mark.parametrize(
    ("bias", "spread", "low", "high"), [(0.0, 0.0, 0.0, 1e-9), (0.2, 0.0, 0.399, 0.401), (0.0, 0.2, 0.09, 0.2)]
)
def test_rounding_of_means_is_what_is_shared_and_what_averaging_leaves(bias, spread, low, high):
    found = rounding_of_means(rounded(made.effects(), bias=bias, spread=spread))
    assert low <= found <= high


def test_nothing_below_what_rounding_may_do_to_a_mean_is_established():
    effects = made.effects()
    without = {one.about for one in of_kind(claims({"effects": effects}), "effect") if one.found}
    assert without
    largest = max(abs(one.effect) for one in of_kind(claims({"effects": effects}), "effect"))
    found = claims({"effects": effects, "rounding": rounded(effects, bias=0.6 * largest, spread=0.0)})
    assert not any(one.found for one in of_kind(found, "effect"))
    assert [one.effect for one in of_kind(found, "rounding")] == pytest.approx([0.6 * largest, 1.2 * largest])
    assert of_kind(found, "smallest")[0].effect == pytest.approx(1.2 * largest)


def test_effects_within_the_noise_floor_are_not_named():
    effects = made.effects(8)
    noise = effects.filter(pl.col("cut") == "last->last").select(
        "example_id", "logprob_clean", logprob_noop=pl.col("logprob_clean") + 0.2
    )
    found = claims({"effects": effects, "noise": noise})
    assert not any(one.found for one in _of(found, "image->last"))  # -0.08 at its largest
    assert any(one.found for one in _of(found, CUT))
    assert of_kind(found, "noise")[0].effect == pytest.approx(0.2)


def test_the_order_of_cuts_is_established_where_resamples_agree():
    cuts = ("image->question", CUT)
    effects = made.effects(32, cuts, window=9)
    control = made.effects(32, cuts, window=9, strength=0, seed=9)
    control = control.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    (order,) = of_kind(claims({"effects": effects, "controls": control}), "order")
    assert order.about == f"image->question before {CUT}"
    assert order.established
    assert order.low > 0
    assert order.p >= 0.001  # no more than resampling can tell
    close = ("image->question", "image.other->question")  # both planted at a tenth of the depth
    effects = made.effects(32, close, window=9)
    control = made.effects(32, close, window=9, strength=0, seed=9)
    control = control.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    assert not any(one.established for one in of_kind(claims({"effects": effects, "controls": control}), "order"))


def test_one_example_establishes_nothing_and_gives_no_nan():
    frame = claims_frame(claims({"effects": made.effects(8, (CUT,), examples=1)}))
    assert set(frame["verdict"]) == {"not established"}
    assert frame["low"].null_count() == frame.height


def test_windows_that_share_a_layer_are_kept_apart():
    effects = made.effects(4, (CUT,))
    wider = effects.filter(pl.col("layer") == 2).with_columns(start=pl.lit(0, pl.Int64), stop=pl.lit(4, pl.Int64))
    found = claims({"effects": pl.concat([effects, wider])})
    assert "0-3" in {one.where for one in _of(found, CUT)}
    assert len({one.where for one in _of(found, CUT)}) == len(_of(found, CUT))
