"""Sums over batches survive any stop: nothing lost that was saved, nothing added twice."""

import numpy as np
import pytest
from tests.support.rundirs import Spec, open_directory

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.results.rundir import RunDirectory
from chiasm.runners.accumulator import Accumulator, accumulate
from chiasm.runners.driver import Computed


class Adder(Accumulator[int]):
    """Adds up example numbers; raises at `stop_at` after half of the batch was added. `dies_after` as `saved`."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.stop_at, self.error = stop_at, error
        self.total = np.zeros(1)
        self.batches = 0

    def prepare(self, index: int, example: Example) -> int:
        if example.id == "bad":
            raise ExampleError("it is bad")
        return int(example.id)

    def compute(self, prepared):
        for number in prepared:
            if number == self.stop_at:
                raise self.error
            self.total = self.total + number
        self.batches += 1
        rows = [{"example_id": str(n), "number": n} for n in prepared]
        return Computed({"parts": rows}, kept=len(prepared))

    def state(self):
        return {"total": self.total}

    def restore(self, state):
        self.total = np.array(state.get("total", np.zeros(1)))

    def merge(self, state):
        self.total = self.total + state["total"]

    def tables(self):
        return {"sums": [{"total": float(self.total[0])}]}


NUMBERS = [Example(id=str(k), question="?") for k in range(1, 8)]


def total(directory):
    return directory.table("sums")["total"][0]


@pytest.mark.parametrize("save_every", [0.0, 1e9])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_stop_within_a_batch_adds_nothing_twice(tmp_path, save_every, error):
    path = tmp_path / "run"
    with pytest.raises(type(error)), open_directory(path, Spec()) as directory:
        accumulate(Adder(6, error), NUMBERS, directory, 2, "test", save_every=save_every)
    stopped = RunDirectory.load(path)
    done = len(stopped.done())
    assert done == (2 if save_every == 0 else 0)
    assert ("sums" in stopped.tables()) == bool(done)
    assert not done or total(stopped) == sum(range(1, 2 * done + 1))
    again = Adder()
    with open_directory(path, Spec(), resume=True) as directory:
        accumulate(again, NUMBERS, directory, 2, "test")
        directory.finish()
    assert again.batches == 4 - done
    assert total(directory) == sum(range(1, 8))
    assert directory.table("parts")["number"].to_list() == list(range(1, 8))


def test_a_kill_between_sums_and_records_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "run"

    def killed(*args, **kwargs):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "record", killed)
        with pytest.raises(SystemExit), open_directory(path, Spec()) as directory:
            accumulate(Adder(), NUMBERS[:4], directory, 2, "test", save_every=0.0)
    assert not RunDirectory.load(path).done()
    again = Adder()
    with open_directory(path, Spec(), resume=True) as directory:
        accumulate(again, NUMBERS[:4], directory, 2, "test")
        directory.finish()
    assert total(directory) == 10
    assert again.batches == 1


def test_bad_examples_are_reported(tmp_path):
    with open_directory(tmp_path / "run", Spec()) as directory:
        accumulate(Adder(), [Example(id="bad", question="?"), *NUMBERS[:2]], directory, 2, "test")
        directory.finish()
    assert total(directory) == 3
    assert [f["example_id"] for f in directory.failures()] == ["bad"]
