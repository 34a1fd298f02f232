import json
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Box, Example, require_usable
from chiasm.core.media import load_image
from chiasm.data import sources
from chiasm.data.files import FIELDS, MAX_LINE, TRIED, from_example, read_jsonl, read_parquet, to_example, write_jsonl

ROW = {"id": "a", "image": "a.png", "question": "What is red?", "answer": "circle"}
BOX = {"name": "circle", "x": 1, "y": 2.5, "w": 3, "h": 4}


def jsonl(folder, *rows):
    path = folder / "data.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def recorded(path, match, read=read_jsonl):
    """The file's one example that cannot be read says why; all others are there."""
    found = list(read(path))
    (bad,) = [example for example in found if example.fault]
    assert len(found) > 1
    assert re.search(match, bad.fault), bad.fault
    with pytest.raises(ExampleError, match=match):
        require_usable(bad)


def refused(path, match, read=read_jsonl):
    with pytest.raises(ChiasmError, match=match):
        list(read(path))


def test_every_field_is_read(tmp_path):
    row = {
        **ROW,
        "image": ["a.png", "/b/c.png"],
        "video": "v.mp4",
        "audio": "s.wav",
        "options": ["circle", "square"],
        "type": "ChooseCat",
        "boxes": [BOX],
        "captions": ["a red circle"],
        "answers": ["red", "orange"],
        "pair": "b",
    }
    assert set(row) == set(FIELDS)
    [example] = read_jsonl(jsonl(tmp_path, row))
    assert [str(path) for path in example.images] == [str(tmp_path / "a.png"), "/b/c.png"]
    assert (example.videos, example.audios) == ((tmp_path / "v.mp4",), (tmp_path / "s.wav",))
    assert example.boxes == (Box("circle", 1, 2.5, 3, 4),)
    assert (example.options, example.type, example.captions) == (("circle", "square"), "ChooseCat", ("a red circle",))
    assert example.answers == ("red", "orange")
    assert example.pair == "b"


def test_only_id_and_question_are_needed(tmp_path):
    path = jsonl(tmp_path, {"id": "a", "question": "Why?", "answer": None, "boxes": None})
    assert list(read_jsonl(path)) == [Example(id="a", question="Why?")]


def test_paths_start_from_the_file_or_from_the_named_folder(tmp_path, monkeypatch):
    jsonl(tmp_path, ROW)
    monkeypatch.chdir(tmp_path)
    relative = (tmp_path / "data.jsonl").relative_to(tmp_path)
    assert next(read_jsonl(relative)).image == tmp_path / "a.png"
    assert next(read_jsonl(relative, media=tmp_path / "pictures")).image == tmp_path / "pictures" / "a.png"


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n\r\n\n" + json.dumps({**ROW, "id": "b"}).encode()
    )
    assert [example.id for example in read_jsonl(path)] == ["a", "b"]


def test_reading_is_lazy(tmp_path):
    assert next(read_jsonl(jsonl(tmp_path, ROW, "broken"))).id == "a"


def test_what_spoils_one_example_does_not_cost_the_others(tmp_path):
    address = {"id": "b", "question": "?", "image": "https://x.org/a.png"}
    found = list(read_jsonl(jsonl(tmp_path, ROW, address, {"id": "c", "question": " "})))
    assert [example.id for example in found][1:] == ["b", "c"]
    with pytest.raises(ExampleError, match="it is an address; download it"):
        load_image(found[1].images[0])


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ('{"id": "b", "question": ', "line 2 of .*not JSON"),
        ('{"id": "b", "question": "?", "boxes": NaN}', "line 2 .*NaN"),
        ('{"id": "b", "question": "?", "question": "!"}', "line 2 .*given twice"),
        ("[]", "line 2 .*a list"),
        ('"text"', "line 2 .*a text"),
        ("null", "line 2 .*holds null"),
        ({"question": "?"}, "line 2 .*no `id`"),
        ({"id": "b"}, "line 2 .*no `question`"),
        ({"id": " ", "question": "?"}, "line 2 .*`id` is empty"),
        ({"id": 7, "question": "?"}, "line 2 .*`id` is a number"),
        ({"id": "b", "question": ["?"]}, "line 2 .*`question` is a list"),
        ({"id": "b", "question": "?", "answer": True}, "line 2 .*true or false"),
        ({"id": "b", "question": "?", "options": "yes, no"}, "line 2 .*`options` is a text"),
        ({"id": "b", "question": "?", "captions": [1]}, "line 2 .*`captions` is a number"),
        ({"id": "b", "question": "?", "image": {"bytes": ""}}, "line 2 .*`image` is an object"),
        ({"id": "b", "question": "?", "image": ""}, "line 2 .*empty path"),
        ({"id": "b", "question": "?", "imgae": "a.png"}, "line 2 .*Did you mean `image`"),
        ({"id": "b", "question": "?", "zzz": 1}, "line 2 .*The fields are id, image"),
        ({"id": "b", "question": "?", "boxes": {"name": "x"}}, "line 2 .*`boxes` is an object"),
        ({"id": "b", "question": "?", "boxes": [[1, 2, 3, 4]]}, "line 2 .*name, x, y, w, h"),
        ({"id": "b", "question": "?", "boxes": [{"name": "x", "x": 1}]}, "line 2 .*name, x, y, w, h"),
        ({"id": "b", "question": "?", "boxes": [{**BOX, "x": "1"}]}, "line 2 .*number of pixels"),
        ({"id": "b", "question": "?", "boxes": [{**BOX, "x": True}]}, "line 2 .*number of pixels"),
        ('{"id": "b", "question": "?", "boxes": [{"name": "x", "x": 1e999, "y": 1, "w": 1, "h": 1}]}', "line 2 .*inf"),
        (
            '{"id": "b", "question": "?", "boxes": [{"name": "x", "x": 1' + 400 * "0" + ', "y": 1, "w": 1, "h": 1}]}',
            "line 2 ",
        ),
        ('{"id": "b", "question": "?", "boxes": ' + 9000 * "[" + 9000 * "]" + "}", "line 2 .*nested too deeply"),
        ('{"id": "b", "question": "\\ud800"}', "line 2 .*broken character"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, row, match):
    recorded(jsonl(tmp_path, ROW, row, {**ROW, "id": "c"}), match)
    with pytest.raises(ChiasmError, match=match.replace("line 2", "line 1")):
        list(read_jsonl(jsonl(tmp_path, row)))


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b'\n{"id": "\xff"}\n')
    recorded(path, "line 2 .*not JSON .character 9 is no UTF-8")


def test_one_document_over_many_lines_is_recognised(tmp_path):
    refused(jsonl(tmp_path, json.dumps([ROW], indent=1)), "not one document over many lines")


def test_a_repeated_id_names_both_lines(tmp_path):
    recorded(jsonl(tmp_path, ROW, {**ROW, "id": "b"}, ROW), "line 3 of .*`a` was already used in line 1 of")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_examples_is_refused(tmp_path, content):
    (tmp_path / "data.jsonl").write_text(content)
    refused(tmp_path / "data.jsonl", "holds no example")


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "gone.jsonl", "No such file")
    refused(tmp_path / "gone.parquet", "No such file", read_parquet)


def test_a_file_of_which_nothing_can_be_read_is_refused(tmp_path):
    with pytest.raises(ChiasmError, match="and none of the first 20 can be read"):
        list(read_jsonl(jsonl(tmp_path, *({"id": str(k), "qestion": "?"} for k in range(TRIED + 5)))))
    with pytest.raises(
        ChiasmError, match=r"unknown field `qestion`, and none of the first 3 .*Did you mean `question`"
    ):
        list(read_jsonl(jsonl(tmp_path, *({"id": str(k), "qestion": "?"} for k in range(3)))))
    (tmp_path / "data.jsonl").write_bytes(bytes(range(256)) * 500)
    refused(tmp_path / "data.jsonl", "line 1 of .*it is not JSON")


def test_bad_lines_before_the_first_good_one_are_kept_in_their_order(tmp_path):
    found = list(read_jsonl(jsonl(tmp_path, *["broken"] * (TRIED - 1), ROW, "broken")))
    assert [example.id for example in found] == [*(f"line {k}" for k in range(1, TRIED)), "a", f"line {TRIED + 1}"]
    assert [bool(example.fault) for example in found] == [True] * (TRIED - 1) + [False, True]


def test_a_bad_line_never_takes_the_id_of_another(tmp_path):
    found = list(read_jsonl(jsonl(tmp_path, {**ROW, "id": "line 2"}, "broken", {**ROW, "id": "line 2'"})))
    assert [example.id for example in found] == ["line 2", "line 2'", "line 3"]
    assert "already used in line 2 of" in found[2].fault


def test_a_line_without_an_end_is_not_held(tmp_path):
    path = jsonl(tmp_path, ROW)
    with path.open("ab") as file:
        file.write(b'{"id": "' + b"b" * (MAX_LINE + 10) + b'"}\n' + json.dumps({**ROW, "id": "c"}).encode())
    found = list(read_jsonl(path))
    assert [example.id for example in found] == ["a", "line 2", "c"]
    assert "longer than 16,777,216 bytes" in found[1].fault


def test_messages_name_the_file_without_its_folder_and_no_long_value(tmp_path):
    long = '{"id": "b", "question": "?", "boxes": [{"name": "x", "x": ' + "1" * 400 + ', "y": 1, "w": 1, "h": 1}]}'
    (example,) = [one for one in read_jsonl(jsonl(tmp_path, ROW, long)) if one.fault]
    assert str(tmp_path) not in example.fault
    assert "line 2 of data.jsonl" in example.fault
    assert len(example.fault) < 250


@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "data.csv", "coco_pope_random.json"])
def test_pipes_devices_and_sockets_are_refused_unread(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    with pytest.raises(ChiasmError, match="it is a pipe and not a file"):
        list(sources.examples(tmp_path / name))
    with pytest.raises(ChiasmError, match="it is a device and not a file"):
        list(sources.examples(tmp_path / "device" / name))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.jsonl"))
    with pytest.raises(ChiasmError, match="it is a socket and not a file"):
        list(sources.examples(tmp_path / "s.jsonl"))


def test_files_are_bound_to_the_folder_of_the_data(tmp_path):
    (folder := tmp_path / "data").mkdir()
    rows = [
        {**ROW, "id": str(k), "image": name} for k, name in enumerate(("a.png", "../b.png", "/etc/passwd", "c.png"))
    ]
    (folder / "c.png").symlink_to(tmp_path / "secret")
    found = list(read_jsonl(jsonl(folder, *rows)))
    require_usable(found[0])
    for example, named in zip(found[1:], ("../b.png", "/etc/passwd", "c.png"), strict=True):
        with pytest.raises(ExampleError, match=f"image {re.escape(named)}: it lies outside the folder"):
            require_usable(example)
    for example in sources.examples(folder / "data.jsonl", allow_outside=True):
        require_usable(example)
    require_usable(next(read_jsonl(jsonl(folder, {**ROW, "image": "data/../b.png"}), media=tmp_path)))


def test_files_of_the_hubs_cache_are_links_into_it(tmp_path):
    repository = tmp_path / "datasets--someone--pictures"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "0123abcd"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(blobs / "f00", format="PNG")
    Image.new("RGB", (4, 4)).save(tmp_path / "private.png")
    (snapshot / "a.png").symlink_to(Path("..", "..", "blobs", "f00"))
    (snapshot / "b.png").symlink_to(tmp_path / "private.png")
    lines = [json.dumps({"id": name, "image": f"{name}.png", "question": "?"}) for name in "ab"]
    (snapshot / "data.jsonl").write_text("\n".join(lines))
    inside, outside = sources.examples(snapshot / "data.jsonl")
    require_usable(inside)
    with pytest.raises(ExampleError, match="outside the folder"):
        require_usable(outside)


words = st.text(max_size=8)
text = st.text(min_size=1, max_size=8).filter(str.strip)
number = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
name = st.from_regex(r"[\w ]{1,8}\.png", fullmatch=True)


@st.composite
def stored(draw, folder):
    paths = st.lists(name.map(lambda file: folder / file), max_size=3).map(tuple)
    return Example(
        id=draw(text),
        question=draw(text),
        answer=draw(words),
        images=draw(paths),
        videos=draw(paths),
        audios=draw(paths),
        options=draw(st.lists(words, max_size=3).map(tuple)),
        type=draw(text),
        boxes=draw(st.lists(st.builds(Box, words, number, number, number, number), max_size=2).map(tuple)),
        captions=draw(st.lists(words, max_size=3).map(tuple)),
        answers=draw(st.lists(words, max_size=3).map(tuple)),
    )


@settings(deadline=None)
@given(st.data())
def test_what_is_written_is_read_back(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("trip")
    examples = data.draw(st.lists(stored(folder), min_size=1, max_size=4, unique_by=lambda example: example.id))
    assert write_jsonl(folder / "data.jsonl", examples) == len(examples)
    assert list(read_jsonl(folder / "data.jsonl")) == examples
    moved = folder / "elsewhere"
    moved.mkdir()
    (folder / "data.jsonl").rename(moved / "data.jsonl")
    follow = [
        replace(example, **{kind: tuple(moved / path.name for path in paths) for kind, paths in media(example)})
        for example in examples
    ]
    assert list(read_jsonl(moved / "data.jsonl")) == follow


def media(example):
    return [(kind, getattr(example, kind)) for kind in ("images", "videos", "audios")]


def test_media_in_memory_cannot_be_written(tmp_path):
    with pytest.raises(ChiasmError, match=r"`a`.*in memory"):
        write_jsonl(tmp_path / "data.jsonl", [Example(id="a", question="?", images=(object(),))])


def test_parquet_holds_the_same_fields(tmp_path):
    examples = [
        Example(id="a", question="?", images=(tmp_path / "a.png",), boxes=(Box("x", 1.0, 2.0, 3.0, 4.0),)),
        Example(id="b", question="!", answer="no", options=("yes", "no"), captions=("one",), type="LogicalObj"),
    ]
    rows = [from_example(example, tmp_path) for example in examples]
    pq.write_table(pa.Table.from_pylist(rows, pa.Table.from_pylist(rows[:1]).schema), tmp_path / "first.parquet")
    columns = pa.unify_schemas([pa.Table.from_pylist([row]).schema for row in rows])
    pq.write_table(pa.Table.from_pylist(rows, columns), tmp_path / "data.parquet")
    assert list(read_parquet(tmp_path / "data.parquet")) == examples


def test_parquet_mistakes_name_the_row(tmp_path):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "a"], "question": ["?", "?", "?"]}), path, row_group_size=2)
    recorded(path, "row 3 of .*already used in row 1 of", read_parquet)
    pq.write_table(pa.table({"id": ["a"], "quesiton": ["?"]}), path)
    refused(path, "row 1 of .*Did you mean `question`", read_parquet)
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "question": pa.array([], pa.string())}), path)
    refused(path, "holds no example", read_parquet)


@pytest.mark.parametrize("keep", [0, 3, 300])
def test_a_broken_parquet_file_is_refused(tmp_path, keep):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"id": ["a"], "question": ["?" * 500]}), path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, f"{re.escape(str(path))}: it is not a whole Parquet file", read_parquet)


@pytest.mark.parametrize("given", [{}, {"type": None}, {"type": ""}, {"type": "  "}])
def test_a_type_of_nothing_is_none(tmp_path, given):
    assert (
        to_example({"id": "a", "question": "?", **given}, tmp_path, "line 1").type == Example(id="a", question="?").type
    )


@pytest.mark.parametrize(("value", "name"), [(None, "null"), (3, r"a number \(3\)"), (1.5, r"a float \(1.5\)")])
def test_a_line_that_is_no_object_is_named_as_json_names_it(tmp_path, value, name):
    with pytest.raises(ChiasmError, match=f"it holds {name}"):
        to_example(value, tmp_path, "line 1")
