"""What a runner promises: batches in order, nothing lost, nothing repeated, bad examples reported and left behind."""

import threading
from collections.abc import Sequence

import pytest
import torch
from tests.support.rundirs import Spec, open_directory

from chiasm.core.errors import ChiasmError, ExampleError, UnbatchableError
from chiasm.core.example import Example
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples


class Echo(Work[str]):
    """Writes one row per example; `stop_at` is where it is interrupted, `bad` what cannot be prepared."""

    def __init__(self, stop_at: str | None = None, error: BaseException | None = None, bad: Sequence[str] = ()) -> None:
        self.stop_at, self.error, self.bad = stop_at, error, bad
        self.computed: list[list[str]] = []
        self.threads: set[int] = set()

    def prepare(self, index: int, example: Example) -> str:
        self.threads.add(threading.get_ident())
        assert example.id == f"e{index}"
        if example.id in self.bad:
            raise ExampleError("it is bad")
        return example.id

    def compute(self, prepared: Sequence[str]) -> Computed:
        if self.stop_at in prepared:
            assert self.error is not None
            raise self.error
        self.computed.append(list(prepared))
        rows = [{"example_id": i, "type": "t", "answer": "a", "generated": "a", "correct": True} for i in prepared]
        return Computed({"eval": rows} if rows else {}, kept=len(rows))


def examples(count: int) -> list[Example]:
    return [Example(id=f"e{k}", question="?") for k in range(count)]


def test_batches_are_computed_in_order_and_prepared_elsewhere(tmp_path):
    work = Echo()
    with open_directory(tmp_path / "run", Spec()) as directory:
        run_examples(work, examples(5), directory, 2, "test")
        directory.finish()
    assert work.computed == [["e0", "e1"], ["e2", "e3"], ["e4"]]
    assert threading.get_ident() not in work.threads
    assert directory.table("eval")["example_id"].to_list() == [f"e{k}" for k in range(5)]


def test_an_interrupted_run_says_how_to_go_on_and_repeats_nothing(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt) as stopped,
        open_directory(tmp_path / "run", Spec()) as directory,
    ):
        run_examples(Echo("e4", KeyboardInterrupt()), examples(6), directory, 2, "test")
    assert directory.manifest["status"] == "interrupted"
    assert "4 of 6 examples are finished" in stopped.value.__notes__[0]
    assert "--resume" in stopped.value.__notes__[0]
    again = Echo()
    with open_directory(tmp_path / "run", Spec(), resume=True) as directory:
        run_examples(again, examples(6), directory, 2, "test")
        directory.finish()
    assert again.computed == [["e4", "e5"]]
    assert directory.table("eval")["example_id"].to_list() == [f"e{k}" for k in range(6)]


def test_bad_examples_are_reported_and_the_others_computed(tmp_path):
    with open_directory(tmp_path / "run", Spec()) as directory:
        run_examples(Echo(bad=("e1", "e2", "e3")), examples(5), directory, 2, "test")
        directory.finish()
    assert directory.counts() == {"asked": 5, "kept": 2, "left_out": 0, "failed": 3}
    assert directory.failures()[0] == {"example_id": "e1", "reason": "it is bad"}


def test_our_own_mistakes_are_not_hidden(tmp_path):
    with pytest.raises(ZeroDivisionError), open_directory(tmp_path / "run", Spec()) as directory:
        run_examples(Echo("e2", ZeroDivisionError()), examples(4), directory, 2, "test")
    assert directory.manifest["status"] == "failed"


def full(count: int) -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError(f"CUDA out of memory. Tried {count}")


class Small(Echo):
    """Has room for so many examples."""

    def __init__(self, room: int, divisible: bool = True) -> None:
        super().__init__()
        self.room, self.divisible = room, divisible  # type: ignore[misc]
        self.tried: list[int] = []

    def compute(self, prepared: Sequence[str]) -> Computed:
        self.tried.append(len(prepared))
        if len(prepared) > self.room:
            raise full(len(prepared))
        return super().compute(prepared)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_that_is_remembered(tmp_path, caplog):
    whole, small = Echo(bad=("e3",)), Small(2)
    small.bad = ("e3",)
    tables = []
    for name, work in (("whole", whole), ("small", small)):
        with open_directory(tmp_path / name, Spec()) as directory:
            run_examples(work, examples(20), directory, 8, "test")
            directory.finish()
        tables.append(directory.table("eval"))
        assert [one["example_id"] for one in directory.failures()] == ["e3"]
    assert tables[0].equals(tables[1])
    assert small.tried == [7, 3, 1, *6 * [1], *8 * [1], *4 * [1]]
    assert caplog.text.count("too small for") == 2


class OneKind(Echo):
    """Takes examples of one kind together: even ones, or odd ones."""

    def __init__(self, divisible: bool = True) -> None:
        super().__init__()
        self.divisible = divisible  # type: ignore[misc]
        self.tried: list[int] = []

    def compute(self, prepared: Sequence[str]) -> Computed:
        self.tried.append(len(prepared))
        if len({int(one[1:]) < 4 for one in prepared}) > 1:
            raise UnbatchableError("a batch", "they differ in kind", "Give --batch-size 1")
        return super().compute(prepared)


def test_examples_that_cannot_go_together_are_computed_one_by_one_in_their_batch_alone(tmp_path):
    whole, some = Echo(), OneKind()
    tables = []
    for name, work in (("whole", whole), ("some", some)):
        with open_directory(tmp_path / name, Spec()) as directory:
            run_examples(work, examples(9), directory, 3, "test")
            directory.finish()
        tables.append(directory.table("eval"))
    assert tables[0].equals(tables[1])
    assert some.tried == [3, 3, 1, 1, 1, 3]


def test_work_that_cannot_be_divided_says_what_cannot_go_together(tmp_path):
    with pytest.raises(ChiasmError, match="they differ in kind"), open_directory(tmp_path / "run", Spec()) as directory:
        run_examples(OneKind(divisible=False), examples(9), directory, 3, "test")


@pytest.mark.parametrize("work", [Small(0), Small(1, divisible=False)], ids=["one", "adds up"])
def test_too_little_memory_says_which_option_helps(tmp_path, work):
    with (
        pytest.raises(ChiasmError, match=r"examples at once: CUDA out of memory.*--memory"),
        open_directory(tmp_path / "run", Spec()) as directory,
    ):
        run_examples(work, examples(4), directory, 2, "test")
