import errno
import gc
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.support.rundirs import Spec, open_directory, quick, rows

from chiasm.core.errors import ChiasmError
from chiasm.results import provenance, storage
from chiasm.results.rundir import RunDirectory

__all__ = ["quick"]


def test_a_run_from_start_to_end(tmp_path, quick):
    facts = {"model": {"id": "tiny", "weights": "ab"}, "seed": 1, "device": "cpu", "dtype": "float32", "asked": 8}
    with open_directory(tmp_path / "a" / "b", Spec(), facts=facts) as run:
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
    assert sorted(p.name for p in loaded.path.iterdir() if p.name != ".workers") == ["manifest.json", "tables"]
    manifest = json.loads((loaded.path / "manifest.json").read_text())
    assert manifest["spec"] == {"model": "tiny", "cuts": ["image->last", "image->question"], "window": 9}
    assert manifest["status"] == "complete"
    assert {k: manifest[k] for k in facts} == facts
    assert {"python", "torch", "numpy", "polars"} <= set(manifest["versions"])


def test_manifest_tells_revision_and_no_directory_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_directory("out", Spec()) as run:
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
    with open_directory(out, Spec()) as run:
        run.write_shard(0, {"eval": rows(0)})
        run.finish()
    (out / "report.html").write_text("old")
    with pytest.raises(ChiasmError, match=r"another run \(window is 9 there, 7 here\).*--fresh"):
        open_directory(out, Spec(window=7), resume=True)
    (out / "notes.txt").write_text("mine")
    with open_directory(out, Spec(window=7), fresh=True) as run:
        assert run.done() == set()
        assert run.tables() == []
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "report.html").exists()


def test_the_same_spec_needs_a_word(tmp_path, quick):
    out = tmp_path / "out"
    with open_directory(out, Spec()) as run:
        run.write_shard(3, {"eval": rows(3)})
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    with pytest.raises(ChiasmError, match=r"unfinished.*--resume.*--fresh"):
        open_directory(out, Spec())
    with pytest.raises(ChiasmError, match="Give one of them"):
        open_directory(out, Spec(), resume=True, fresh=True)
    with open_directory(out, Spec(), resume=True) as run:
        assert run.done() == {3}
        run.write_shard(3, {"eval": rows(9)})  # already there: not replaced
        run.finish()
    assert run.table("eval")["example_id"].to_list() == ["3-0", "3-1", "3-2"]
    with pytest.raises(ChiasmError, match=r"finished.*--resume.*--fresh"):
        open_directory(out, Spec())
    again = open_directory(out, Spec(), resume=True)
    assert again.complete
    assert again.done() == {3}


def test_a_run_of_before_goes_on_only_as_it_was_computed(tmp_path, quick):
    """Manifests did not say the precision when there was none to choose: it was that of the weights."""
    with open_directory(tmp_path, Spec(), facts={"dtype": "bfloat16"}):
        pass
    raised = {"dtype": "bfloat16", "precision": "weights in bfloat16, computed in float32"}
    with pytest.raises(ChiasmError, match="`precision` is not what it was"):
        open_directory(tmp_path, Spec(), facts=raised, resume=True)
    with open_directory(tmp_path, Spec(), facts=raised | {"precision": "computed in bfloat16"}, resume=True):
        pass


@pytest.mark.parametrize("fact", ["model", "data", "dtype", "precision", "seed"])
def test_rows_of_two_kinds_are_not_mixed(tmp_path, quick, fact):
    with open_directory(tmp_path, Spec(), facts={fact: {"weights": "a"}}):
        pass
    with pytest.raises(ChiasmError, match=rf"`{fact}` is not what it was \(weights is \"a\" there, \"b\" here\)"):
        open_directory(tmp_path, Spec(), resume=True, facts={fact: {"weights": "b"}})


def test_a_new_device_is_noted(tmp_path, quick):
    with open_directory(tmp_path, Spec(), facts={"device": "cuda"}):
        pass
    with open_directory(tmp_path, Spec(), resume=True, facts={"device": "cpu"}) as run:
        pass
    assert [session["device"] for session in run.manifest["resumed"]] == ["cpu"]
    assert run.manifest["device"] == "cuda"


def test_foreign_directories_and_files_are_left_alone(tmp_path, quick):
    (tmp_path / "thesis.tex").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(ChiasmError, match=r"thesis\.tex"):
            open_directory(tmp_path, Spec(), fresh=fresh)
    with pytest.raises(ChiasmError, match="it is a file"):
        open_directory(tmp_path / "thesis.tex", Spec())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "manifest.json").write_text("{not json")
    with pytest.raises(ChiasmError, match=r"manifest\.json is damaged"):
        open_directory(tmp_path / "m", Spec(), fresh=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("options", [{}, {"fresh": True}])
def test_a_directory_in_use_is_joined_only_by_resume(tmp_path, quick, options):
    with open_directory(tmp_path, Spec()) as first:
        with pytest.raises(ChiasmError, match="another process is writing there"):
            open_directory(tmp_path, Spec(), **options)
        first.write_shard(0, {"eval": rows(0)})
        with open_directory(tmp_path, Spec(), resume=True) as second:
            assert second.done() == {0}
        assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "running"
    with open_directory(tmp_path, Spec(), **(options or {"resume": True})) as run:
        assert run.done() == (set() if options else {0})


def test_how_a_run_ended(tmp_path, quick):
    def status():
        return json.loads((tmp_path / "manifest.json").read_text())["status"]

    def end(error):
        with open_directory(tmp_path, Spec(), resume=True):
            assert status() == "running"
            raise error

    with pytest.raises(KeyboardInterrupt):
        end(KeyboardInterrupt())
    assert status() == "interrupted"
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())
    assert status() == "failed"


def test_a_run_that_failed_before_anything_was_finished_is_no_obstacle(tmp_path, quick):
    """As where an option does not fit the model: the mended command is another run."""

    def fail(spec, **shard):
        with open_directory(tmp_path, spec) as run:
            if shard:
                run.write_shard(0, shard)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(Spec(window=7))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError):
        fail(Spec(window=5), eval=rows(0))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(ChiasmError, match=r"another run \(window is 5 there, 9 here\)"):
        open_directory(tmp_path, Spec())
    with open_directory(tmp_path, Spec(window=5), resume=True) as run:
        assert run.done() == {0}


def test_a_run_in_which_nothing_is_left_fails(tmp_path, quick):
    failures = [(f"{i}", "no image") for i in range(5)] + [("6", "too long")]
    with open_directory(tmp_path, Spec()) as run:
        run.write_shard(0, {"eval": []}, failures=failures)
        with pytest.raises(ChiasmError, match=r"nothing is left \(5 x no image; 1 x too long\)"):
            run.finish()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "failed"
    assert len(RunDirectory.load(tmp_path).failures()) == 6


def test_tables_of_the_whole_run(tmp_path, quick):
    with open_directory(tmp_path, Spec()) as run:
        run.write_table("eval", rows(7))
        run.write_shard(0, {"parts": pl.DataFrame()})
        run.write_shard(1, {"sums": [{"total": 0.5}]})
        run.finish()
    assert run.tables() == ["eval", "sums", "parts"]
    assert run.table("eval").height == 3
    with pytest.raises(ChiasmError, match="this run has eval, sums, parts"):
        run.table("effects")
    with pytest.raises(ChiasmError, match=r"no manifest\.json"):
        RunDirectory.load(tmp_path / "tables")


def test_without_a_directory_it_lives_as_long_as_the_object(quick):
    run = open_directory(None, Spec())
    run.write_shard(0, {"eval": rows(0)})
    run.finish()
    path = run.path
    assert run.table("eval").height == 3
    del run
    gc.collect()
    assert not path.exists()


def test_a_run_goes_on_where_its_data_and_model_lie_elsewhere_by_now(tmp_path, quick):
    def facts(folder: str, boxes: str = "1", examples: int = 2) -> dict:
        fields = {"questions": f"a{examples}", "boxes": boxes, "images": f"c{examples}"}
        data = {"name": f"{folder}/d.jsonl", "examples": examples, "hash": f"h{boxes}{examples}", "fields": fields}
        return {"data": data, "model": {"id": f"{folder}/m", "weights": "ab"}}

    with open_directory(tmp_path, Spec(), facts=facts("/home/ann/x")) as run:
        run.write_shard(0, {"eval": rows(0)})
    assert "/home" not in (tmp_path / "manifest.json").read_text()
    with open_directory(tmp_path, Spec(), facts=facts("../y"), resume=True) as run:
        assert run.done() == {0}
    with pytest.raises(ChiasmError, match="the boxes of its examples are not what they were"):
        open_directory(tmp_path, Spec(), facts=facts("../y", boxes="2"), resume=True)
    with pytest.raises(ChiasmError, match="it is 3 examples, and there were 2"):
        open_directory(tmp_path, Spec(), facts=facts("../y", examples=3), resume=True)


def test_no_text_of_a_run_names_a_folder_of_its_author(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = provenance.without_machine_paths(f"`{tmp_path}/a/1.png` and /data/ann/cats/2.png are no images (or/and)")
    assert text == "`a/1.png` and 2.png are no images (or/and)"
    address = "https://example.org/a/b.png and 3/4 of and/or"
    assert provenance.without_machine_paths(address) == address
    told = {"data": str(tmp_path / "d" / "x.jsonl"), "media": "/data/ann", "n": [1, "/x/y/z"], "q": "image->last"}
    assert provenance.without_user_folders(told) == {
        "data": "d/x.jsonl",
        "media": "ann",
        "n": [1, "z"],
        "q": "image->last",
    }


def test_output_that_is_gone_or_cannot_be_written_is_said_in_words(tmp_path, quick, monkeypatch):
    out = tmp_path / "run"

    def lose() -> None:
        with open_directory(out, Spec()) as run:
            shutil.rmtree(out)
            run.write_shard(0, {"eval": rows(0)})

    with pytest.raises(ChiasmError, match=r"no longer there|not there \(any more\)"):
        lose()
    with pytest.raises(ChiasmError, match="the path is too long"):
        open_directory(tmp_path / ("x" * 300), Spec())

    def limited(handle):
        raise OSError(errno.EFBIG, "too large")

    with monkeypatch.context() as patch, open_directory(out, Spec()) as run:
        patch.setattr(storage.os, "fsync", limited)
        with pytest.raises(ChiasmError, match="larger than this process may write"):
            run.write_shard(0, {"eval": rows(0)})
        patch.undo()
        run.write_shard(0, {"eval": rows(0)})
        run.finish()
    assert run.complete
