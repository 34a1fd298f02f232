"""Lines through small runs give back what they were made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.extrapolation import Trial, line

TIMES = st.floats(0, 1e4, allow_subnormal=False)


def trial(examples, seconds, first=False):
    return Trial(examples, seconds, seconds / 2, 1000 * examples, 10, first)


@given(once=TIMES, each=TIMES, warming=TIMES, sizes=st.sets(st.integers(1, 5000), min_size=2, max_size=5))
def test_a_line_is_found_again_and_what_only_the_first_run_pays_is_paid_once(once, each, warming, sizes):
    smallest, *_ = ordered = sorted(sizes)
    first = trial(smallest, once + warming + each * smallest, first=True)
    found = line([first, *(trial(n, once + each * n) for n in ordered)], "seconds")
    scale = 1 + once + warming + each * 5000
    assert found.at(10_000) == pytest.approx(once + warming + each * 10_000, abs=1e-6 * scale)
    least, most = found.within(10_000)
    assert least == pytest.approx(most, abs=1e-6 * scale)


def test_the_range_is_that_of_the_slopes_between_runs_of_unlike_sizes():
    found = line([trial(2, 1.0, True), trial(2, 1.0), trial(10, 9.0), trial(30, 19.0)], "seconds")
    assert (found.each_least, found.each_most) == pytest.approx((0.5, 1.0))
    assert found.each_least < found.each < found.each_most
    least, most = found.within(100)
    assert least < found.at(100) < most


def test_one_that_gets_faster_costs_nothing_more_each():
    found = line([trial(2, 5.0, True), trial(2, 5.0), trial(10, 4.0)], "seconds")
    assert found.each == 0
    assert found.at(1000) == pytest.approx(4.5)


def test_runs_of_few_examples_say_nothing_of_long_ones_where_there_are_larger():
    """Of few examples statistics are left out: time would seem to grow by what is made once."""
    first, again = trial(2, 5.0, True), trial(2, 1.0)
    found = line([first, again, trial(16, 20.0), trial(48, 23.2)], "seconds")
    assert found.each == pytest.approx(0.1)
    assert found.at(1000) == pytest.approx(4.0 + 18.4 + 100)


def test_quantities_are_apart():
    trials = [trial(2, 4.0, True), trial(4, 8.0)]
    assert line(trials, "processor").at(100) == pytest.approx(100)
    assert line(trials, "tables").at(100) == pytest.approx(100_000)
    assert line(trials, "shown").at(100) == pytest.approx(10)


def test_one_size_makes_no_line():
    with pytest.raises(ValueError, match="two sizes"):
        line([trial(2, 1.0, True), trial(2, 1.0)], "seconds")
