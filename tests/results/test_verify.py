"""What was altered, is missing, doubled, foreign or stray is noticed by whoever meets it."""

import json
import os
import re
import shutil
import sys

import pytest
from tests.support.rundirs import Spec, open_directory, quick, rows

from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError
from chiasm.results import manifest as manifests
from chiasm.results.rundir import RunDirectory
from chiasm.results.verify import note_drawn, verify

__all__ = ["quick"]


@pytest.fixture
def finished_run(tmp_path, quick):
    """A finished run with a file of every kind."""
    out = tmp_path / "run"
    with open_directory(out, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)}, failures=[("x", "no image")])
        run.write_shard(1, {"eval": rows(1)}, left_out=[("y", "wrong answer")])
        (out / "images").mkdir()
        (out / "images" / "index.json").write_text("{}")
        (out / "plan.json").write_text("{}")
        run.finish()
    (out / "report.html").write_text("<p>")
    (run.figures / "flow.json").write_text("{}")
    note_drawn(run)
    return out


@pytest.fixture
def unfinished_run(tmp_path, quick):
    out = tmp_path / "run"
    with open_directory(out, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)}, failures=[("x", "no image")])
        run.write_shard(1, {"eval": rows(1)})
    return out


def flip(file, place: int = -3) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def files_of(out):
    return sorted(file for file in out.rglob("*") if file.is_file() and ".workers" not in file.parts)


def problems(out) -> list[str]:
    try:
        return verify(out).problems
    except ChiasmError as error:
        return [str(error)]


def test_a_run_as_it_was_written_has_no_problem(finished_run, capsys):
    assert verify(finished_run)[:5] == ("complete", 2, 8, 2, [])
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(finished_run)])
    assert ended.value.code == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_byte_of_any_file_is_noticed_and_so_is_its_absence(finished_run, capsys):
    kinds = {"manifest.json", "eval.parquet", "failures.parquet", "index.json", "plan.json"}
    kinds |= {"report.html", "drawn.json", "flow.json"}
    assert {file.name for file in files_of(finished_run)} == kinds
    for file in files_of(finished_run):
        whole = file.read_bytes()
        for place in (0, len(whole) // 2, -1):
            flip(file, place)
            assert any(file.name in said for said in problems(finished_run)), (file.name, place)
            file.write_bytes(whole)
        file.unlink()
        if file.name != "drawn.json":  # it goes with what was drawn, which anybody may remove
            assert any(file.name in said for said in problems(finished_run)), file.name
        file.write_bytes(whole)
    assert problems(finished_run) == []
    flip(finished_run / "tables" / "eval.parquet")
    (finished_run / "images" / "more.png").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(finished_run)])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "tables/eval.parquet was altered" in said[0]
    assert "images/more.png was not written by the run" in said[1]


def test_a_byte_of_any_file_of_an_unfinished_run_is_noticed(unfinished_run):
    assert {file.name for file in files_of(unfinished_run)} == {
        "manifest.json",
        "shard.json",
        "eval.parquet",
        "failures.parquet",
    }
    assert problems(unfinished_run) == []
    for file in files_of(unfinished_run):
        whole = file.read_bytes()
        for place in (0, len(whole) // 2, -1):
            flip(file, place)
            assert problems(unfinished_run), (file.name, place)
            file.write_bytes(whole)
        file.unlink()
        assert problems(unfinished_run), file.name
        file.write_bytes(whole)
    assert problems(unfinished_run) == []


def test_a_damaged_shard_is_computed_again_and_never_merged(unfinished_run, caplog):
    first, second = sorted((unfinished_run / "shards").iterdir())
    flip(first / "eval.parquet", 40)
    with pytest.raises(ChiasmError, match=r"eval\.parquet was altered.*--resume"):
        RunDirectory.load(unfinished_run).table("eval")
    (second / "eval.parquet").unlink()
    with open_directory(unfinished_run, Spec(), resume=True) as run:
        assert run.done() == set()
        for shard in (0, 1):
            run.write_shard(shard, {"eval": rows(shard)})
        run.finish()
    assert "eval.parquet was altered. What it held is computed again." in caplog.text
    assert "eval.parquet is gone" in caplog.text
    assert run.table("eval").height == 6


def test_a_shard_that_goes_during_the_run_is_missed(tmp_path, quick):
    with open_directory(tmp_path, Spec()) as run:
        for shard in range(3):
            run.write_shard(shard, {"eval": rows(shard)})
        for gone in sorted((tmp_path / "shards").iterdir())[1:]:
            shutil.rmtree(gone)
        run.expect(range(3))
        with pytest.raises(ChiasmError, match=r"2 of its 3 jobs .* is gone"):
            run.finish()
    assert RunDirectory.load(tmp_path).done() == {0}


def test_a_shard_that_is_damaged_during_the_run_is_not_merged(tmp_path, quick):
    with open_directory(tmp_path, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)})
        flip(next((tmp_path / "shards").iterdir()) / "eval.parquet", 40)
        with pytest.raises(ChiasmError, match="was altered"):
            run.finish()
    assert not RunDirectory.load(tmp_path).complete


def test_a_shard_under_another_name_or_of_another_run_is_refused(unfinished_run, tmp_path):
    first = sorted((unfinished_run / "shards").iterdir())[0]
    copy = first.with_name(f"000002-{first.name[7:]}")
    shutil.copytree(first, copy)
    with pytest.raises(ChiasmError, match="under the name of another one"):
        RunDirectory.load(unfinished_run)
    with open_directory(unfinished_run, Spec(), resume=True) as run:
        assert run.done() == {0, 1}
    assert not copy.exists()
    with open_directory(tmp_path / "other", Spec(), facts={"seed": 7}) as run:
        run.write_shard(5, {"eval": rows(5)})
    foreign = next((tmp_path / "other" / "shards").iterdir())
    shutil.copytree(foreign, unfinished_run / "shards" / foreign.name)
    for refused in (
        lambda: RunDirectory.load(unfinished_run),
        lambda: open_directory(unfinished_run, Spec(), resume=True),
    ):
        with pytest.raises(ChiasmError, match=r"belongs to another run.*Remove it"):
            refused()
    assert any("belongs to another run" in said for said in problems(unfinished_run))


def test_jobs_in_two_shards_count_once(unfinished_run, caplog):
    with open_directory(unfinished_run, Spec(), resume=True) as run:
        late = RunDirectory(unfinished_run, run.manifest, run._schemas.values(), run.worker)
        late._waiting._begun -= 1000  # what it finishes waits in memory
        late.record(0, {"eval": rows(0)}, failures=[("x", "no image")])
        late.record(1, {"eval": [rows(1)[0] | {"answer": "b"}]})
        late.record(2, {"eval": rows(2)})
        late.flush()
        run.finish()
    assert len(run.table("eval")) in (7, 9)  # of job 1 the one or the other, never both
    assert run.table("eval")["example_id"].is_duplicated().sum() == 0
    assert run.manifest["computed_twice"] == {"jobs": 2, "differing": [1]}
    assert "were computed twice and differ" in caplog.text


@pytest.mark.parametrize("name", ["1.bak", "notes.txt", "000001"])
def test_what_is_no_shard_is_refused_by_name(unfinished_run, name):
    (unfinished_run / "shards" / name).mkdir()
    for refused in (
        lambda: RunDirectory.load(unfinished_run),
        lambda: open_directory(unfinished_run, Spec(), resume=True),
    ):
        with pytest.raises(ChiasmError, match=rf"{name}` is no part of a run\. Remove it"):
            refused()
    assert problems(unfinished_run)


def test_tables_that_are_gone_altered_or_stray_are_refused(finished_run):
    table = finished_run / "tables" / "eval.parquet"
    whole = table.read_bytes()
    flip(table)
    with pytest.raises(ChiasmError, match=r"tables/eval\.parquet was altered"):
        RunDirectory.load(finished_run).table("eval")
    table.write_bytes(whole[:-1])
    for refused in (
        lambda: RunDirectory.load(finished_run),
        lambda: open_directory(finished_run, Spec(), resume=True),
    ):
        with pytest.raises(ChiasmError, match=r"tables/eval\.parquet was altered"):
            refused()
    table.unlink()
    with pytest.raises(ChiasmError, match=r"tables/eval\.parquet is gone"):
        RunDirectory.load(finished_run)
    table.write_bytes(whole)
    shutil.copy(table, table.with_name("effects.parquet"))
    with pytest.raises(ChiasmError, match=r"tables/effects\.parquet was not written by it\. Remove that file"):
        RunDirectory.load(finished_run)


def altered(out, change) -> None:
    """The manifest with a change that is sealed, as a program with a mistake would write it."""
    said = json.loads((out / "manifest.json").read_text())
    change(said)
    manifests.write(out, said)


@pytest.mark.parametrize("key", ["status", "spec", "study", "counts", "resumed"])
def test_a_manifest_without_a_part_is_refused_in_words(finished_run, key, capsys):
    altered(finished_run, lambda said: said.pop(key))
    for verb in (["report"], ["verify"], ["diff", str(finished_run)]):
        with pytest.raises(SystemExit) as ended:
            main([*verb, str(finished_run)])
        assert ended.value.code == 2
        assert f"damaged: it has no `{key}`" in capsys.readouterr().err
    with pytest.raises(ChiasmError, match="damaged"):
        open_directory(finished_run, Spec(), resume=True)


@pytest.mark.parametrize("content", ["{", "[]", "", '{"format": 99}', '{"format": 3}', "\x00", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused_in_words(finished_run, content, capsys):
    (finished_run / "manifest.json").write_text(content)
    for verb in ("report", "verify"):
        main_ends([verb, str(finished_run)], 2)
        assert "manifest.json" in capsys.readouterr().err


def test_counts_that_the_tables_do_not_bear_out_are_named(finished_run):
    altered(finished_run, lambda said: said["counts"].update(failed=3))
    assert problems(finished_run) == ["manifest.json counts 3 examples as failed, and the tables 1"]


def test_many_reasons_do_not_swell_the_manifest(tmp_path, quick):
    with open_directory(tmp_path, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)}, failures=[(f"e{k}", "no image") for k in range(5000)])
        run.finish()
    assert (tmp_path / "manifest.json").stat().st_size < 10_000
    loaded = RunDirectory.load(tmp_path)
    assert loaded.counts()["failed"] == len(loaded.failures()) == 5000
    assert loaded.table("failures").columns == ["example_id", "outcome", "reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes")
def test_a_pipe_in_place_of_a_manifest_is_not_opened(finished_run, capsys):
    (finished_run / "manifest.json").unlink()
    os.mkfifo(finished_run / "manifest.json")
    for verb in ("report", "verify"):
        main_ends([verb, str(finished_run)], 2)
        assert "damaged: it is no file" in capsys.readouterr().err


def test_the_number_of_the_format_switches_no_check_off(finished_run):
    file = finished_run / "manifest.json"
    said = json.loads(file.read_text())
    for change in (lambda one: None, lambda one: one.pop("digest")):
        lowered = json.loads(json.dumps(said)) | {"format": 2}
        lowered["counts"]["kept"] = 4
        change(lowered)
        file.write_text(json.dumps(lowered))
        with pytest.raises(ChiasmError, match="it was altered after it had been written"):
            manifests.read(finished_run)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda said: said.pop("tables"), "no `tables` or `files`"),
        (lambda said: said.update(tables=None), "no `tables` or `files`"),
        (lambda said: said.update(files=[1]), "no `tables` or `files`"),
        (lambda said: said["tables"]["eval"].update(rows="8"), "how large one of its tables is"),
        (lambda said: said["tables"].update(eval=1), "how large one of its tables is"),
        (lambda said: said["tables"].update({"../../x": said["tables"]["eval"]}), "outside the run"),
        (lambda said: said["files"].update({"/etc/passwd": said["files"]["plan.json"]}), "outside the run"),
        (lambda said: said["files"].update({"a/../../x": said["files"]["plan.json"]}), "outside the run"),
    ],
)
def test_a_manifest_of_somebody_else_opens_nothing_outside_its_run(finished_run, change, found, capsys):
    altered(finished_run, change)
    for verb in ("report", "verify"):
        main_ends([verb, str(finished_run)], 2)
        assert found in capsys.readouterr().err


def test_what_a_run_says_nothing_of_is_named(finished_run, capsys):
    (finished_run / "drawn.json").unlink()
    assert "`chiasm report` draws them again" in verify(finished_run).unknown
    (finished_run / "report.html").unlink()
    shutil.rmtree(finished_run / "figures")
    assert verify(finished_run).unknown.startswith("It has neither figures nor a report")
    main_ends(["verify", str(finished_run)], 0)
    assert "neither figures nor a report" in capsys.readouterr().out


def test_an_unfinished_run_is_not_said_to_be_whole(unfinished_run):
    found = verify(unfinished_run)
    assert found.problems == []
    assert re.match(r"It is not finished: [1-9]\d* examples are on the disk", found.unknown)
    shutil.rmtree(next((unfinished_run / "shards").glob("000001*")))
    assert verify(unfinished_run).unknown != found.unknown


def main_ends(words, code):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == code
