import pytest

from chiasm.data.scoring import accuracy, correct


@pytest.mark.parametrize(
    ("generated", "answer", "strict", "relaxed"),
    [
        ("red", "red", True, True),
        ("  Red\n", "red", True, True),
        ("red", "Red", True, True),
        ("Red.", "red", False, True),
        ("red ..", "red", False, True),
        ("the red", "red", False, False),
        ("train car", "train car", True, True),
        ("train  car", "train car", False, False),
        ("reddish", "red", False, False),
        ("", "red", False, False),
        ("", "", False, False),
        (".", ".", True, False),
    ],
)
def test_an_answer_is_right_when_the_text_is_the_label(generated, answer, strict, relaxed):
    assert correct(generated, answer) is strict
    assert correct(generated, answer, relaxed=True) is relaxed


def test_accuracy_by_type_with_the_blind_guess():
    rows = [("B", "yes", True), ("B", "Yes ", False), ("B", "no", True), ("B", "no", True), ("B", "no", True)]
    rows += [("A", "left", False)]
    a, b, everything = accuracy(rows)
    assert (a.type, a.n, a.right, a.accuracy, a.majority_answer, a.majority) == ("A", 1, 0, 0.0, "left", 1.0)
    assert (b.type, b.n, b.right, b.accuracy, b.majority_answer, b.majority) == ("B", 5, 4, 0.8, "no", 0.6)
    assert (everything.type, everything.n, everything.right) == ("all", 6, 4)
    assert everything.majority == pytest.approx((1 + 3) / 6)
    assert 0 == a.low < a.high < 1
    assert b.low < b.accuracy < b.high


def test_the_interval_is_wilsons():
    # Worked by hand: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.959964, p = 0.95, n = 1000.
    [score] = accuracy([("A", "x", i >= 50) for i in range(1000)])
    assert (score.low, score.high) == pytest.approx((0.934689, 0.961862), abs=1e-5)


def test_no_rows_give_no_groups():
    assert accuracy([]) == ()
