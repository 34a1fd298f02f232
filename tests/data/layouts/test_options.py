import pytest

from chiasm.data.layouts.gqa import in_question_order


@pytest.mark.parametrize(
    ("question", "order"),
    [
        ("Is the jar full or empty?", ("full", "empty")),
        ("What is not black, the shirt or the hat?", ("shirt", "hat")),  # also wHAT
        ("Which vehicle is white, the train car or the car?", ("train car", "car")),
        ("Which vehicle is white, the car or the train car?", ("car", "train car")),
        ("Is the road paved or unpaved?", ("paved", "unpaved")),
        ("Is the wall made of cobblestone or stone?", ("cobblestone", "stone")),
        ("Is he to the right or to the left of the chair on the left side?", ("right", "left")),
        ("Is the cat in front or behind the box?", ("front", "behind")),
        ("Which color is the orange, red or orange?", ("red", "orange")),
        ("Which kind of animal is this, elephants or giraffes?", ("elephant", "giraffes")),
        ("What device is orange, the telephone or the laptop?", ("phone", "laptop")),
        ("What is it?", ("a (big) one", "b")),
        ("Is it B or A?", ("b", "a")),
    ],
)
def test_options_follow_the_question_whichever_is_true(question, order):
    first, second = order
    assert in_question_order(question, first, second) == order
    assert in_question_order(question, second, first) == order
