import dataclasses
import errno
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from chiasm.core.errors import ChiasmError
from chiasm.results import claim, provenance, storage
from chiasm.results.rundir import RunDirectory


@dataclasses.dataclass(frozen=True)
class Spec:
    model: str = "tiny"
    cuts: tuple[str, ...] = ("image->last", "image->question")
    window: int = 9


def rows(shard: int, examples: int = 3) -> list[dict]:
    return [
        {"example_id": f"{shard}-{i}", "type": "all", "answer": "a", "generated": "a", "correct": True}
        for i in range(examples)
    ]


@pytest.fixture
def quick(monkeypatch):
    """Asking git and waiting for the disk takes longer than all the rest; a killed process needs neither."""
    known = provenance.provenance()
    monkeypatch.setattr(claim, "provenance", lambda: known)
    monkeypatch.setattr(storage.os, "fsync", lambda handle: None)


def test_a_run_from_start_to_end(tmp_path, quick):
    facts = {"model": {"id": "tiny", "weights": "ab"}, "seed": 1, "device": "cpu", "dtype": "float32", "asked": 8}
    with RunDirectory.open(tmp_path / "a" / "b", Spec(), facts=facts) as run:
        assert run.done() == set()
        run.write_shard(1, {"eval": rows(1)}, failures=[("x", "no image")])
        run.write_shard(0, {"eval": rows(0)}, left_out=[("y", "wrong answer")])
        assert run.done() == {0, 1}
        assert run.table("eval")["example_id"].to_list() == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
        run.finish()
        run.finish()
    loaded = RunDirectory.load(tmp_path / "a" / "b")
    assert loaded.complete
    assert loaded.done() == {0, 1}
    assert loaded.table("eval")["example_id"].to_list() == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    assert loaded.counts() == {"asked": 8, "kept": 6, "left_out": 1, "failed": 1}
    assert loaded.failures() == [{"example_id": "x", "reason": "no image"}]
    assert loaded.left_out() == [{"example_id": "y", "reason": "wrong answer"}]
    assert sorted(p.name for p in loaded.path.iterdir() if p.name != ".lock") == ["manifest.json", "tables"]
    manifest = json.loads((loaded.path / "manifest.json").read_text())
    assert manifest["spec"] == {"model": "tiny", "cuts": ["image->last", "image->question"], "window": 9}
    assert manifest["status"] == "complete"
    assert {k: manifest[k] for k in facts} == facts
    assert {"python", "torch", "numpy", "polars"} <= set(manifest["versions"])


def test_manifest_tells_revision_and_no_directory_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RunDirectory.open("out", Spec()) as run:
        run.write_shard(0, {"eval": rows(0)}, failures=[("x", f"`{tmp_path}/pics/1.png` is no image")])
        run.finish()
    text = Path("out/manifest.json").read_text()
    assert "`pics/1.png` is no image" in text
    assert str(tmp_path) not in text
    assert str(Path(provenance.__file__).parent) not in text
    git = json.loads(text)["git"]
    assert git is None or (len(git["revision"]) == 40 and isinstance(git["dirty"], bool))


def test_another_spec_is_refused_and_replaced_only_when_asked(tmp_path, quick):
    out = tmp_path / "out"
    with RunDirectory.open(out, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)})
        run.finish()
    (out / "report.html").write_text("old")
    with pytest.raises(ChiasmError, match=r"another run \(window is 9 there, 7 here\).*--fresh"):
        RunDirectory.open(out, Spec(window=7), resume=True)
    (out / "notes.txt").write_text("mine")
    with RunDirectory.open(out, Spec(window=7), fresh=True) as run:
        assert run.done() == set()
        assert run.tables() == []
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "report.html").exists()


def test_the_same_spec_needs_a_word(tmp_path, quick):
    out = tmp_path / "out"
    with RunDirectory.open(out, Spec()) as run:
        run.write_shard(3, {"eval": rows(3)})
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    with pytest.raises(ChiasmError, match=r"unfinished.*--resume.*--fresh"):
        RunDirectory.open(out, Spec())
    with pytest.raises(ChiasmError, match="Give one of them"):
        RunDirectory.open(out, Spec(), resume=True, fresh=True)
    with RunDirectory.open(out, Spec(), resume=True) as run:
        assert run.done() == {3}
        run.write_shard(3, {"eval": rows(9)})  # already there: not replaced
        run.finish()
    assert run.table("eval")["example_id"].to_list() == ["3-0", "3-1", "3-2"]
    with pytest.raises(ChiasmError, match=r"finished.*--resume.*--fresh"):
        RunDirectory.open(out, Spec())
    again = RunDirectory.open(out, Spec(), resume=True)
    assert again.complete
    assert again.done() == {3}


@pytest.mark.parametrize("fact", ["model", "data", "dtype", "seed"])
def test_rows_of_two_kinds_are_not_mixed(tmp_path, quick, fact):
    with RunDirectory.open(tmp_path, Spec(), facts={fact: {"weights": "a"}}):
        pass
    with pytest.raises(ChiasmError, match=rf"`{fact}` is not what it was \(weights is \"a\" there, \"b\" here\)"):
        RunDirectory.open(tmp_path, Spec(), resume=True, facts={fact: {"weights": "b"}})


def test_a_new_device_is_noted(tmp_path, quick):
    with RunDirectory.open(tmp_path, Spec(), facts={"device": "cuda"}):
        pass
    with RunDirectory.open(tmp_path, Spec(), resume=True, facts={"device": "cpu"}) as run:
        pass
    assert [session["device"] for session in run.manifest["resumed"]] == ["cpu"]
    assert run.manifest["device"] == "cuda"


def test_foreign_directories_and_files_are_left_alone(tmp_path, quick):
    (tmp_path / "thesis.tex").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(ChiasmError, match=r"thesis\.tex"):
            RunDirectory.open(tmp_path, Spec(), fresh=fresh)
    with pytest.raises(ChiasmError, match="it is a file"):
        RunDirectory.open(tmp_path / "thesis.tex", Spec())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "manifest.json").write_text("{not json")
    with pytest.raises(ChiasmError, match=r"manifest\.json is not one"):
        RunDirectory.open(tmp_path / "m", Spec(), fresh=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert not (tmp_path / ".lock").exists()


def test_two_writers_are_one_too_many(tmp_path, quick):
    with RunDirectory.open(tmp_path, Spec()), pytest.raises(ChiasmError, match="another process"):
        RunDirectory.open(tmp_path, Spec(), resume=True)
    with RunDirectory.open(tmp_path, Spec(), resume=True) as run:
        assert run.done() == set()


def test_how_a_run_ended(tmp_path, quick):
    def status():
        return json.loads((tmp_path / "manifest.json").read_text())["status"]

    def end(error):
        with RunDirectory.open(tmp_path, Spec(), resume=True):
            assert status() == "running"
            raise error

    with pytest.raises(KeyboardInterrupt):
        end(KeyboardInterrupt())
    assert status() == "interrupted"
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())
    assert status() == "failed"


def test_a_run_in_which_nothing_is_left_fails(tmp_path, quick):
    failures = [(f"{i}", "no image") for i in range(5)] + [("6", "too long")]
    with RunDirectory.open(tmp_path, Spec()) as run:
        run.write_shard(0, {"eval": []}, failures=failures)
        with pytest.raises(ChiasmError, match=r"nothing is left \(5 x no image; 1 x too long\)"):
            run.finish()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "failed"
    assert len(RunDirectory.load(tmp_path).failures()) == 6


def test_tables_of_the_whole_run(tmp_path, quick):
    with RunDirectory.open(tmp_path, Spec()) as run:
        run.write_table("eval", rows(7))
        run.write_shard(0, {"words": pl.DataFrame()})
        run.write_shard(1, {"answers": [
            {"example_id": "a", "type": "t", "layer": 0, "form": "lower", "token_id": 1, "prob": 0.1, "prob_raw": 0.2}
        ]})  # fmt: skip
        run.finish()
    assert run.tables() == ["answers", "eval", "words"]
    assert run.table("eval").height == 3
    with pytest.raises(ChiasmError, match="this run has answers, eval, words"):
        run.table("effects")
    with pytest.raises(ChiasmError, match=r"no manifest\.json"):
        RunDirectory.load(tmp_path / "tables")


def test_without_a_directory_it_lives_as_long_as_the_object(quick):
    run = RunDirectory.open(None, Spec())
    run.write_shard(0, {"eval": rows(0)})
    run.finish()
    path = run.path
    assert run.table("eval").height == 3
    del run
    gc.collect()
    assert not path.exists()


# --- killed ---------------------------------------------------------------------------------------------------------


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
    with RunDirectory.open(out, Spec(window=7 if fresh else 9), resume=not fresh, fresh=fresh) as run:
        for shard in range(3):
            if shard not in run.done():
                run.write_shard(shard, {"eval": rows(shard, 2)}, failures=[(f"bad{shard}", "why")])
                computed.append(shard)
        run.finish()
    return computed


def finished(out: Path) -> set[int]:
    return {int(p.name) for p in (out / "shards").glob("[0-9]*")}


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
        with RunDirectory.open(out, Spec(window=9)) as run:
            run.write_shard(0, {"eval": rows(99)})
            run.write_table("words", [])
        assert killed_at(out, step, fresh=True)
        if finished(out) == {0} and RunDirectory.load(out).manifest["spec"]["window"] == 7:
            break  # the replacing is over; the rest is the test above
        assert work(out, fresh=True) == [0, 1, 2]
        check_complete(out)
        assert RunDirectory.load(out).tables() == ["eval"]
        step += 1
    assert step > 15


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_rundir import Spec, rows
from chiasm.results.rundir import RunDirectory
out = Path(sys.argv[1])
with RunDirectory.open(out / "run", Spec(), resume=True) as run:
    print("ready", flush=True)
    for shard in range(60):
        if shard not in run.done():
            with open(out / "log", "a") as log:
                log.write(f"{shard}\\n")
            run.write_shard(shard, {"eval": rows(shard, 2)})
    run.finish()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_sigkill_in_a_loop(tmp_path):
    chance = random.Random(0)
    log, kills = tmp_path / "log", 0
    log.touch()
    for attempt in range(40):
        before = finished(tmp_path / "run")
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
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


# --- no room --------------------------------------------------------------------------------------------------------


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

    with RunDirectory.open(out, Spec()) as run:
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
        with RunDirectory.open(tmp_path / "run", Spec()) as run:
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
        with RunDirectory.open(tmp_path / "run", Spec(), resume=True) as run:
            assert run.done() == done
            run.write_shard(200, {"eval": rows(200, 200)})
            run.finish()
        assert run.table("eval").height == 200 * (len(done) + 1)
        del run
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
