"""Tables of numbers: one per question, from claims alone."""

from dataclasses import replace

import pytest

from chiasm.core.claims import Claim
from chiasm.results.charts.theme import dash_of
from chiasm.results.doubts import ALLOWED
from chiasm.results.numbers import FOLDED_AFTER, HEADS, cells, control_name, number_tables
from chiasm.studies.align.charts.panels import CONTROL_LABELS
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.project.charts import SHUFFLED_LABELS
from chiasm.studies.project.tables import SHUFFLED

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


def test_what_no_control_judges_stands_above_what_is_practically_none():
    claims = [of(effect=0.01, verdict="practically none"), of(effect=-3.0, verdict="uncontrolled")]
    [table] = number_tables(claims, {"effect": "How?"})
    assert [one.effect for one in table.claims] == [-3.0, 0.01]
    assert table.tally == "0 of 2 established, 1 uncontrolled"


def test_counts_and_choices_have_no_verdict():
    claims = [of(kind="smallest", verdict="not established"), of(verdict="not established"), of()]
    questions = {"effect": "How?", "smallest": "Which?"}
    tested, chosen = number_tables(claims, questions, untested=frozenset({"smallest"}))
    assert (tested.tally, chosen.tally) == ("1 of 2 established", "not tested")
    assert [row[-1] for row in chosen.first] == ["not tested"]


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
        "Control": "random-weights baseline: -0.01 nat",
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


def test_every_control_that_was_run_has_a_column_of_its_own_in_all_rows():
    """What stands in a column may not change its kind from row to row."""
    rows = [of(about="a", control="twin", control_effect=-0.1), of(about="b", control="blank", control_effect=-0.2)]
    others = [of(about="a", kind="effect-control", control="blank", control_effect=-0.3)]
    table, differences = number_tables([*rows, *others], {"effect": "How much?", "effect-control": "More?"})
    assert table.heads[5:7] == ("the same cut on a blank image", "random-weights baseline")
    assert {row[0]: row[5:7] for row in table.first} == {"a": ("-0.3 nat", "-0.1 nat"), "b": ("-0.2 nat", "\u2013")}
    assert differences.heads[5] == "from: the same cut on a blank image"
    assert len(table.heads) == len(table.dashes) == len(table.first[0])


def test_a_control_has_the_dash_and_the_name_that_it_has_in_charts():
    [table] = number_tables([of(control="twin"), of(control="size-matched", about="b")], {})
    drawn = dict(zip(table.heads, table.dashes, strict=True))
    for name in ("size-matched", "twin"):
        assert drawn[control_label(name)] == dash_of(control_label(name))
    assert drawn["Effect"] == ()
    assert {name: control_name(name) for name in CONTROL_LABELS} == CONTROL_LABELS
    assert SHUFFLED_LABELS.label == f"{control_name(SHUFFLED)} (control)"


def test_rows_that_are_compared_with_different_things_each_say_with_what():
    [table] = number_tables([of(control="ft-lora", control_effect=0.1), of(control="ft-e2e", control_effect=0.2)], {})
    assert table.heads[5] == "Compared with"
    assert {row[5] for row in table.first} == {"ft-lora: 0.1 nat", "ft-e2e: 0.2 nat"}
    [same] = number_tables([of(control="loss allowed", control_effect=1.0)], {})
    assert (same.heads[5], same.first[0][5]) == ("loss allowed", "1 nat")


def test_an_effect_that_is_a_difference_is_called_one():
    """Beside 46.7 points more than 50, the 50 must not look like what was not reached."""
    claims = [of(kind="gain", unit="points", effect=46.7, control="guessing", control_effect=50.0)]
    [table] = number_tables(claims, {"gain": "More or less?"}, {"gain"})
    assert (table.heads[2], table.heads[5]) == ("Difference", "from: guessing")
    [plain] = number_tables(claims, {"gain": "More or less?"})
    assert (plain.heads[2], plain.heads[5]) == ("Effect", "guessing")
    several = [*claims, of(kind="gain", about="b", control="chance", control_effect=1.0)]
    [mixed] = number_tables(several, {"gain": "More or less?"}, {"gain"})
    assert mixed.heads[5] == "Difference from"


def test_what_is_established_says_which_way_it_goes():
    [table] = number_tables([of(about="a", effect=-1.0), of(about="b", effect=1.0)], {"effect": "More or less?"})
    assert {row[0]: row[-1] for row in table.first} == {"a": "established: less", "b": "established: more"}


def reason(claim, *others, differences=()):
    """What stands behind the verdict of a claim."""
    apart = [replace(other, quantity="of another table") for other in others]
    found = [table for table in number_tables([claim, *apart], {}, differences) if claim in table.claims]
    [row] = [row for table in found for row in table.first if row[0] == claim.about]
    return row[-1].partition(": ")[2]


def test_a_verdict_says_why_where_the_interval_leaves_out_nought():
    open_ = of(about="a", low=-0.7, high=-0.3, verdict="not established", p=0.01)
    assert reason(open_) == "too small to name"
    assert reason(replace(open_, p=0.2)) == "p above 0.05 after correction"
    assert reason(replace(open_, inputs=5)) == "fewer than 8 inputs"
    assert reason(replace(open_, control="twin", control_effect=-0.6)) == "a control as large"
    assert reason(replace(open_, control="twin", control_effect=-0.4)) == "the interval holds the control"
    beside = replace(open_, control="twin", control_effect=-0.1)
    assert reason(beside) == "not beyond its control, or too small to name"
    bound = replace(open_, effect=40.0, low=30.0, high=50.0, unit="points", control=ALLOWED, control_effect=1.0)
    assert reason(bound) == "more than allowed"
    assert reason(replace(bound, low=0.5)) == "", "it may be within, or not"
    apart = replace(open_, kind="beyond", control="twin", control_effect=-0.1, low=-0.6, high=0.1, p=0.2)
    assert reason(beside, apart) == "not beyond its control"
    assert reason(beside, replace(apart, high=-0.2, p=0.01)) == "too small to name"
    more = replace(beside, kind="effect-control", control="blank", control_effect=-0.9, effect=0.4)
    assert reason(beside, more) == "a control as large", "each control that was run counts"
    assert reason(replace(beside, kind="effect-control"), open_) == "the effect itself is not established"
    gain = replace(beside, kind="gain", control_effect=-0.9)
    assert reason(gain, differences={"gain"}) == "not beyond its control, or too small to name"
    for sure in (replace(open_, high=0.1), replace(open_, low=None), replace(open_, verdict="established")):
        assert reason(sure) == ""


def test_what_arithmetic_leaves_is_written_as_nought():
    row = cells(of(effect=-0.2, low=-0.4, high=-1.3e-9, control="twin", control_effect=9.2e-7))
    assert row[2:4] == ("-0.2 nat", "-0.4 to 0")
    assert row[5] == "random-weights baseline: 0 nat"
    assert cells(of(effect=3e-5, verdict="not established"))[2] == "0 nat"
    assert cells(of(effect=3e-5, low=1e-5, high=5e-5))[2:4] == ("3e-05 nat", "1e-05 to 5e-05"), "it was found"


def test_columns_that_say_nothing_are_hidden():
    [bare] = number_tables([of(), of(about="b")], {})
    assert {bare.heads[k] for k in bare.hidden} == {"Where", "p"}
    [full] = number_tables([of(), of(about="b", where="3", p=0.01)], {})
    assert full.hidden == frozenset()
