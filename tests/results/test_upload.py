"""Runs at addresses: nothing there until they are finished, and then what a run on this machine holds."""

import fsspec
import pytest

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.results import upload
from chiasm.results.verify import verify


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    yield system
    if system.exists("/"):
        system.rm("/", recursive=True)


def run(out, limit=4, **options):
    return chiasm.eval("tiny", data="scenes", limit=limit, out=out, **options)


def test_a_finished_run_is_copied_whole(memory, tmp_path):
    found = run("memory://bucket/run")
    assert memory.exists("/bucket/run/report.html")
    memory.get("/bucket/run", str(tmp_path / "copied"), recursive=True)
    assert verify(tmp_path / "copied").problems == []
    assert chiasm.open(tmp_path / "copied").table("eval").equals(found.table("eval"))
    with pytest.raises(ChiasmError, match="a finished run lies there"):
        run("memory://bucket/run")


def test_a_run_is_replaced_and_nothing_else_is_removed(memory):
    run("memory://bucket/run", limit=4)
    memory.pipe("/bucket/run/notes.txt", b"mine")
    memory.pipe("/bucket/run/tables/former.parquet", b"x")
    run("memory://bucket/run", limit=3, fresh=True)
    assert memory.cat("/bucket/run/notes.txt") == b"mine"
    assert not memory.exists("/bucket/run/tables/former.parquet")


def test_what_is_no_run_is_left_alone(memory):
    memory.pipe("/bucket/thesis.tex", b"mine")
    with pytest.raises(ChiasmError, match="something lies there that is no finished run"):
        run("memory://bucket")


def test_a_run_is_taken_up_where_another_machine_left_it(memory, monkeypatch, tmp_path):
    run("memory://bucket/run")
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "of-another-machine"))
    assert run("memory://bucket/run", resume=True).directory.complete


def test_a_copy_that_fails_leaves_the_run(memory, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left")

    monkeypatch.setattr(type(memory), "put_file", full)
    with pytest.raises(ChiasmError, match=r"copies it again") as caught:
        run("memory://bucket/run")
    monkeypatch.undo()
    assert "No space left" in caught.value.found


def test_own_files_are_written_where_they_are(tmp_path):
    found = run(f"file://{tmp_path / 'run'}")
    assert found.path == tmp_path / "run"
    assert upload.place_for(f"file://{tmp_path / 'run'}", resume=False, fresh=False) == tmp_path / "run"
