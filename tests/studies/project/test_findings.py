"""Claims and sentences of a project run: what was planted is found, nothing is not, controls block, frames suffice."""

import re

import numpy as np
import polars as pl
import pytest
from tests.studies.project.made import CLASSES, N, made, probes
from tests.support.charts import rows

import chiasm
from chiasm.core.claims import Claim, of_kind
from chiasm.core.errors import ChiasmError
from chiasm.core.statistics.crossed import guessing
from chiasm.results.charts.files import specification
from chiasm.results.charts.theme import SCREEN
from chiasm.results.claims import read_claims
from chiasm.results.tables import conform
from chiasm.studies.project.advice import project_advice
from chiasm.studies.project.choice import choice, learnt, named
from chiasm.studies.project.findings import capacity_findings, tuning_findings
from chiasm.studies.project.headline import project_headline
from chiasm.studies.project.overview import overview
from chiasm.studies.project.probe_charts import drift_chart
from chiasm.studies.project.published import learnt_table, richness_table, table_one, table_two
from chiasm.studies.project.tables import ALIGNED, REFERENCES, SKILLS, SMALLEST
from chiasm.studies.project.verdict import verdict

SETTINGS = ("zero-shot", "ft-proj", "ft-e2e")
ANSWERS = {"zero-shot": 0.3, "ft-proj": 0.6, "ft-e2e": 0.9}


def claimed(tables) -> list[Claim]:
    return read_claims(chiasm.claims("project", tables))


def said(tables):
    found = claimed(tables)
    every = tuning_findings(found, SMALLEST) + verdict(found, SMALLEST) + capacity_findings(found)
    return " ".join(one.text for one in sorted(every, key=lambda one: -one.strength))


def run(post=None, answers=ANSWERS, **options):
    """Tables of three settings; `post`: what a line and the MLP read behind the projector."""
    return made(answers, probes(dict.fromkeys(SETTINGS, (0.8, 0.7)) | (post or {})), **options)


def test_the_first_screen_says_what_to_do_and_what_is_lost():
    good = " ".join(project_advice(claimed(run()), SMALLEST))
    assert re.match(r"D: tune by ft-e2e \(macro-F1 0\.\d\d \(.*\), by guessing 0\.\d\d\)\.", good), good
    poor = " ".join(project_advice(claimed(run(answers=dict.fromkeys(SETTINGS, 0.3))), SMALLEST))
    assert "leave the model as it is (highest: " in poor
    assert "The tower sees more than the model says: a linear probe there reads 0." in poor


def test_settings_that_name_no_class_are_said_first():
    mute = claimed(run(answers=dict.fromkeys(SETTINGS, 0.02), invalid=1.0))
    assert project_headline(mute, SMALLEST).startswith("In d, nearly all answers of all tuned settings name no class, ")
    advice = " ".join(project_advice(mute, SMALLEST))
    assert advice.startswith("D: under ft-proj and ft-e2e 98 % of the answers or more name no class (n = 320 each), ")
    assert "try longer training, or more images." in advice
    assert "leave the model as it is" not in advice
    some = made({"zero-shot": 0.3, "ft-proj": 0.3}, invalid=0.0)
    lost = made({"ft-e2e": 0.02}, invalid=1.0)
    mixed = claimed({name: pl.concat([some[name], lost[name]]) for name in some})
    assert "nearly all answers of 1 of 2 tuned settings name no class" in project_headline(mixed, SMALLEST)
    assert "no class" not in project_headline(claimed(some), SMALLEST)


def test_settings_that_name_no_class_are_not_called_alike():
    mute = claimed(run(answers=dict.fromkeys(SETTINGS, 0.0), invalid=1.0))
    gains = of_kind(mute, "gain")
    assert gains
    assert {one.effect for one in gains} == {0.0}
    assert {one.verdict for one in (*gains, *of_kind(mute, "pair"))} == {"not established"}
    alike = claimed(run(answers=dict.fromkeys(SETTINGS, 0.6), invalid=0.0))
    assert "practically none" in {one.verdict for one in of_kind(alike, "gain")}


def test_what_the_highest_setting_costs_elsewhere_is_in_the_first_table_though_none_is_recommended():
    found = claimed(run(answers={"zero-shot": 0.3, "ft-proj": 0.31, "ft-e2e": 0.32}, skill={"ft-e2e": 0.5}))
    assert choice(found, "d", SMALLEST) is None
    [cell] = overview(found, SMALLEST)["held-out scenes right, change"]
    assert cell.startswith("-0.50 (")
    assert cell.endswith(", established")


def test_what_settings_learnt_is_beside_the_expectation_of_guessing():
    found = claimed(run())
    score = named(found, "score", "d", "ft-e2e")
    assert score.control == "uniform guessing"
    assert score.control_effect == pytest.approx(guessing([N // 4] * 4, 4))
    assert score.established
    assert (score.n, score.inputs) == (2 * N, N)
    assert named(found, "labels", "d", "ft-e2e").control_effect == 0.25
    assert [learnt(found, "d", name) for name in ("ft-proj", "ft-e2e")] == [True, True]
    gain = named(found, "gain", "d", "ft-proj")
    assert (gain.control, gain.established) == ("zero-shot", True)
    assert gain.effect == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("tuned", "answer"),
    [
        ((0.95, 0.9), "? Yes ("),
        ((0.5, 0.4), "? No, poorer ("),
        ((0.8, 0.7), "? Practically unchanged ("),
        ((0.8, 0.4), "? It is poorer for the paper's MLP alone ("),
        ((0.95, 0.4), "? It depends on the probe ("),
    ],
)
def test_the_papers_question_is_answered_either_way(tuned, answer):
    found = said(run({"ft-proj": tuned}))
    assert f"Does ft-proj make the projector's output richer in d{answer}" in found
    assert "less the change under shuffled labels (" in found
    assert "lies above a projector with its weights in random order by" in found


@pytest.mark.parametrize("control", ["shuffled", "permuted"])
def test_a_control_as_good_blocks_richness(control):
    level = {"shuffled": 0.94, "permuted": 0.8}
    tables = made(ANSWERS, probes({"zero-shot": (0.8, 0.7), "ft-proj": (0.95, 0.95)}, **{control: level[control]}))
    each = [one for one in claimed(tables) if one.kind == "richness"]
    assert each
    assert not any(one.found for one in each)
    assert "? Yes" not in said(tables)


def test_shuffled_labels_that_change_as_much_block_richness():
    shares = probes({"zero-shot": (0.6, 0.6), "ft-proj": (0.8, 0.8)})
    shares |= {("ft-proj", "post", name, "shuffled"): 0.45 for name in ("linear", "mlp-paper")}
    each = [one for one in claimed(made(ANSWERS, shares)) if one.kind == "richness"]
    assert {one.verdict for one in each} == {"not established"}
    assert {round(one.control_effect, 1) for one in each} == {0.2}


def test_without_controls_it_is_said_to_be_uncontrolled():
    tables = made(ANSWERS, probes({"zero-shot": (0.6, 0.6), "ft-proj": (0.9, 0.9)}, controls=False))
    found = said(tables)
    assert "? Yes, uncontrolled (" in found
    assert "No control stands beside these probes." in found


def test_what_learnt_nothing_is_named_first_and_concludes_nothing():
    tables = run(
        {"ft-proj": (0.5, 0.4)}, {"zero-shot": 0.0, "ft-proj": 0.02, "ft-e2e": 0.9}, invalid=0.97, among=ANSWERS
    )
    found = claimed(tables)
    assert not learnt(found, "d", "ft-proj")
    first = tuning_findings(found, SMALLEST)[0].text
    assert first.startswith(
        "On d, ft-proj is not shown to have learnt anything (2 seeds), so nothing is concluded from it"
    )
    assert "of its answers name no class" in first
    assert "No conclusion: it is not shown to have learnt anything here" in said(tables)
    assert not any(one.found for one in found if one.kind == "richness" and ", ft-proj, " in one.about)


def test_above_guessing_is_not_enough_where_tuning_gained_nothing():
    same = dict.fromkeys(SETTINGS, 0.6)
    found = claimed(run(answers=same))
    assert not learnt(found, "d", "ft-proj")
    assert choice(found, "d", SMALLEST) is None
    assert "no setting is recommended" in said(run(answers=same))


def test_the_projector_is_measured_against_its_input_and_one_that_learned_nothing():
    lost = run(dict.fromkeys(SETTINGS, (0.5, 0.4)))
    assert "the untouched projector is not established to change" in said(lost)  # a permuted one loses as much, or more
    shares = probes(dict.fromkeys(SETTINGS, (0.5, 0.4)), permuted=0.85)
    found = said(made(ANSWERS, shares))
    assert "the untouched projector lowers what a linear probe reads" in found
    assert re.search(r"What the [^.]*MLP[^.]* reads of the two differs by -0\.\d+ .*established", found)
    kept = run(dict.fromkeys(SETTINGS, (0.9, 0.5)))
    assert "changes by practically nothing what a linear probe reads" in said(kept)


def test_where_classes_are_read_is_said_by_state():
    found = said(run())
    assert "the last token, in states 1-2; the largest estimate, in state 2, is " in found
    assert "image tokens, in states 0-2; the largest estimate, in state 0, is " in found
    assert "about the same" not in found  # states are not tested against each other
    assert "Intervals hold for all states at once" in found
    flat = probes(dict.fromkeys(SETTINGS, (0.8, 0.7)), last=(0.78, 0.8, 0.79))
    assert "in state 1, is " in said(made(ANSWERS, flat))
    assert "above shuffled labels" in found


def test_the_advice_takes_the_lightest_setting_that_loses_too_little_to_name():
    assert "tune by ft-e2e" in said(run())
    close = {"zero-shot": 0.3, "ft-proj": 0.89, "ft-e2e": 0.9}
    tables = run(answers=close)
    picked = choice(claimed(tables), "d", SMALLEST)
    assert (picked.best, picked.chosen) == ("ft-e2e", "ft-proj")
    assert picked.between.high < SMALLEST
    assert "tune by ft-proj" in said(tables)
    assert "by the bound of that interval less than 0.050 is lost" in said(tables)
    # So few images leave open whether more is lost.
    few = run(answers=close, n=24)
    assert choice(claimed(few), "d", SMALLEST).chosen == "ft-e2e"


def test_costs_in_general_skill():
    lost = said(run(skill={"ft-proj": 1.0, "ft-e2e": 0.5}, seeds=1))
    assert "Tuning on d lowers that in ft-e2e" in lost
    assert "It costs general skill: -0.500" in lost
    assert "Whether tuning on d costs any is not established" in said(run(skill={"ft-proj": 0.98}, seeds=1))


def test_the_advice_says_what_is_held_and_not_said():
    assert "part of it reaches the last token and not the answer" in said(run(answers=ANSWERS | {"ft-e2e": 0.65}))
    shares = probes(dict.fromkeys(SETTINGS, (0.8, 0.7)), last=(0.25, 0.25, 0.3))
    assert "reaches the last token" not in said(made(ANSWERS, shares))
    assert "Whether a linear probe reads more of the tower's states than ft-e2e says is not established" in said(run())


@pytest.mark.parametrize(
    ("answers", "word"), [(ANSWERS, "holds"), (ANSWERS | {"ft-proj": 0.95, "ft-e2e": 0.5}, "is contradicted")]
)
def test_the_papers_ordering(answers, word):
    assert f"The paper's ordering ft-e2e > ft-proj > zero-shot {word}" in said(run(answers=answers))
    same = run(answers=ANSWERS | {"ft-proj": 0.9})
    assert "zero-shot is established in 1 of 2 pairs" in said(same)
    assert "zero-shot is established in neither pair" in said(run(answers=dict.fromkeys(SETTINGS, 0.6)))
    assert "was not tested" in said(made({"zero-shot": 0.3, "ft-lora": 0.6}))


def test_what_no_answer_names_is_no_control_of_what_probes_hold():
    """Answers that are all wrong are below any probe, so a probe must go beyond shuffled labels too."""
    shares = probes(dict.fromkeys(SETTINGS, (0.8, 0.7)), last=(0.25, 0.25, 0.3), shuffled=0.27)
    found = claimed(made(dict.fromkeys(SETTINGS, 0.0), shares, invalid=1.0))
    held = {one.where: one for one in found if one.kind == "held"}
    assert held["layer.2.last"].low > 0
    assert held["layer.2.last"].verdict == "not established"
    assert held["pre"].established
    above = {one.where: one for one in found if one.kind == "held-shuffled"}
    assert set(above) == set(held)
    assert above["pre"].control == "shuffled"


def test_intervals_that_say_nothing_are_not_written():
    shares = probes({"zero-shot": (0.6, 0.6), "ft-proj": (0.6, 0.6)})
    tables = made({"zero-shot": 0.3, "ft-proj": 0.6}, shares, noise=0.0)
    wide = pl.when(pl.col("seed") == 0).then(pl.lit("a")).otherwise(pl.col("label"))
    place = (pl.col("setting") == "ft-proj") & (pl.col("where") == "post") & pl.col("control").is_null()
    tables["probed"] = tables["probed"].with_columns(answer=pl.when(place).then(wide).otherwise("answer"))
    one = named(claimed(tables), "richness", "d", "ft-proj", "linear")
    assert (one.low, one.high) == (-1, 1)
    assert f"{one.effect:+.3f} (two seeds give no usable interval, n = 320 on 160 inputs)" in said(tables)
    assert "-1.000 to +1.000" not in said(tables)
    row = richness_table([one]).row(0, named=True)
    assert (row["change"], row["p"]) == (f"{one.effect:+.3f}", "-")


def test_tables_and_figures_have_the_intervals_of_the_claims():
    tables = run()
    found = claimed(tables)
    one = table_one(tables["tuning"], tables["predictions"], conform(REFERENCES, []), found)
    score = named(found, "score", "d", "ft-proj")
    assert f"({score.low:.3f} to {score.high:.3f})" in one.filter(model="FT-Proj")["d F1"][0]
    two = table_two(tables["tuning"], tables["predictions"], None, found)
    assert two.filter(setting="FT-Proj")["MLLM Δ%"][0].startswith("+")
    same = run(answers=dict.fromkeys(SETTINGS, 0.6))
    dash = table_two(same["tuning"], same["predictions"], None, claimed(same))
    assert dash["MLLM Δ%"].to_list() == [None, "-", "-"]
    assert richness_table(found)["setting"].to_list() == ["ft-proj", "ft-proj", "ft-e2e", "ft-e2e"]
    chart = drift_chart(tables["tuning"], tables["probed"], SCREEN, claims=found)
    point = rows(chart, "name").filter(name="ft-e2e", panel="d, linear probe").row(0, named=True)
    change = named(found, "richness", "d", "ft-e2e", "linear")
    assert (point["y_low"], point["y_high"]) == pytest.approx((change.low, change.high), rel=1e-6)


def test_sentences_are_short():
    for tables in (run(), run(answers=dict.fromkeys(SETTINGS, 0.02), invalid=0.9)):
        for sentence in re.split(r"[.:;?] (?=\S)", said(tables)):
            assert len(re.sub(r"\([^()]*\)", "", sentence).split()) <= 60, sentence


def test_form_is_told_from_knowledge_only_above_chance():
    answers = {"zero-shot": 0.1, "ft-proj": 0.1}
    assert "part of what is missing is form" in said(made(answers, among={"zero-shot": 0.1, "ft-proj": 0.9}))
    assert "part of what is missing is form" not in said(made(answers, among={"zero-shot": 0.1, "ft-proj": 0.25}))


@pytest.mark.heavy
def test_pure_noise_is_seldom_a_finding():
    wrong = []
    for start in range(40):
        rng = np.random.default_rng(start)
        tables = made(
            dict.fromkeys(SETTINGS, 0.0), probes(dict.fromkeys(SETTINGS, (0.0, 0.0)), last=(0.0,), pre=0.0), n=48
        )
        guess = {"parsed": "predictions", "constrained": "predictions", "answer": "probed"}
        for column, name in guess.items():
            drawn = pl.Series(column, rng.choice(CLASSES, tables[name].height))
            tables[name] = tables[name].with_columns(drawn)
        found = [one for one in claimed(tables) if one.found and one.kind not in ("invalid", "skill")]
        wrong.append(bool(found))
    assert np.mean(wrong) <= 0.15  # ten kinds, each at 5 % at most


def test_images_of_one_input_and_seeds_that_differ_widen_intervals():
    tables = run(seeds=3)
    examples = pl.DataFrame(
        {"example_id": [f"{k:03}" for k in range(N)], "type": "t", "input": [str(k // 8) for k in range(N)]}
    )
    plain, whole = (named(claimed(one), "gain", "d", "ft-proj") for one in (tables, tables | {"examples": examples}))
    assert (plain.inputs, whole.inputs) == (N, N // 8)
    apart = named(claimed(run(seeds=3, noise=0.1)), "gain", "d", "ft-proj")
    assert apart.high - apart.low > 1.5 * (plain.high - plain.low)
    one = named(claimed(run(seeds=1)), "gain", "d", "ft-proj")
    assert one.quantity.endswith("1 seed: interval over images alone")


def test_frames_alone_suffice_and_missing_ones_are_named():
    tables = run()
    few = {name: tables[name] for name in ("tuning", "predictions")}
    kinds = {one.kind for one in claimed(few)}
    assert {"score", "gain", "pair"} <= kinds
    assert not {"read", "richness", "held"} & kinds
    with pytest.raises(ChiasmError, match="needs the table `predictions`"):
        chiasm.claims("project", {"tuning": tables["tuning"]})


def test_other_projectors_stand_beside_guessing_and_each_other():
    tables = made(ANSWERS)
    own = tables["predictions"]
    names = [f"mlp:width={k},depth=2" for k in (8, 16, 32, 64, 128, 256)]
    rights = made({f"s{k}": 0.3 + 0.1 * k for k in range(6)})["predictions"]
    others = [
        rights.filter(setting=f"s{k}").with_columns(setting=pl.lit("ft-proj"), projector=pl.lit(name))
        for k, name in enumerate(names)
    ]
    tables["predictions"] = pl.concat([own, *others])
    rows = [
        {"projector": name, "seed": 0, "parameters": 100 * 2**k, "tokens": 4, "steps": 1, "loss": 1.0}
        for k, name in enumerate(["own", *names])
    ]
    tables["aligned"] = conform(ALIGNED, rows)
    found = said(tables)
    assert "Of 6 other projectors under ft-proj on d, `mlp:width=256,depth=2` has the highest macro-F1" in found
    assert "is established against 5 of the 5 others" in found
    assert "Rank correlation of a projector's parameters and its macro-F1: +1.000" in found


def test_a_loss_that_was_no_number_is_named():
    tables = made(ANSWERS)
    broken = pl.when(pl.col("setting") == "ft-e2e").then(7).otherwise(None)
    tables["tuning"] = tables["tuning"].with_columns(diverged=broken.cast(pl.Int64))
    assert "the last good state was scored: d, ft-e2e, seed 0, projector own: step 7" in said(tables)


def scenes(right, *, seeds=2, n=60):
    """The table `skills`: the first scenes are right, a share `right[setting]` of them."""
    rows = [
        {"domain": "d", "setting": setting, "seed": seed, "projector": "own", "example_id": f"s{k:02}"}
        | {"input": f"s{k:02}", "answer": "a", "generated": "a", "correct": k < share * n}
        for setting, share in right.items()
        for seed in range(seeds)
        for k in range(n)
    ]
    return conform(SKILLS, rows)


def test_held_out_scenes_are_paired():
    """Every setting is asked about the same scenes: those that are right before and after tell nothing of a loss."""
    shares = {"zero-shot": 0.5, "ft-proj": 0.5, "ft-e2e": 0.4}
    tables = run(skill=shares)
    paired, apart = (
        {one.about: one for one in claimed(made) if one.kind == "skill"}
        for made in (tables | {"skills": scenes(shares)}, tables)
    )
    for name, one in paired.items():
        assert one.effect == pytest.approx(apart[name].effect)
        assert one.high - one.low < 0.7 * (apart[name].high - apart[name].low)
        assert (one.n, one.inputs, one.control) == (120, 60, "zero-shot")
    assert paired["d, ft-e2e"].established
    assert not apart["d, ft-e2e"].established


def test_one_number_has_one_interval():
    """What a probe reads at one site, whichever kinds of claims name it."""
    tables = run(answers=ANSWERS | {"ft-e2e": 0.65})
    seen = {}
    for one in claimed(tables):
        if one.kind in ("read", "state", "held-shuffled"):
            seen.setdefault((one.about, one.where), set()).add((one.effect, one.low, one.high, one.p))
    named_twice = [site for site in seen if site[1] in ("layer.2.last", "post")]
    assert named_twice
    assert all(len(found) == 1 for found in seen.values())
    kinds = {one.kind for one in claimed(tables) if (one.about, one.where) == ("d, ft-e2e, linear", "layer.2.last")}
    assert {"state", "held-shuffled"} <= kinds


def with_images(tables, images=200):
    rows = tables["probed"].filter(pl.col("control").is_null()).unique(["setting", "where", "probe", "seed"])
    return tables | {"richness": rows.with_columns(train_n=pl.lit(images), n=pl.lit(N))}


def test_a_probe_is_the_better_model_only_beside_the_forced_choice_of_a_tuned_one():
    better = "For labels alone, that probe is the better model."
    shares = probes(dict.fromkeys(SETTINGS, (0.8, 0.7)), pre=0.95)
    low = ANSWERS | {"ft-e2e": 0.65}
    tables = with_images(made(low, shares))
    assert better in said(tables)
    assert "the probe was trained on 200 images of d, the model on the same" in said(tables)
    # Where it may only name a label, the model is as good.
    forced = with_images(made(low, shares, among=low | {"ft-e2e": 0.95}))
    assert better not in said(forced)
    assert [one.verdict for one in claimed(forced) if one.kind == "held" and one.where == "pre"] == ["established"]
    assert "What the probe on" in said(forced)
    # An untuned model has seen none of the images that the probe was trained on.
    untuned = with_images(made(dict.fromkeys(SETTINGS, 0.3), shares))
    assert better not in said(untuned)
    assert "the probe was trained on 200 images of d, the model on none of them" in said(untuned)


def test_what_a_change_lacks_is_said_in_the_table():
    same = richness_table(claimed(run()))
    assert same.filter(setting="ft-e2e")["why not"].unique().to_list() == [""]  # practically none
    few = richness_table(claimed(run({"ft-proj": (0.85, 0.75)}, n=40)))
    assert "the interval holds 0" in few["why not"].to_list()
    blocked = made(ANSWERS, probes({"zero-shot": (0.6, 0.6), "ft-proj": (0.8, 0.8)}, permuted=0.6))
    assert set(richness_table(claimed(blocked))["why not"]) == {"not beyond its controls"}
    untaught = run({"ft-proj": (0.5, 0.4)}, {"zero-shot": 0.0, "ft-proj": 0.02, "ft-e2e": 0.9}, invalid=0.97)
    found = richness_table(claimed(untaught)).filter(setting="ft-proj")
    assert set(found["why not"]) == {"the setting is not shown to have learnt anything"}
    learnt_by = learnt_table(claimed(untaught)).filter(setting="ft-proj")
    assert learnt_by["learnt"].to_list() == ["not shown: below guessing"]


def test_the_change_of_a_control_has_an_interval_and_decides():
    tables = run({"ft-proj": (0.95, 0.9)})
    less = [one for one in claimed(tables) if one.kind == "richness-control"]
    assert {one.control for one in less} == {"shuffled"}
    assert all(one.low is not None and one.p is not None for one in less)
    for one in claimed(tables):
        if one.kind == "richness" and one.established:
            beside = next(other for other in less if other.about == one.about)
            assert beside.established
            assert beside.effect * one.effect > 0


def test_charts_of_one_seed_do_not_speak_of_seeds():
    for seeds, text in ((1, "one seed, 95 % over images alone"), (2, "mean over seeds, 95 % over images and seeds")):
        tables = run(seeds=seeds)
        chart = drift_chart(tables["tuning"], tables["probed"], SCREEN, claims=claimed(tables))
        assert text in " ".join(specification(chart)["title"]["subtitle"])
