import pytest
from tests.support import flow_tables as made
from tests.support.charts import rows, titles

from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.results.series import majority, right_share
from chiasm.results.tables import conform
from chiasm.studies.eval.charts import accuracy_chart, drawn, measures_chart
from chiasm.studies.eval.tables import METRICS


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_right_answers_stand_beside_the_blind_and_the_most_frequent_answer(width):
    answers, blind = made.evaluation(), made.evaluation(right=0.4)
    chart = accuracy_chart(answers, blind, size_of(width))
    whole = rows(chart, "row", "mark").filter(row=f"all (n = {answers.height})")
    share = right_share(answers)
    seen = whole.filter(mark="with the image").row(0, named=True)
    assert (seen["value"], seen["low"], seen["high"]) == pytest.approx(
        [100 * float(part) for part in (share.mean, share.low, share.high)], rel=1e-6
    )
    unseen = whole.filter(mark="image blanked (control)")["value"][0]
    assert unseen == pytest.approx(100 * float(right_share(blind).mean), rel=1e-6)
    guess = whole.filter(mark="the most frequent answer (control)")["value"][0]
    assert guess == pytest.approx(100 * majority(answers), rel=1e-6)
    assert {"Right answers (%)", "Question type", "n"} <= set(titles(chart))
    assert rows(chart, "row")["row"].n_unique() == 1 + answers["type"].n_unique()


def test_one_type_has_one_row_and_no_control_is_drawn_where_none_was_run():
    answers = made.evaluation()
    alone = answers.filter(type=answers["type"][0])
    data = rows(accuracy_chart(alone, None, SCREEN), "row")
    assert data["row"].n_unique() == 1
    assert set(data["mark"]) == {"with the image", "the most frequent answer (control)"}


def measured(types):
    return conform(
        METRICS,
        [
            {"metric": "pope_f1", "type": name, "shown": shown, "value": value, "low": None, "high": 0.9, "n": 30}
            for name in ("all", *types)
            for shown, value in (("image", 0.8), ("blank", 0.5))
        ],
    )


def test_measures_have_their_values_in_per_cent_and_no_bound_where_there_is_none():
    chart = measures_chart(measured(["a", "b"]), SCREEN, percent=True)
    data = rows(chart, "row", "mark")
    assert data.filter(mark="with the image")["value"].to_list() == [80.0] * 3
    assert data.filter(mark="image blanked (control)")["value"].to_list() == [50.0] * 3
    assert "low" not in data.columns
    assert "Share (%)" in titles(chart)


def test_types_are_drawn_where_they_are_few():
    assert drawn(measured("abc"), percent=True)["type"].n_unique() == 4
    assert set(drawn(measured("abcdefgh"), percent=True)["type"]) == {"all"}
    assert not drawn(measured("abc"), percent=False).height
