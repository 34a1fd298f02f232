"""The verdict says what tables hold: planted gains, losses and nothing at all, pair by pair."""

import numpy as np
import polars as pl
import pytest

from chiasm.studies.project.scores import ProbeAnswers, ProbeSite, difference, macro_f1, sign_of
from chiasm.studies.project.verdict import verdict

CLASSES = ("a", "b", "c", "d")
N = 160
LABELS = [CLASSES[k % 4] for k in range(N)]
SETTINGS = ("zero-shot", "ft-proj", "ft-e2e")
BASE = {"domain": "d", "projector": "own"}


def answered(right, seed):
    """Answers of which a share is right, the same images first."""
    rng = np.random.default_rng(seed)
    order = np.random.default_rng(0).permutation(N)
    known = set(order[: round(right * N)].tolist())
    return [
        y if k in known else CLASSES[(CLASSES.index(y) + int(rng.integers(1, 4))) % 4] for k, y in enumerate(LABELS)
    ]


def probed(shares):
    """`shares`: {(setting, where, probe, control): share of right answers}."""
    rows = []
    for (setting, where, probe, control), right in shares.items():
        for seed in (0, 1):
            about = BASE | {"setting": setting, "seed": seed, "where": where, "probe": probe, "control": control}
            pairs = zip(LABELS, answered(right, seed), strict=True)
            rows += [about | {"example_id": f"{k:03}", "label": y, "answer": a} for k, (y, a) in enumerate(pairs)]
    return pl.DataFrame(rows, schema_overrides={"control": pl.String})


def tables(post, answers, skill=1.0, states=None):
    """`post`: {setting: (line, MLP)} behind the projector; `answers`: {setting: share of right ones}."""
    shares = {}
    for setting, (line, mlp) in post.items():
        shares |= {(setting, "post", "linear", None): line, (setting, "post", "mlp-paper", None): mlp}
        shares |= {(setting, where, "linear", None): 0.9 for where in ("cls", "pre")}
        held = states or {0: 0.25, 1: 0.5, 2: 0.8}
        for state, value in held.items():
            shares |= {(setting, f"layer.{state}.image", "linear", None): line - 0.1 * state}
            shares |= {(setting, f"layer.{state}.last", "linear", None): value}
    shares["zero-shot", "post", "linear", "random-projector"] = 0.85
    shares["ft-proj", "post", "mlp-paper", "shuffled"] = 0.25
    tuning, predictions = [], []
    for setting, right in answers.items():
        for seed in (0, 1):
            about = BASE | {"setting": setting, "seed": seed}
            kept = 1.0 if setting == "zero-shot" else skill
            tuning.append(about | {"macro_f1": right, "skill": kept, "skill_n": 60, "projector_drift": 0.1})
            pairs = enumerate(zip(LABELS, answered(right, seed), strict=True))
            predictions += [about | {"example_id": f"{k:03}", "label": y, "parsed": a} for k, (y, a) in pairs]
    shape = [
        BASE | {"setting": s, "seed": 0, "where": w, "against": g, "quantity": q, "mean": v}
        for s in post
        for w, g, q, v in (
            ("pre", "", "effective_rank", 9.0),
            ("post", "", "effective_rank", 5.0),
            ("post", "pre", "neighbours", 0.6),
        )
    ]
    references = pl.DataFrame([{"domain": "d", "reference": "random", "macro_f1": 0.25}])
    return pl.DataFrame(tuning), pl.DataFrame(predictions), references, probed(shares), pl.DataFrame(shape)


def text(*given, **options):
    return " ".join(finding.text for finding in verdict(*tables(*given, **options)))


ANSWERS = {"zero-shot": 0.3, "ft-proj": 0.4, "ft-e2e": 0.7}


@pytest.mark.parametrize(
    ("tuned", "answer"),
    [
        ((0.95, 0.9), "? Yes: "),
        ((0.5, 0.4), "? No, poorer: "),
        ((0.8, 0.7), "? No change is sure: "),
        ((0.8, 0.4), "? It is poorer for the paper's MLP alone: "),
        ((0.95, 0.4), "? It depends on the probe: "),
    ],
)
def test_the_papers_question_is_answered_either_way(tuned, answer):
    found = text({"zero-shot": (0.8, 0.7), "ft-proj": tuned, "ft-e2e": (0.8, 0.7)}, ANSWERS)
    assert f"Does FT-Proj make the projector's output richer in d{answer}" in found
    assert "n = 160 images, 2 seeds; learned from shuffled labels: 0.2" in found


def test_the_projector_is_measured_against_its_input_and_one_that_learned_nothing():
    found = text(dict.fromkeys(SETTINGS, (0.6, 0.5)), ANSWERS)
    assert "the untouched projector loses what a line can read" in found
    assert "what it has learned costs some of that" in found
    assert "It keeps 60 % of an image's nearest neighbours; effective rank 9.0 before, 5.0 behind" in found
    kept = text(dict.fromkeys(SETTINGS, (0.9, 0.5)), ANSWERS)
    assert "neither surely gains nor loses" in kept


def test_where_classes_are_read_is_told_by_state():
    found = text(dict.fromkeys(SETTINGS, (0.8, 0.7)), ANSWERS)
    assert "at state 2, and nine tenths of that from state 2 on" in found


def test_the_advice_takes_the_lightest_setting_that_is_as_good():
    same = dict.fromkeys(SETTINGS, (0.8, 0.7))
    assert "tune by ft-e2e" in text(same, ANSWERS)
    close = text(same, {"zero-shot": 0.3, "ft-proj": 0.69, "ft-e2e": 0.7})
    assert "tune by ft-proj" in close
    assert "ft-e2e is higher, not surely" in close
    before, after = "100 % (95 % interval 94 to 100)", "50 % (95 % interval 38 to 62)"
    cost = f"It costs general skill: {before} of 60 scenes right before, {after} after"
    assert cost in text(same, ANSWERS, skill=0.5)
    assert "general skill" not in text(same, ANSWERS, skill=0.99)


def test_the_advice_says_when_tuning_bought_nothing():
    same = dict.fromkeys(SETTINGS, (0.8, 0.7))
    nothing = text(same, {"zero-shot": 0.5, "ft-proj": 0.5, "ft-e2e": 0.5})
    assert "no setting answers surely better than the untouched model" in nothing
    chance = text(same, {"zero-shot": 0.02, "ft-proj": 0.1, "ft-e2e": 0.27})
    assert "no setting answers surely better than chance (0.250)" in chance


def test_the_advice_tells_what_is_held_and_not_said():
    same = dict.fromkeys(SETTINGS, (0.8, 0.7))
    assert "part of it reaches the last token and not the answer" in text(same, ANSWERS | {"ft-e2e": 0.5})
    lost = text(same, ANSWERS | {"ft-e2e": 0.5}, states={0: 0.25, 1: 0.25, 2: 0.3})
    assert "it does not reach the last token" in lost
    assert "more needs a better tower" in text(same, ANSWERS | {"ft-e2e": 0.9})


def test_pairs_are_surer_than_two_intervals():
    rows = probed({("zero-shot", "pre", "linear", None): 0.8, ("zero-shot", "post", "linear", None): 0.72})
    of = ProbeAnswers.of(rows, "d")
    one, other = of.runs(ProbeSite("zero-shot", "pre")), of.runs(ProbeSite("zero-shot", "post"))
    apart = macro_f1(*one), macro_f1(*other)
    assert apart[0].low < apart[1].high
    assert sign_of(difference(one, other)) == 1
    assert sign_of(difference(other, one)) == -1
    assert sign_of(difference(one, one)) == 0
    with pytest.raises(ValueError, match="different images"):
        difference(one, (["a"] * N, other[1]))


def test_nothing_is_said_of_what_was_not_probed():
    tuning, predictions, references, rows, shape = tables(dict.fromkeys(SETTINGS, (0.8, 0.7)), ANSWERS)
    assert verdict(tuning, predictions, references, rows.clear(), shape) == []
    only = verdict(tuning, predictions, None, rows.filter(pl.col("setting") != "ft-proj"), shape)
    assert not any("Does FT-Proj" in finding.text for finding in only)
