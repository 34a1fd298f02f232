"""POPE's reading of answers and its measures."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.metrics import Answered, estimate, fitting, measure, objects_for, yes_or_no


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes", "yes"),
        ("Yes, there is a dog in the image.", "yes"),
        ("A dog stands there.", "yes"),
        ("Yes. No dog though.", "yes"),  # the first sentence only
        ("A nose", "yes"),
        ("No", "no"),
        ("no, there is none", "no"),
        ("There is not.", "no"),
        ("There isn't.", "no"),
        ("None.", "no"),
        ("neither", "no"),
        ("Nothing of the kind", "no"),
        ("I cannot see one.", "no"),
        ("I can’t see a dog.", "no"),
        ("Maybe.", "unclear"),
        ("Not sure", "unclear"),
        ("I am not sure, yes perhaps", "unclear"),
        ("I cannot tell.", "unclear"),
        ("I don't know.", "unclear"),
        ("Yes and no", "unclear"),
        ("", "unclear"),
        (" . ", "unclear"),
    ],
)
def test_what_an_answer_says(text, said):
    assert yes_or_no(text) == said


def asked(label, text):
    return Answered(Example(id=f"{label}{text}", question="?", answer=label), text)


def test_the_measures_of_pope():
    rows = [asked("yes", "Yes"), asked("yes", "no"), asked("no", "yes"), asked("no", "no"), asked("no", "maybe")]
    found = {m.name: estimate(m) for m in measure("pope", rows)}
    values = {name: round(float(e.mean), 4) for name, e in found.items()}
    # TP 1, FN 1, FP 1, TN 1, and one that is neither yes nor no: wrong, and no claim
    assert values == {
        "pope_f1": 0.5,
        "pope_accuracy": 0.4,
        "pope_precision": 0.5,
        "pope_recall": 0.5,
        "pope_yes_share": 0.4,
        "pope_unclear": 0.2,
    }
    assert {name: e.n for name, e in found.items()}["pope_recall"] == 2
    with pytest.raises(ChiasmError, match="label `red`"):
        measure("pope", [asked("red", "red")])


@pytest.mark.parametrize("label", ["yes", "no"])
def test_an_unclear_answer_is_wrong_whatever_the_label(label):
    found = {m.name: float(m.parts.sum()) for m in measure("pope", [asked(label, "Maybe."), asked(label, "Dog")])}
    assert found["pope_unclear"] == 2
    assert found["pope_accuracy"] == float(label == "yes")  # of "Dog", which claims one


def test_no_precision_where_nothing_is_said_to_be_there():
    found = {m.name: estimate(m) for m in measure("pope", [asked("yes", "no"), asked("no", "no")])}
    assert found["pope_precision"] is None
    assert float(found["pope_f1"].mean) == 0


def test_the_metric_fits_the_form_of_the_answers():
    def one(**fields):
        return Example(id="a", question="?", **fields)

    box = objects_box()
    assert fitting([one(answer="red")]) == ("exact",)
    assert fitting([one(answer="Yes"), one(answer="no")]) == ("pope", "exact")
    assert fitting([one(answer="yes"), one(answer="red")]) == ("exact",)
    assert fitting([one(answer="red", answers=("red", "pink"))]) == ("vqa", "exact")
    assert fitting([one(captions=("a dog",))]) == ("cider",)
    assert fitting([one(captions=("a dog",), boxes=(box,))]) == ("cider", "chair")
    assert fitting([one(captions=("a dog",), answer="red")]) == ("exact",)
    assert objects_for([one()]) is None
    assert objects_for([one(boxes=(box,))]).names == {"dog"}
    assert "star" in objects_for([], "scenes").names


def objects_box():
    from chiasm.core.example import Box

    return Box("Dog", 0, 0, 1, 1)
