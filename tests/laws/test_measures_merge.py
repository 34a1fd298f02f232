"""Parts add up: shards merged equal one pass, and the order of examples does not matter. Over every measure."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from tests.support.runs import encoded, view_of
from tests.support.states import all_measures, feed, pilot

from chiasm.measures.base import Measure, MeasureConfig, ReadSizes
from chiasm.measures.registry import measure_classes, measures

SPANS = ("image", "question")
NAMES = [kind.name for kind in measure_classes()]
FIRST = ["norms", "drift", "score", "similarity", "token_pairs", "overlap", "geometry", "inside", "vocabulary"]


@pytest.fixture(scope="module")
def view():
    return view_of("llava")


@pytest.fixture(scope="module")
def items(view):
    return [encoded(view, seed=seed) for seed in range(9)]


@pytest.fixture(scope="module")
def make(view, items):
    """Fresh measures by name."""
    centres = pilot(view, [items], SPANS)

    def fresh(name: str) -> Measure:
        config = MeasureConfig(SPANS, view, centres, as_released=True)
        (found,) = [m for m in measures(config) if m.name == name]
        # Smaller than the number of examples, so that something is let go.
        if name in ("geometry", "token_pairs"):
            found.reservoir.size = 8 if name == "geometry" else 4
        return found

    return fresh


def assert_equal(a: Measure, b: Measure):
    ours, theirs = a.tables(), b.tables()
    assert ours.keys() == theirs.keys()
    for table, rows in ours.items():
        assert rows, f"{table} is empty, so equality says nothing"
        assert len(rows) == len(theirs[table])
        for mine, other in zip(rows, theirs[table], strict=True):
            assert mine.keys() == other.keys()
            for column, value in mine.items():
                place = f"{table}.{column} in {mine}"
                if mine.get("method") == "tsne" and column in "xy":
                    continue  # an optimisation: the last digits decide where it ends
                if isinstance(value, float):
                    assert other[column] == pytest.approx(value, rel=1e-5, abs=1e-6), place
                else:
                    assert other[column] == value, place


def test_every_measure_is_registered(view, items):
    home = Path(inspect.getfile(Measure)).parent

    def below(kind):
        ours = {kind} if Path(inspect.getfile(kind)).parent == home else set()
        return ours.union(*(below(one) for one in kind.__subclasses__()))

    made = all_measures(view, items)
    assert {type(m) for m in made} == below(Measure) - {Measure}
    assert [m.name for m in made] == NAMES
    # Rows of a table that several measures share stand in this order.
    assert NAMES[: len(FIRST)] == FIRST


@pytest.mark.parametrize("name", NAMES)
def test_shards_merged_are_one_pass_in_any_order(view, items, make, name):
    whole = feed([make(name)], view, [items[:4], items[4:8], items[8:]], SPANS)[0]
    order = np.random.default_rng(0).permutation(len(items))
    mixed = [items[k] for k in order]
    first, second, third = (feed([make(name)], view, [part], SPANS)[0] for part in (mixed[:1], mixed[1:6], mixed[6:]))
    second.merge(third)
    first.merge(second)
    assert_equal(whole, first)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_measure_goes_on_as_if_never_stopped(view, items, make, name):
    whole = feed([make(name)], view, [items[:3], items[3:6]], SPANS)[0]
    stopped = feed([make(name)], view, [items[:3]], SPANS)[0]
    state = {key: value.copy() for key, value in stopped.state().items()}
    again = make(name)
    again.restore(state)
    feed([again], view, [items[3:6]], SPANS)
    assert_equal(whole, again)
    for key, value in stopped.state().items():
        np.testing.assert_array_equal(value, state[key])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_does_not_grow(view, items, make, name):
    few = feed([make(name)], view, [items[:4]], SPANS)[0]
    many = feed([make(name)], view, [items[:4]] * 3, SPANS)[0]
    size = {key: value.nbytes for key, value in few.state().items()}
    assert {key: value.nbytes for key, value in many.state().items()} == size


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_declared(make, name):
    sizes = ReadSizes(layers=4, width=48, inner=96, vocabulary=420, tokens={"image": 16, "question": 10}, sampled=4)
    cost = make(name).cost(sizes)
    assert cost.operations > 0
    assert cost.bytes >= 0
