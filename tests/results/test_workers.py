"""Who is at work, who is dead, and whose a part of the work is: one at a time, whatever comes when."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.results import storage, workers
from chiasm.results.storage import create_once
from chiasm.results.workers import Worker

CHILD = """
import sys, time
from pathlib import Path
from chiasm.results.workers import Worker
worker = Worker(Path(sys.argv[1]))
worker.join()
assert worker.claim("part")
worker.note("job 3")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process at work."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


@pytest.fixture
def elsewhere(monkeypatch):
    """This process takes every other one for one on another machine, of which it sees signs of life alone."""
    monkeypatch.setattr(workers, "this_machine", lambda: "here")


def test_a_part_is_taken_by_one_and_free_when_it_leaves(tmp_path):
    first, second = Worker(tmp_path), Worker(tmp_path)
    first.join()
    second.join()
    assert first.others() == [second.id]
    assert first.claim("part")
    assert first.claim("part")
    assert not second.claim("part")
    assert second.claim("another")
    first.release("part")
    assert second.claim("part")
    second.leave()
    assert first.claim("part")
    assert first.holds("another") is False
    first.leave()
    assert not [file for file in (tmp_path / workers.FOLDER).iterdir() if file.suffix in (".joined", ".lock")]


def test_what_a_killed_process_had_is_free_at_once(tmp_path, other):
    worker = Worker(tmp_path)
    worker.join()
    assert not worker.claim("part")
    assert worker.is_shared()
    other.kill()
    other.wait()
    assert worker.others() == []
    assert worker.deaths() == {"job 3": 1}
    assert worker.claim("part")
    worker.leave()
    Worker(tmp_path).join()  # where nobody is at work, the dead are forgotten
    assert not [file for file in (tmp_path / workers.FOLDER).iterdir() if b"job 3" in file.read_bytes()]


def test_another_machine_is_known_by_its_signs_of_life(tmp_path, other, elsewhere, monkeypatch):
    monkeypatch.setattr(workers, "STALE", 4 * workers.BEAT)
    worker = Worker(tmp_path)
    worker.join()
    assert worker.others()
    assert not worker.is_shared()  # not known yet
    patience = time.monotonic() + 10 * workers.BEAT
    while not worker.is_shared() and time.monotonic() < patience:
        time.sleep(0.05)
    assert worker.is_shared()
    monkeypatch.setattr(workers, "STALE", 0.6)
    os.kill(other.pid, signal.SIGSTOP)  # also one that is only paused
    patience = time.monotonic() + 30
    while not worker.claim("part") and time.monotonic() < patience:
        time.sleep(0.05)
    assert worker.holds("part")
    worker.leave()


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_try_at_once_one_wins(tmp_path, links, monkeypatch):
    if not links:

        def refuse(*args):
            raise OSError(95, "no links here")

        monkeypatch.setattr(storage.os, "link", refuse)
    won, start = [], threading.Barrier(8)

    def attempt(number: int) -> None:
        start.wait()
        if create_once(tmp_path / "name", str(number).encode()):
            won.append(number)

    for _ in range(20):
        won.clear()
        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (tmp_path / "name").read_text() == str(won[0])
        assert [file.name for file in tmp_path.iterdir()] == ["name"]
        (tmp_path / "name").unlink()
    storage._WITHOUT_LINKS.clear()


def test_a_late_one_cannot_take_what_was_taken_over_meanwhile(tmp_path, monkeypatch):
    """It had seen a dead owner, slept, and finds two owners later that the number is gone."""
    first, second, late = (Worker(tmp_path) for _ in range(3))
    assert first.claim("part")
    seen = late._latest("part")
    first.leave()
    assert second.claim("part")
    with monkeypatch.context() as patch:
        patch.setattr(late, "_latest", lambda name: seen)
        assert not late.claim("part")
    assert second.holds("part")


def test_a_directory_that_is_gone_is_an_error(tmp_path):
    worker = Worker(tmp_path)
    for file in (tmp_path / workers.FOLDER).iterdir():
        file.unlink()
    (tmp_path / workers.FOLDER).rmdir()
    with pytest.raises(ChiasmError, match="no longer there"):
        worker.claim("part")
    worker.leave()
