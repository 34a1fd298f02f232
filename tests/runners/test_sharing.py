"""Several processes on one directory: the tables of one, whoever dies, and no waiting for the dead."""

import threading
import time

import numpy as np
import pytest
from tests.support.counting import CountingTask

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.runners.sharing import LocalProcesses, share


def alone(tmp_path, **options) -> RunDirectory:
    task = CountingTask(tmp_path / "alone", seconds=0, **options)
    task(0, True, lambda: None)
    return RunDirectory.load(task.out)


def assert_same(first: RunDirectory, second: RunDirectory) -> None:
    assert first.tables() == second.tables()
    for name in first.tables():
        assert first.table(name).equals(second.table(name)), name
    assert first.counts() == second.counts()


@pytest.mark.parametrize(
    ("workers", "summed"),
    [(2, False), *(pytest.param(*one, marks=pytest.mark.heavy) for one in ((2, True), (3, False), (3, True)))],
)
def test_tables_are_those_of_one_process(tmp_path, summed, workers):
    task = CountingTask(tmp_path / "run", summed=summed)
    share(task, workers, LocalProcesses(workers), task.join)
    assert_same(alone(tmp_path, summed=summed), RunDirectory.load(task.out))


def test_threads_of_one_process_share_as_well(tmp_path):
    task = CountingTask(tmp_path / "run")
    threads = [threading.Thread(target=task, args=(k, k == 0, lambda: None)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(alone(tmp_path), RunDirectory.load(task.out))


@pytest.mark.heavy
def test_one_that_dies_while_it_starts_is_tried_again_and_then_an_error(tmp_path, caplog):
    task = CountingTask(tmp_path / "run", dies_first=1)
    with pytest.raises(ChiasmError, match=r"process 1 of 2: it ended 3 times before it had begun \(signal 9\)"):
        share(task, 2, LocalProcesses(2), task.join)
    assert caplog.text.count("ended without an answer (signal 9); started again") == 2


@pytest.mark.heavy
def test_an_example_that_ends_processes_is_left_out_alone(tmp_path, caplog):
    task = CountingTask(tmp_path / "run", examples=30, batch=3, deadly=("e7",))
    assert share(task, 2, LocalProcesses(2), task.join) == 4  # twice with its batch, twice alone
    found, whole = RunDirectory.load(task.out), alone(tmp_path, examples=30, batch=3)
    [failure] = [one for one in found.failures() if one["reason"] != "it is bad"]
    assert failure["example_id"] == "e7"
    assert "2 processes ended while they computed it" in failure["reason"]
    assert found.table("eval").equals(whole.table("eval").filter(whole.table("eval")["example_id"] != "e7"))


@pytest.mark.heavy
@pytest.mark.parametrize(
    "deadly", [("e7", "e8"), *(pytest.param(one, marks=pytest.mark.heavy) for one in (("e7",), ("e0", "e29")))]
)
def test_where_batches_are_added_up_such_an_example_is_left_out_as_well(tmp_path, deadly):
    task = CountingTask(tmp_path / "run", examples=30, batch=3, summed=True, deadly=deadly)
    share(task, 2, LocalProcesses(2), task.join)
    found, whole = RunDirectory.load(task.out), alone(tmp_path, examples=30, batch=3, summed=True)
    reasons = {one["example_id"]: one["reason"] for one in found.failures() if one["reason"] != "it is bad"}
    assert set(reasons) == set(deadly)
    assert all("processes ended while they computed it" in reason for reason in reasons.values())
    rows = whole.table("eval").filter(~whole.table("eval")["example_id"].is_in(deadly))
    assert found.table("eval").equals(rows)
    expected = sum(np.sqrt(int(name[1:]) + 0.1) for name in rows["example_id"])
    assert found.table("sums")["total"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.heavy
def test_others_wait_until_the_first_has_opened_the_directory(tmp_path):
    """They load what they need meanwhile; one that is told to stop instead ends at once."""
    task = CountingTask(tmp_path / "run")
    running = LocalProcesses(2).start(1, task, first=False, waits=True)
    time.sleep(1)
    assert not running.ended()
    assert not task.out.exists()
    running.release()
    while not running.ended():
        time.sleep(0.05)
    assert running.opened
    running.join()
    assert RunDirectory.load(task.out).complete
    waiting = LocalProcesses(2).start(1, CountingTask(tmp_path / "other"), first=False, waits=True)
    begun = time.monotonic()
    waiting.stop()
    waiting.join()
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "other").exists()


def test_a_mistake_in_another_process_is_reported_as_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    task = CountingTask(tmp_path / "run")
    with pytest.raises(ChiasmError, match=r"thesis\.tex"):
        share(task, 2, LocalProcesses(2), task.join)
    task = CountingTask(tmp_path / "other", batch=0)
    with pytest.raises(RuntimeError, match=r"in another process:(.|\n)*Error"):
        share(task, 2, LocalProcesses(2), task.join)
