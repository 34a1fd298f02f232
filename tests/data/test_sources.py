import json
import subprocess
import sys
from itertools import islice

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data import sources
from chiasm.data.sources import examples, register

MADE = [Example(id=str(number), question="?") for number in range(5)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"id": made.id, "question": "?", "image": "a.png"}) + "\n" for made in MADE))
    return path


def ids(source, **options):
    return [example.id for example in examples(source, **options)]


def test_a_file_a_path_as_text_and_examples_themselves(file):
    assert ids(file) == ids(str(file)) == ids(MADE) == ids(iter(MADE)) == ["0", "1", "2", "3", "4"]


def test_the_limit_takes_the_first(file):
    assert ids(file, limit=2) == ids(MADE, limit=2) == ["0", "1"]
    assert len(ids(file, limit=99)) == 5
    with pytest.raises(ChiasmError, match="take 0 examples"):
        examples(file, limit=0)


def test_what_lies_after_the_limit_is_not_read(file):
    file.write_text(file.read_text() + "broken")
    assert len(ids(file, limit=5)) == 5
    assert ids(file)[5:] == ["line 6"]


def test_media_names_the_folder_of_the_pictures(file, tmp_path):
    (tmp_path / "far").mkdir()
    assert next(examples(file, media=tmp_path / "far")).image == tmp_path / "far" / "a.png"
    with pytest.raises(ChiasmError, match="no such folder"):
        examples(file, media=tmp_path / "gone")


def test_a_parquet_file(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "question": ["?"]}), tmp_path / "data.parquet")
    assert ids(tmp_path / "data.parquet") == ["a"]


def test_folders_are_known_by_what_they_hold(tmp_path):
    with pytest.raises(ChiasmError, match="holds nothing: no known layout"):
        examples(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ChiasmError, match=r"holds notes\.txt: no known layout"):
        examples(tmp_path)
    (tmp_path / "x_LogicalObj.csv").write_text("question_id\n")
    with pytest.raises(ChiasmError, match="no column img_id"):
        list(examples(tmp_path))
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions" / "val_balanced_questions.json").write_text("{}")
    with pytest.raises(ChiasmError, match=rf"it holds GQA and .* Say which: gqa:{tmp_path} or flow:"):
        examples(tmp_path)
    with pytest.raises(ChiasmError, match=r"GQA.*no val_sceneGraphs\.json"):
        examples(f"gqa:{tmp_path}")
    with pytest.raises(ChiasmError, match="no such folder"):
        examples("gqa:nowhere")


def test_a_csv_file_is_the_papers(tmp_path):
    (tmp_path / "mine.csv").touch()
    with pytest.raises(ChiasmError, match="question type"):
        list(examples(tmp_path / "mine.csv"))


def test_unknown_files_and_names_get_close_ones(file):
    with pytest.raises(ChiasmError, match=r"Did you mean data\.jsonl"):
        examples(file.with_name("dta.jsonl"))
    with pytest.raises(ChiasmError, match="Did you mean scenes"):
        examples("scene")
    with pytest.raises(ChiasmError, match=r"Name a \.jsonl.* or one of scenes"):
        examples("zzz")
    (file.parent / "data.xlsx").touch()
    with pytest.raises(ChiasmError, match=r"`\.xlsx` is not a known kind"):
        examples(file.parent / "data.xlsx")


def test_given_examples_are_checked():
    with pytest.raises(ChiasmError, match="example 6: the id `0` was already used in example 1"):
        ids([*MADE, MADE[0]])
    with pytest.raises(ChiasmError, match="the given examples: it holds no example"):
        ids([])
    with pytest.raises(ChiasmError, match="number 1 is a dict"):
        ids([{"id": "a"}])


def test_scenes_pick_by_seed_and_split():
    first = list(examples("scenes", limit=12, seed=3))
    assert [example.id for example in first] == ids("scenes", limit=12, seed=3)
    assert len({example.type for example in first}) == 6
    assert not set(ids("scenes", limit=12, seed=4)) & {example.id for example in first}
    assert not set(ids("scenes", limit=12, seed=3, split="train")) & {example.id for example in first}
    assert len(list(islice(examples("scenes"), 3))) == 3
    with pytest.raises(ChiasmError, match="split `test`: there are heldout, train"):
        examples("scenes", split="test")


def test_a_source_can_be_registered(monkeypatch):
    monkeypatch.setattr(sources, "_registered", dict(sources._registered))
    asked = {}

    def mine(seed, split, limit):
        asked.update(seed=seed, split=split, limit=limit)
        return islice(MADE, limit)

    register("mine", mine)
    assert ids("mine", limit=2, seed=7, split="train") == ["0", "1"]
    assert asked == {"seed": 7, "split": "train", "limit": 2}
    with pytest.raises(ChiasmError, match="`mine`: that name is taken"):
        register("mine", mine)


def test_reading_json_lines_loads_nothing_heavy(file):
    heavy = {"torch", "transformers", "pyarrow", "polars", "scipy", "PIL", "chiasm.data.scenes"}
    code = f"import sys; from chiasm.data import examples; list(examples({str(file)!r})); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "chiasm.data.files" in done.stdout.split()
    assert not heavy & set(done.stdout.split())
