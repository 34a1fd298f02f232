"""Short answers against one label and against ten annotators."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.metrics import Answered, measure, normalised, vqa_accuracy


def answered(text, label="", **fields):
    return Answered(Example(id=text, question="?", answer=label, **fields), text)


@pytest.mark.parametrize(("same", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_agreement_with_ten_annotators(same, score):
    # By hand: 1 of 10 gives nine subsets with one match (1/3) and one with none: 9/10 x 1/3.
    answers = ["yes"] * same + [f"other {number}" for number in range(10 - same)]
    assert vqa_accuracy("Yes.", answers) == pytest.approx(score)


@given(st.lists(st.sampled_from(["a cat", "Cat", "dog", "two", "2", ""]), min_size=2, max_size=10), st.integers(0, 5))
def test_the_closed_form_is_the_mean_over_subsets(answers, which):
    said = ["cat", "dog", "2", "Two!", "bird", ""][which]
    subsets = combinations(answers, len(answers) - 1)
    scores = [min(sum(normalised(a) == normalised(said) for a in subset) / 3, 1) for subset in subsets]
    assert vqa_accuracy(said, answers) == pytest.approx(sum(scores) / len(answers))


def test_one_label_counts_for_all():
    assert vqa_accuracy("the dog", ["dog"]) == 1
    assert vqa_accuracy("cat", ["dog"]) == 0
    assert vqa_accuracy("cat", []) == 0


def test_exact_match_forgives_the_form_and_accuracy_does_not():
    rows = [answered("Red", "red"), answered("a red one", "red 1"), answered("blue", "red"), answered("", "")]
    right, match = measure("exact", rows)
    assert (right.name, right.parts.tolist()) == ("accuracy", [1, 0, 0, 0])
    assert (match.name, match.parts.tolist()) == ("exact_match", [1, 1, 0, 0])
    [several] = measure("exact", [answered("dog", "cat", answers=("cat", "cat", "dog"))])[1:]
    assert several.parts.tolist() == [1]


def test_the_measure_of_vqa_reads_the_answers():
    [found] = measure("vqa", [answered("cat", "dog", answers=("cat", "dog", "dog", "dog")), answered("dog", "dog")])
    assert found.parts.tolist() == pytest.approx([0.75 / 3, 1])


def test_an_unknown_metric_is_told():
    with pytest.raises(ChiasmError, match="`bleu`: there are exact, vqa"):
        measure("bleu", [])
