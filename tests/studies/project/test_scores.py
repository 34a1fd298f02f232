"""Scores of classification: equal to scikit-learn's, invalid answers never dropped, the paper's tables."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from chiasm.results.tables import conform
from chiasm.studies.project.findings import ordering, tuning_findings
from chiasm.studies.project.published import confusion, table_one, table_three, table_two
from chiasm.studies.project.scores import macro_f1, scores
from chiasm.studies.project.tables import IMAGE_MLP, OWN, PREDICTIONS, RANDOM, REFERENCES, TUNING

NAMES = ("a", "b", "c")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*NAMES, None))), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learns_over_the_classes_of_the_test(pairs):
    truth, answered = [a for a, _ in pairs], [b for _, b in pairs]
    found = macro_f1(truth, [answered], resamples=20)
    present = sorted(set(truth))
    expected = f1_score(truth, [b or "none" for b in answered], labels=present, average="macro", zero_division=0)
    assert float(found.mean) == pytest.approx(expected)
    assert float(found.low) <= float(found.high)
    assert found.n == len(pairs)


def test_runs_are_averaged_and_share_their_images():
    truth = list("aabb")
    perfect, wrong = list("aabb"), list("bbaa")
    both = macro_f1(truth, [perfect, wrong], resamples=50)
    assert float(both.mean) == pytest.approx(0.5)
    assert float(both.low) == pytest.approx(float(both.high)) == pytest.approx(0.5)


def test_an_invalid_answer_counts_as_wrong():
    row = scores(list("aab"), ["a", None, "b"])
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["n"] == 3
    assert row["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def runs(right: dict[str, float], seeds: int = 2, n: int = 60) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables in which a setting answers that share right, the same images for all."""
    tuning, predictions = [], []
    for setting, share in right.items():
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            truth = [NAMES[k % 3] for k in range(n)]
            answered = [t if rng.random() < share else (None if rng.random() < 0.5 else "a") for t in truth]
            about = {"domain": "d", "setting": setting, "seed": seed, "projector": OWN}
            predictions += [
                about | {"example_id": f"{k:03d}", "label": t, "generated": s or "?", "parsed": s, "constrained": t}
                for k, (t, s) in enumerate(zip(truth, answered, strict=True))
            ]
            tuning.append(
                about
                | scores(truth, answered)
                | {"epochs": 1.0, "invalid_rate": answered.count(None) / n, "constrained_macro_f1": 1.0}
                | {"constrained_accuracy": 1.0, "skill": 0.9, "skill_n": 20, "steps": 5, "loss": 1.0}
                | {"projector_drift": 0.1, "diverged": None}
            )
    return conform(TUNING, tuning), conform(PREDICTIONS, predictions)


def references() -> pl.DataFrame:
    truth = list("abc") * 10
    rows = [
        {"domain": "d", "reference": name, "seed": 0, **scores(truth, answered)}
        for name, answered in ((RANDOM, list("aab") * 10), (IMAGE_MLP, truth))
    ]
    return conform(REFERENCES, rows)


def test_the_papers_tables_and_its_ordering():
    tuning, predictions = runs({"zero-shot": 0.1, "ft-proj": 0.5, "ft-e2e": 0.9})
    one = table_one(tuning, predictions, references())
    assert one["model"].to_list() == ["Random (uniform)", "Zero-shot", "FT-Proj", "FT-E2E"]
    assert one.columns == ["model", "d F1", "d Acc"]
    two = table_two(tuning, predictions, None)
    assert two["setting"].to_list() == ["Original", "FT-Proj", "FT-E2E"]
    assert two["MLLM Δ%"][0] is None
    assert two["MLLM Δ%"][2].startswith("+")
    assert table_three(references())["Acc"].to_list() == ["1.0000"]
    pairs = ordering(tuning, predictions)
    assert [(p.better, p.worse) for p in pairs] == [("ft-e2e", "ft-proj"), ("ft-proj", "zero-shot")]
    assert all(p.gap.low > 0 for p in pairs)
    found = tuning_findings(tuning, predictions, references())
    assert "ordering FT-E2E > FT-Proj > zero-shot holds" in found[0].text
    assert any("form, not knowledge" in finding.text for finding in found)
    guessing = predictions.with_columns(constrained=pl.lit("a"))  # right in a third of three classes
    assert not any("form, not knowledge" in f.text for f in tuning_findings(tuning, guessing, references()))


def test_an_ordering_that_does_not_hold_is_named():
    tuning, predictions = runs({"zero-shot": 0.1, "ft-proj": 0.9, "ft-e2e": 0.5})
    assert "does not hold" in tuning_findings(tuning, predictions, None)[0].text


def test_a_cost_in_general_skill_is_named_only_where_it_is_sure():
    tuning, predictions = runs({"zero-shot": 0.1, "ft-proj": 0.5, "ft-e2e": 0.9})

    def sentence(proj):
        skill = pl.col("setting").replace_strict({"zero-shot": 1.0, "ft-proj": proj, "ft-e2e": 1.0})
        found = tuning_findings(tuning.with_columns(skill=skill, skill_n=pl.lit(60)), predictions, None)
        return next(f.text for f in found if "general skill" in f.text)

    whole = "100 % (95 % interval 94 to 100)"
    assert sentence(0.98).startswith(f"Tuning on d shows no sure cost in general skill: {whole} of 60 held-out")
    assert sentence(0.5).startswith(f"Tuning on d costs general skill in ft-proj: {whole} of 60")
    assert f"ft-proj 50 % (95 % interval 38 to 62), ft-e2e {whole}" in sentence(0.5)


def test_how_far_seeds_lie_apart_is_named():
    tuning, predictions = runs({"zero-shot": 0.1, "ft-e2e": 0.9})
    scored = sorted(tuning.filter(setting="ft-e2e")["macro_f1"])
    best = next(f.text for f in tuning_findings(tuning, predictions, None) if "answers best" in f.text)
    assert f"{len(scored)} seeds: {scored[0]:.3f} to {scored[-1]:.3f}" in best


def test_confusion_rows_are_shares_and_show_invalid_answers():
    _, predictions = runs({"zero-shot": 0.4})
    table = confusion(predictions, "d", "zero-shot")
    assert "(invalid)" in table.columns
    assert table.drop("label").sum_horizontal().to_list() == pytest.approx([1.0] * 3)
