"""An estimate in words: value, interval, n and unit, or what stands in place of the interval."""

import numpy as np

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.statistics.intervals import Estimate
from chiasm.results import wording

HALF = Estimate(np.array(0.521), np.array(0.44), np.array(0.602), 146)


def test_an_estimate_has_value_interval_n_and_unit():
    assert wording.share(HALF, 146) == "52.1 % (95 % interval 44.0 to 60.2, n = 146)"
    assert wording.share(HALF, digits=0, brackets=False) == "52 %, 95 % interval 44 to 60"
    assert wording.estimate(-0.04, -1.0, 1.0, signed=True) == "+0.0 (95 % interval -1.0 to +1.0)"
    assert wording.estimate(1234.5, significant=3, missing="") == "1.23e+03"


def test_what_stands_where_there_is_no_interval():
    assert wording.estimate(1.0, float("nan"), float("nan"), 1) == "1.0 (no interval, n = 1)"
    assert wording.bounds(None, None) == "none"
    assert wording.compact(0.5, None, None) == "0.50"


def test_shorter_forms():
    assert wording.bounds(0.44, 0.602, scale=100, unit="%") == "44.0 to 60.2 %"
    assert wording.compact(0.65512, 0.606, 0.694, digits=4, bound_digits=3) == "0.6551 (0.606 to 0.694)"
    assert wording.percent(0.521) == "52 %"
    assert wording.quartiles(0.5, 0.4, 0.6) == "50 % (quartiles 40 to 60)"
    assert wording.number(2.5, **wording.metric_format(ANSWER_METRICS["cider_d"])) == "2.50"
    assert wording.number(0.25, **wording.metric_format(ANSWER_METRICS["accuracy"])) == "25.0 %"
