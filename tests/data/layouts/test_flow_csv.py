import csv

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.data.layouts.flow_csv import read_flow_csv
from chiasm.data.layouts.gqa import TYPES

COMMON = ("type_detailed", "type_semantic", "type_structural", "operations", "captions", "image_w", "image_h")
CENTRAL = tuple(f"central object {part}" for part in ("name", "id", "w", "h", "x", "y"))
TWO = tuple(f"object{number} {part}" for number in (1, 2) for part in ("name", "id", "w", "h", "x", "y"))
OPTIONS = ("true option", "false option")
# The files differ in their columns: options for the Choose types, one central object or two, `question word` or not,
# and further columns in ChooseAttr only.
COLUMNS = {
    "ChooseAttr": (*OPTIONS, *CENTRAL, "all objects", "full answer"),
    "ChooseCat": (*OPTIONS, *CENTRAL),
    "ChooseRel": (*OPTIONS, *TWO),
    "CompareAttr": ("question word", *TWO),
    "LogicalObj": ("question word", *TWO),
    "QueryAttr": ("question word", *CENTRAL),
}
# Quirks of the published files, in words of our own: the true option first whatever the question says, options of
# several words and inside other words, one picture under several questions, boxes over the edge and one outside,
# second objects that are missing ("-"), captions with empty sentences and line breaks.
ROWS = {
    "ChooseAttr": [
        ["1", "500", "Is the mug full or empty?", "empty", "empty", "full",
         "mug", "5", "20", "10", "3", "4", "mug, table", "The mug is empty."],
        ["2", "500", "Is the bag light blue or red?", "light blue", "light blue", "red",
         "bag", "6", "9", "9", "95", "0", "", ""],
    ],
    "ChooseCat": [
        ["3", "501", "What is old, the shirt or the hat?", "hat", "hat", "shirt", "this", "7", "4", "4", "0", "0"],
    ],
    "ChooseRel": [
        ["4", "500", "Is the dog to the left or to the right of the cat?", "right", "right", "left",
         "cat", "8", "1", "2", "3", "4", "dog", "9", "5", "6", "7", "8"],
    ],
    "CompareAttr": [
        ["5", "502", "What do the pen and the cup have in common?", "color", "common",
         "pen", "10", "1", "2", "3", "4", "cup", "11", "5", "6", "7", "8"],
    ],
    "LogicalObj": [
        ["6", "503", "Is there a bus or a van that is red?", "no", "common",
         "bus", "12", "1", "2", "3", "4", "van", "-", "-", "-", "-", "-"],
        ["7", "503", "Is there a pen or a cup that is red?", "yes", "common",
         "pen", "13", "1", "2", "3", "4", "cup", "14", "5", "6", "7", "8"],
    ],
    "QueryAttr": [["8", "504", "On which side is the rug?", "left", "common", "rug", "15", "9", "9", "103", "1"]],
}  # fmt: skip
CAPTIONS = "a red mug . . dog's ear.  the mug, on\nthe table. a bag."


def write(folder, kind, rows=None, columns=None, name=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"GQA_val_correct_question_with_x_{kind}.csv")
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns or ("question_id", "img_id", "question", "answer", *COLUMNS[kind], *COMMON))
        out.writerows([*row, "d", "s", "t", "[]", CAPTIONS, "100", "50"] for row in rows or ROWS[kind])
    return path


@pytest.fixture
def datasets(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "500.jpg").touch()
    for kind in TYPES:
        write(tmp_path / "datasets", kind)
    return tmp_path / "datasets"


def test_a_folder_gives_the_types_in_turn(datasets):
    found = list(read_flow_csv(datasets))
    assert [example.type for example in found[:6]] == list(TYPES)
    assert sorted(example.id for example in found) == [str(number) for number in range(1, 9)]


def test_one_file_is_read_in_its_own_order(datasets):
    first, second = read_flow_csv(datasets / "GQA_val_correct_question_with_x_ChooseAttr.csv")
    assert (first.id, first.question, first.answer, first.type) == (
        "1",
        "Is the mug full or empty?",
        "empty",
        "ChooseAttr",
    )
    assert first.options == ("full", "empty")
    assert first.boxes == (Box("mug", 3, 4, 20, 10),)
    assert (second.answer, second.options) == ("light blue", ("light blue", "red"))
    assert first.image == second.image
    assert first.image.samefile(datasets.parent / "images" / "500.jpg")


def test_quirks_of_the_published_files(datasets):
    found = {example.id: example for example in read_flow_csv(datasets)}
    assert found["3"].options == ("shirt", "hat")
    assert found["4"].options == ("left", "right")
    assert found["4"].boxes == (Box("cat", 3, 4, 1, 2), Box("dog", 7, 8, 5, 6))
    assert found["6"].boxes == (Box("bus", 3, 4, 1, 2),)
    assert len(found["7"].boxes) == 2
    assert found["5"].options == found["6"].options == ()
    assert found["8"].boxes == (Box("rug", 103, 1, 9, 9),)
    assert found["1"].captions == ("a red mug", "dog's ear", "the mug, on\nthe table", "a bag")


def test_images_are_found_beside_the_file_or_where_named(tmp_path):
    path = write(tmp_path, "QueryAttr", [["8", "504.jpg", *ROWS["QueryAttr"][0][2:]]])
    with pytest.raises(ChiasmError, match=r"images \(.*images\.zip"):
        list(read_flow_csv(path))
    assert next(read_flow_csv(path, media=tmp_path / "far")).image == tmp_path / "far" / "504.jpg"
    (tmp_path / "images" / "images").mkdir(parents=True)
    (tmp_path / "images" / "images" / "504.jpg").touch()
    assert next(read_flow_csv(path)).image == tmp_path / "images" / "images" / "504.jpg"


def test_another_name_or_layout_is_refused(tmp_path):
    path = write(tmp_path, "QueryAttr", name="mine.csv")
    with pytest.raises(ChiasmError, match="does not end with a question type"):
        list(read_flow_csv(path, media=tmp_path))
    path = write(tmp_path, "QueryAttr", columns=("id", "question"))
    with pytest.raises(ChiasmError, match="no column question_id, img_id, answer, captions"):
        list(read_flow_csv(path, media=tmp_path))
    known = ("question_id", "img_id", "question", "answer", *COMMON)
    path = write(tmp_path, "QueryAttr", [["8", "504", "where?", "left"]], columns=known)
    with pytest.raises(ChiasmError, match="no column that names an object"):
        list(read_flow_csv(path, media=tmp_path))


def test_broken_cells_are_named_with_their_line(tmp_path):
    [row] = ROWS["QueryAttr"]
    path = write(tmp_path, "QueryAttr", [row, ["9", *row[1:-1], "wide"]])
    with pytest.raises(ChiasmError, match=r"line 5 of .*central object.*'wide'"):  # a caption spans two lines
        list(read_flow_csv(path, media=tmp_path))
    path = write(tmp_path, "QueryAttr", [row, [*row, "more"]])
    with pytest.raises(ChiasmError, match=r"line 5 of .*a cell per column"):
        list(read_flow_csv(path, media=tmp_path))
    path = write(tmp_path, "QueryAttr", [row, row])
    with pytest.raises(ChiasmError, match=r"line 5 of .*`8` was already used in line 3 of"):
        list(read_flow_csv(path, media=tmp_path))
    path.write_bytes(path.read_bytes() + b"\xff")
    with pytest.raises(ChiasmError, match="decode"):
        list(read_flow_csv(path, media=tmp_path))
    with pytest.raises(ChiasmError, match="No such file"):
        list(read_flow_csv(tmp_path / "x_QueryAttr.csv", media=tmp_path))
