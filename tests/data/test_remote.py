"""Data at addresses: the examples of the same files on this machine, copied once."""

import json
import tarfile

import fsspec
import numpy as np
import pytest
from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.core.example import media_key
from chiasm.data import examples, sequence
from chiasm.data.fingerprint import fingerprint


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def made(folder, count=3):
    """JSON Lines and pictures in a folder of this machine."""
    (folder / "pictures").mkdir(parents=True)
    lines = []
    for k in range(count):
        Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(folder / "pictures" / f"{k}.png")
        lines.append({"id": f"e{k}", "image": f"pictures/{k}.png", "question": "Which?", "answer": "red"})
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "x.jsonl"


def test_json_lines_and_the_pictures_beside_them(memory, tmp_path):
    own = made(tmp_path / "own")
    memory.put(str(own.parent), "/bucket", recursive=True)
    found = list(examples("memory://bucket/x.jsonl"))
    assert [one.id for one in found] == ["e0", "e1", "e2"]
    assert [media_key(one.images[0]) for one in found] == [media_key(one.images[0]) for one in examples(own)]
    assert fingerprint(sequence("memory://bucket/x.jsonl")) == fingerprint(sequence(own))


def test_a_limit_limits_what_is_copied(memory, tmp_path):
    memory.put(str(made(tmp_path / "own", 5).parent), "/bucket", recursive=True)
    (first,) = examples("memory://bucket/x.jsonl", 1)
    assert first.images[0].exists()
    assert sorted(one.name for one in first.images[0].parent.glob("*.png")) == ["0.png"]


def test_what_has_changed_is_copied_anew(memory):
    line = '{"id": "a", "question": "Which?", "answer": "%s"}'
    memory.pipe("/bucket/x.jsonl", (line % "red").encode())
    assert next(examples("memory://bucket/x.jsonl")).answer == "red"
    memory.pipe("/bucket/x.jsonl", (line % "blue").encode())
    assert next(examples("memory://bucket/x.jsonl")).answer == "blue"


def test_a_pattern_of_archives_and_a_folder_of_them(memory, tmp_path):
    for number in range(2):
        path = tmp_path / f"part-{number}.tar"
        text = tmp_path / f"k{number}.json"
        text.write_text('{"question": "Which?", "answer": "red"}')
        with tarfile.open(path, "w") as archive:
            archive.add(text, text.name)
        memory.put(str(path), f"/bucket/{path.name}")
    assert [one.id for one in examples("memory://bucket/part-*.tar")] == ["k0", "k1"]
    assert [one.id for one in examples("memory://bucket")] == ["k0", "k1"]


def test_parquet(memory, tmp_path):
    import polars as pl

    pl.DataFrame({"id": ["a"], "question": ["Which?"]}).write_parquet(tmp_path / "x.parquet")
    memory.put(str(tmp_path / "x.parquet"), "/bucket/x.parquet")
    assert [one.id for one in examples("memory://bucket/x.parquet")] == ["a"]


def test_own_files_are_read_where_they_lie(tmp_path):
    own = made(tmp_path / "own")
    found = list(examples(f"file://{own}"))
    assert [one.images for one in found] == [one.images for one in examples(own)]


def test_a_missing_picture_is_that_examples_affair(memory, tmp_path):
    folder = made(tmp_path / "own").parent
    (folder / "pictures" / "1.png").unlink()
    memory.put(str(folder), "/bucket", recursive=True)
    found = list(examples("memory://bucket/x.jsonl"))
    assert [one.images[0].exists() for one in found] == [True, False, True]


def test_names_that_lead_out_of_the_folder_are_not_followed(memory, tmp_path):
    memory.pipe("/secret.png", b"x")
    memory.pipe("/bucket/x.jsonl", b'{"id": "a", "image": "../secret.png", "question": "Which?"}')
    (found,) = examples("memory://bucket/x.jsonl")
    assert not found.images[0].exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://bucket/none.jsonl", "there is no such file"),
        ("memory://bucket/none-*.tar", "there is no such file"),
        ("memory://bucket/x.csv", "only paths are read"),
        ("nowhere://bucket/x.jsonl", "fsspec knows no file system `nowhere`"),
        ("s3://bucket/x.jsonl", "s3fs"),
    ],
)
def test_what_cannot_be_read_is_said(memory, address, said):
    memory.pipe("/bucket/x.csv", b"x")
    with pytest.raises(ChiasmError, match=said):
        next(iter(examples(address)))
