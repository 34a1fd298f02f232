"""Scores of classification: equal to scikit-learn's, invalid answers never dropped, the paper's tables."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from tests.studies.project.made import CLASSES, N, made

from chiasm.core.statistics.crossed import macro_f1_interval
from chiasm.results.tables import conform
from chiasm.studies.project.published import confusion, table_one, table_three, table_two
from chiasm.studies.project.references import uniform_guessing
from chiasm.studies.project.scores import ProbeAnswers, ProbeSite, difference, scored, scores
from chiasm.studies.project.tables import IMAGE_MLP, RANDOM, REFERENCES

NAMES = ("a", "b", "c")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*NAMES, None))), min_size=2, max_size=40))
def test_macro_f1_is_scikit_learns_over_the_classes_of_the_test(pairs):
    truth, answered = [a for a, _ in pairs], [b for _, b in pairs]
    found = macro_f1_interval(truth, [answered])
    present = sorted(set(truth))
    expected = f1_score(truth, [b or "none" for b in answered], labels=present, average="macro", zero_division=0)
    assert float(found.mean) == pytest.approx(expected)
    assert 0 <= float(found.low) <= float(found.mean) + 1e-12
    assert float(found.mean) - 1e-12 <= float(found.high) <= 1
    assert float(found.low) < float(found.high)
    assert found.n == len(pairs)


def test_runs_are_averaged_and_share_their_images():
    truth = list("aabb") * 5
    both = macro_f1_interval(truth, [truth, list("bbaa") * 5])
    assert float(both.mean) == pytest.approx(0.5)
    # Two seeds that lie so far apart say that another one could be anywhere.
    assert float(both.low) < 0.05
    assert float(both.high) > 0.95


def test_an_invalid_answer_counts_as_wrong():
    row = scores(list("aab"), ["a", None, "b"])
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["n"] == 3
    assert row["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(("classes", "each"), [(12, 5), (4, 10)])
def test_chance_is_what_guessing_gives_on_average_and_no_draw(classes, each):
    names = [f"c{k}" for k in range(classes)]
    truth = [name for name in names for _ in range(each)]
    row = uniform_guessing(truth, names)
    assert row["accuracy"] == pytest.approx(1 / classes)
    assert row["macro_f1"] == pytest.approx(1 / classes, abs=0.006)
    assert row["macro_f1_low"] < row["macro_f1"] < row["macro_f1_high"]
    assert row == uniform_guessing(truth, names)


def test_the_papers_tables():
    tables = made({"zero-shot": 0.1, "ft-proj": 0.5, "ft-e2e": 0.9})
    truth = list(CLASSES) * 10
    rows = [{"domain": "d", "reference": RANDOM, "seed": 0, **uniform_guessing(truth, CLASSES)}]
    rows.append({"domain": "d", "reference": IMAGE_MLP, "seed": 0, **scores(truth, truth)})
    references = conform(REFERENCES, rows)
    one = table_one(tables["tuning"], tables["predictions"], references)
    assert one["model"].to_list() == ["Random (uniform)", "Zero-shot", "FT-Proj", "FT-E2E"]
    assert one.columns == ["model", "d F1", "d Acc"]
    assert one["d Acc"][0] == "0.2500"
    two = table_two(tables["tuning"], tables["predictions"], None)
    assert two["setting"].to_list() == ["Original", "FT-Proj", "FT-E2E"]
    assert two["MLLM Δ%"][0] is None
    assert two["MLLM Δ%"][2].startswith("+")
    assert table_three(references)["Acc"].to_list() == ["1.0000"]


def test_confusion_rows_are_shares_and_show_invalid_answers():
    table = confusion(made({"zero-shot": 0.4}, invalid=0.5)["predictions"], "d", "zero-shot")
    assert "(invalid)" in table.columns
    assert table["n"].sum() == 2 * N
    assert table.drop("label", "n").sum_horizontal().to_list() == pytest.approx([1.0] * len(CLASSES), abs=0.02)


def test_pairs_are_surer_than_two_intervals():
    rows = made({}, {("zero-shot", "pre", "linear", None): 0.8, ("zero-shot", "post", "linear", None): 0.72})["probed"]
    of = ProbeAnswers.of(rows, "d")
    one, other = of.runs(ProbeSite("zero-shot", "pre")), of.runs(ProbeSite("zero-shot", "post"))
    apart = scored(one), scored(other)
    assert apart[0].low < apart[1].high
    assert difference(one, other).low > 0
    assert difference(other, one).high < 0
    assert difference(one, one).low < 0 < difference(one, one).high
    fewer = ProbeAnswers.of(rows.filter(pl.col("example_id") > "010"), "d").runs(ProbeSite("zero-shot", "pre"))
    with pytest.raises(ValueError, match="different images"):
        difference(one, fewer)
    assert np.isfinite(float(scored(one).low))
