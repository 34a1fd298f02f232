"""Tables of numbers: one per question, from claims alone."""

from dataclasses import replace

import pytest

from chiasm.core.claims import Claim
from chiasm.results.numbers import FOLDED_AFTER, HEADS, cells, number_tables

BASE = Claim(kind="effect", about="image->last", quantity="change", unit="nat", effect=-0.5, n=9, verdict="established")


def of(**given):
    return replace(BASE, **given)


def test_one_table_per_question_in_the_order_of_the_questions():
    made = number_tables([of(kind="b"), of(kind="a"), of(kind="b")], {"a": "First?", "b": "Second?", "c": "None?"})
    assert [(table.question, len(table.claims)) for table in made] == [("First?", 1), ("Second?", 2)]


def test_a_kind_without_a_question_asks_for_its_quantity():
    [table] = number_tables([of(kind="unknown")], {})
    assert table.question == "How large: change?"


def test_the_established_come_first_then_the_largest():
    claims = [of(effect=9.0, verdict="not established"), of(effect=0.1), of(effect=-3.0), of(verdict="uncontrolled")]
    [table] = number_tables(claims, {"effect": "How?"})
    assert [one.effect for one in table.claims] == [-3.0, 0.1, -0.5, 9.0]
    assert table.established == 2


def test_units_are_not_compared_by_size():
    claims = [of(effect=0.2, unit="nat"), of(effect=50.0, unit="%"), of(effect=0.4, unit="nat")]
    [table] = number_tables(claims, {"effect": "How?"})
    assert [one.effect for one in table.claims] == [0.4, 0.2, 50.0]


@pytest.mark.parametrize(("rows", "behind", "left_out"), [(3, 0, 0), (9, 1, 0), (250, 192, 50)])
def test_long_tables_fold(rows, behind, left_out):
    [table] = number_tables([of(effect=float(k)) for k in range(rows)], {"effect": "How?"})
    assert (len(table.first), len(table.rest), table.left_out) == (min(rows, FOLDED_AFTER), behind, left_out)
    assert table.frame.height == rows


def test_a_row_says_effect_interval_control_and_verdict():
    claim = of(low=-0.7, high=-0.3, p=0.012, control="twin", control_effect=-0.01, inputs=8, where="3")
    assert dict(zip(HEADS, cells(claim), strict=True)) == {
        "About": "image → last",
        "Where": "3",
        "Effect": "-0.5 nat",
        "95 % interval": "-0.7 to -0.3",
        "n": "9 (8 inputs)",
        "Control": "random weights: -0.01 nat",
        "p": "0.012",
        "Verdict": "established",
    }


def test_what_is_not_there_is_not_made_up():
    row = dict(zip(HEADS, cells(of(low=None, high=None, unit="1")), strict=True))
    assert (row["95 % interval"], row["Control"], row["p"], row["Effect"]) == ("none", "none", "", "-0.5")


def test_large_numbers_are_written_out():
    assert cells(of(effect=1234567.0, unit="bytes"))[2] == "1,234,567 bytes"


def test_what_is_counted_has_no_interval_and_a_layer_is_named():
    assert cells(of(effect=2.0, low=2.0, high=2.0, unit="layer"))[2:4] == ("layer 2", "counted")
