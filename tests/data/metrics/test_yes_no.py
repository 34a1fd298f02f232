"""POPE's reading of answers and its measures."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.metrics import Answered, estimate, fitting, measure, objects_for, says_yes


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes", True),
        ("No", False),
        ("no, there is none", False),
        ("There is not.", False),
        ("Yes. No dog though.", True),  # the first sentence only
        ("A nose", True),
        ("", True),
    ],
)
def test_what_counts_as_yes(text, yes):
    assert says_yes(text) is yes


def asked(label, text):
    return Answered(Example(id=f"{label}{text}", question="?", answer=label), text)


def test_the_measures_of_pope():
    rows = [asked("yes", "Yes"), asked("yes", "no"), asked("no", "yes"), asked("no", "no"), asked("no", "maybe")]
    found = {m.name: estimate(m) for m in measure("pope", rows)}
    values = {name: round(float(e.mean), 4) for name, e in found.items()}
    # TP 1, FN 1, FP 2, TN 1
    assert values == {
        "pope_f1": 0.4,
        "pope_accuracy": 0.4,
        "pope_precision": 0.3333,
        "pope_recall": 0.5,
        "pope_yes_share": 0.6,
        "pope_unclear": 0.2,
    }
    assert {name: e.n for name, e in found.items()}["pope_recall"] == 2
    with pytest.raises(ChiasmError, match="label `red`"):
        measure("pope", [asked("red", "red")])


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
