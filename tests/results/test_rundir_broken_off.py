"""A run directory whose writer is killed, or whose disk is full, loses nothing that was finished."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.rundirs import Spec, die, finished, open_directory, quick, rows

from chiasm.core.errors import ChiasmError
from chiasm.results import storage
from chiasm.results.rundir import RunDirectory

__all__ = ["quick"]


class Killed(BaseException):
    """Not an Exception: nothing in the package may get to clean up."""


class Killer:
    """Ends the "process" at its n-th change of the file system; afterwards no change takes place at all."""

    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def __init__(self):
        self.root, self.left = None, 0
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.root is None or event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & self.WRITING):
            return
        self.left -= 1
        if self.left < 0:
            raise Killed(event)


KILLER = Killer()  # audit hooks cannot be taken out again: one for all tests, asleep unless it has a root


def work(out: Path, fresh: bool = False) -> list[int]:
    computed = []
    with open_directory(out, Spec(window=7 if fresh else 9), resume=not fresh, fresh=fresh) as run:
        for shard in range(3):
            if shard not in run.done():
                run.write_shard(shard, {"eval": rows(shard, 2)}, failures=[(f"bad{shard}", "why")])
                computed.append(shard)
        run.finish()
    return computed


def killed_at(out: Path, step: int, **options) -> bool:
    KILLER.root, KILLER.left = out, step
    try:
        work(out, **options)
    except Killed:
        return True
    else:
        return False
    finally:
        KILLER.root = None
        die()


def check_complete(out: Path) -> None:
    run = RunDirectory.load(out)
    assert run.complete
    assert run.table("eval")["example_id"].to_list() == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    assert run.counts() == {"asked": 9, "kept": 6, "left_out": 0, "failed": 3}
    assert not [p for p in out.rglob("*") if p.name.startswith(storage.PARTIAL)]
    assert not (out / "shards").exists()


def test_killed_between_any_two_changes_of_the_disk(tmp_path, quick):
    step = 0
    while killed_at(tmp_path / f"{step}", step):
        out = tmp_path / f"{step}"
        before = finished(out)
        complete = (out / "manifest.json").exists() and RunDirectory.load(out).complete
        assert work(out) == ([] if complete else [i for i in range(3) if i not in before])
        check_complete(out)
        step += 1
    check_complete(tmp_path / f"{step}")
    assert step > 30


def test_killed_while_replacing_another_run(tmp_path, quick):
    step = 0
    while True:
        out = tmp_path / f"{step}"
        with open_directory(out, Spec(window=9)) as run:
            run.write_shard(0, {"eval": rows(99)})
            run.write_table("parts", [])
        assert killed_at(out, step, fresh=True)
        if finished(out) == {0} and RunDirectory.load(out).manifest["spec"]["window"] == 7:
            break  # the replacing is over; the rest is the test above
        assert work(out, fresh=True) == [0, 1, 2]
        check_complete(out)
        assert RunDirectory.load(out).tables() == ["eval", "failures"]
        step += 1
    assert step > 15


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.support.rundirs import Spec, open_directory, rows
from chiasm.results.rundir import RunDirectory
out = Path(sys.argv[1])
with open_directory(out / "run", Spec(), resume=True) as run:
    print("ready", flush=True)
    for shard in range(60):
        if shard not in run.done():
            with open(out / "log", "a") as log:
                log.write(f"{shard}\\n")
            run.write_shard(shard, {"eval": rows(shard, 2)})
    run.finish()
"""


@pytest.mark.heavy
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_sigkill_in_a_loop(tmp_path):
    chance = random.Random(0)
    log, kills = tmp_path / "log", 0
    log.touch()
    for attempt in range(40):
        before = finished(tmp_path / "run")
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parents[2])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            already = len(log.read_text().split())
            assert child.stdout.readline() == "ready\n"
            if attempt < 4:
                time.sleep(chance.uniform(0.0, 0.06))
                child.send_signal(signal.SIGKILL)
            child.wait(timeout=60)
        computed = [int(line) for line in log.read_text().split()[already:]]
        assert not before & set(computed)
        if child.returncode == 0:
            break
        kills += 1
        assert child.returncode == -signal.SIGKILL
        assert json.loads((tmp_path / "run" / "manifest.json").read_text())["spec_hash"]
    run = RunDirectory.load(tmp_path / "run")
    assert run.complete
    assert kills >= 2
    assert run.table("eval")["example_id"].to_list() == [f"{s}-{i}" for s in range(60) for i in range(2)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", range(9))
def test_a_full_disk_is_told_and_costs_nothing_finished(tmp_path, monkeypatch, quick, code, step):
    out = tmp_path / "run"
    count = iter(range(1000))
    real = os.fsync

    def full(handle):
        if next(count) >= step:
            raise OSError(code, os.strerror(code))
        real(handle)

    with open_directory(out, Spec()) as run:
        run.write_shard(0, {"eval": rows(0, 2)})
    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", full)
        with pytest.raises(
            ChiasmError, match=rf"{'disk is full' if code == errno.ENOSPC else 'quota'}.*MB free.*--resume"
        ):
            work(out)
    assert 0 in finished(out)
    assert RunDirectory.load(out).table("eval").height >= 2
    before = finished(out)
    assert not before & set(work(out))
    assert RunDirectory.load(out).table("eval").height == 6


def test_a_disk_that_is_really_full(tmp_path):
    def fill():
        with open_directory(tmp_path / "run", Spec()) as run:
            for shard in range(100):
                run.write_shard(shard, {"eval": rows(shard, 200)})

    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(tmp_path)], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting needs privileges")
    try:
        with pytest.raises(ChiasmError, match="disk is full"):
            fill()
        run = RunDirectory.load(tmp_path / "run")
        done = run.done()
        assert done
        assert run.table("eval").height == 200 * len(done)
        subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path)], check=True)
        with open_directory(tmp_path / "run", Spec(), resume=True) as run:
            assert run.done() == done
            run.write_shard(200, {"eval": rows(200, 200)})
            run.finish()
        assert run.table("eval").height == 200 * (len(done) + 1)
        del run
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
