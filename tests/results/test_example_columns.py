"""Values by example and column, and the control that stands beside them."""

import numpy as np
import polars as pl
import pytest

from chiasm.core.beside_control import BesideControl
from chiasm.results.example_columns import claims_of_columns, columns_of

N = 20


def rows(about, value, examples=range(N), **more):
    names = [f"e{k:02d}" for k in examples]
    return pl.DataFrame({"example_id": names, "about": about, "where": 1, "value": value, **more})


def test_draws_of_one_example_are_averaged_and_inputs_counted():
    both = pl.concat([rows("a", 1.0), rows("a", 3.0)]).with_columns(input=pl.col("example_id").str.slice(0, 2))
    own = columns_of(both)
    assert own.columns == (("a", 1),)
    assert own.values[:, 0] == pytest.approx(np.full(N, 2.0))
    assert own.inputs_of(0) == 2


def test_bounds_stay_where_no_value_can_pass():
    spread = np.where(np.arange(N) % 2, 100.0, 60.0)
    free, held = columns_of(rows("a", spread)), columns_of(rows("a", spread), limit=85.0)
    assert free.bands(1.0, 0).high[0] > 85.0
    assert held.bands(1.0, 0).high[0] == 85.0


def test_a_control_beside_few_examples_is_no_control():
    own = pl.concat([rows("a", 2.0), rows("b", 1.0)])
    few, enough = rows("a", 1.0, range(N // 2 - 1)), rows("b", 1.0, range(N // 2))
    difference, level, chosen = columns_of(own).less(columns_of(pl.concat([few, enough])))
    assert chosen == [1]
    assert difference.columns == (("b", 1),)
    assert (level.mean(0), difference.mean(0)) == (1.0, 0.0)
    assert difference.present.sum() == N // 2


def test_values_of_another_are_put_in_its_own_order():
    own = columns_of(pl.concat([rows("a", np.arange(N) * 1.0), rows("b", 0.0)]))
    other = columns_of(pl.concat([rows("b", 5.0), rows("a", np.arange(N) * 2.0)]))
    beside = own.like(other)
    assert beside.columns == own.columns
    assert beside.values[:, 0] == pytest.approx(2.0 * np.arange(N))
    assert beside.values[:, 1] == pytest.approx(np.full(N, 5.0))


def test_the_difference_to_a_control_has_the_verdict_of_the_effect_where_it_holds():
    own = columns_of(rows("a", np.linspace(4.0, 6.0, N)))
    told = {"kind": "share", "quantity": "q", "unit": "%", "least": 1.0}
    [one] = claims_of_columns(own, own.bands(1.0, 0), controlled=lambda k: (True, "c", 1.0), **told)
    assert (one.verdict, one.control, one.control_effect) == ("established", "c", 1.0)
    difference, level, _ = own.less(columns_of(rows("a", 1.0, range(12))))
    for beyond, verdict in ((True, "established"), (False, "not established")):
        null = BesideControl.of("c", level.mean(0), difference.bands(1.0, 0), 0, difference.inputs_of(0), beyond)
        less = null.claim(one, "share-beyond", "less")
        assert (less.kind, less.verdict, less.n, less.inputs) == ("share-beyond", verdict, 12, 12)
        assert less.effect == pytest.approx(difference.mean(0))
