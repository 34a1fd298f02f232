"""Sums over units survive any stop: nothing lost that was saved, nothing added twice."""

from dataclasses import dataclass

import numpy as np
import pytest

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.runners import folded
from chiasm.runners.base import Computed


@dataclass(frozen=True)
class Spec:
    name: str = "test"


class Adder(folded.Folding[int]):
    """Adds up example numbers; raises at `stop_at` after half of the unit was added. `dies_after` as `saved`."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.stop_at, self.error = stop_at, error
        self.total = np.zeros(1)
        self.units = 0

    def prepare(self, index: int, example: Example) -> int:
        if example.id == "bad":
            raise ExampleError("it is bad")
        return int(example.id)

    def compute(self, prepared):
        for number in prepared:
            if number == self.stop_at:
                raise self.error
            self.total = self.total + number
        self.units += 1
        rows = [{"example_id": str(n), "type": "t", "span": "image", "tokens": n} for n in prepared]
        return Computed({"extents": rows}, kept=len(prepared))

    def state(self):
        return {"total": self.total}

    def restore(self, state):
        self.total = np.array(state.get("total", np.zeros(1)))

    def tables(self):
        row = {"span": "image", "layer": 0, "statistic": "mean", "mean": float(self.total[0]), "std": None, "n": 1}
        return {"norms": [row]}


NUMBERS = [Example(id=str(k), question="?") for k in range(1, 8)]


def total(directory):
    return directory.table("norms")["mean"][0]


@pytest.mark.parametrize("save_every", [0.0, 1e9])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_stop_within_a_unit_adds_nothing_twice(tmp_path, save_every, error):
    path = tmp_path / "run"
    with pytest.raises(type(error)), RunDirectory.open(path, Spec()) as directory:
        folded.run(Adder(6, error), NUMBERS, directory, 2, "test", save_every=save_every)
    stopped = RunDirectory.load(path)
    done = len(stopped.done())
    assert done == (2 if save_every == 0 else 0)
    assert total(stopped) == sum(range(1, 2 * done + 1))
    again = Adder()
    with RunDirectory.open(path, Spec(), resume=True) as directory:
        folded.run(again, NUMBERS, directory, 2, "test")
        directory.finish()
    assert again.units == 4 - done
    assert total(directory) == sum(range(1, 8))
    assert directory.table("extents")["tokens"].to_list() == list(range(1, 8))


def test_a_kill_between_sums_and_records_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "run"

    def killed(*args, **kwargs):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "write_shard", killed)
        with pytest.raises(SystemExit), RunDirectory.open(path, Spec()) as directory:
            folded.run(Adder(), NUMBERS[:4], directory, 2, "test", save_every=0.0)
    assert not RunDirectory.load(path).done()
    again = Adder()
    with RunDirectory.open(path, Spec(), resume=True) as directory:
        folded.run(again, NUMBERS[:4], directory, 2, "test")
        directory.finish()
    assert total(directory) == 10
    assert again.units == 1


def test_bad_examples_are_told(tmp_path):
    with RunDirectory.open(tmp_path / "run", Spec()) as directory:
        folded.run(Adder(), [Example(id="bad", question="?"), *NUMBERS[:2]], directory, 2, "test")
        directory.finish()
    assert total(directory) == 3
    assert [f["example_id"] for f in directory.failures()] == ["bad"]
