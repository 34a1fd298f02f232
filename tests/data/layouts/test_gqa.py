import json
from pathlib import Path

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.data.layouts.gqa import TYPES, is_gqa, read_gqa


def step(operation, argument, *dependencies):
    return {"operation": operation, "dependencies": list(dependencies), "argument": argument}


def question(image, text, answer, kind, program, annotated=None):
    structural, semantic, detailed = kind.split()
    return {
        "semantic": program,
        "entailed": [],
        "equivalent": [],
        "question": text,
        "imageId": image,
        "isBalanced": True,
        "groups": {"global": None, "local": "x"},
        "answer": answer,
        "semanticStr": "",
        "annotations": {"answer": {}, "question": annotated or {}, "fullAnswer": {}},
        "types": {"detailed": detailed, "semantic": semantic, "structural": structural},
        "fullAnswer": f"{answer}.",
    }


# One of each type and the quirks of the published files: several questions on one picture, an object that is not there
# ("-"), a filter in parentheses, a relation on the way, several objects in one step, an object without a box, an object
# named by the annotation alone, questions of other types.
QUESTIONS = {
    "01": question("7", "Is the jar full or empty?", "empty", "choose attr chooseAttr",
                   [step("select", "jar (10)"), step("choose", "empty|full", 0)], {"2": "10"}),
    "02": question("7", "Which kind of vessel is not red, the jar or the flower pot?", "flower pot",
                   "choose cat categoryThatChoose",
                   [step("select", "vessel (11)"), step("filter color", "not(red)", 0),
                    step("choose name", "flower pot|jar", 1)], {"3": "11", "6:8": "12"}),
    "03": question("8", "Is the cup to the left or to the right of the plate?", "right", "choose rel relChooser",
                   [step("select", "plate (21)"),
                    step("choose rel", "cup,to the right of|to the left of,s (20)", 0)]),
    "04": question("8", "What do the cup and the plate have in common?", "material", "compare attr twoCommon",
                   [step("select", "cup (20)"), step("select", "plate (21) "), step("common", "", 0, 1)]),
    "05": question("8", "Is there any cup or bowl that is not brown?", "no", "logical obj existThatOrC",
                   [step("select", "cup (20)"), step("filter color", "not(brown)", 0), step("exist", "?", 1),
                    step("select", "bowl (-) "), step("filter color", "not(brown)", 3), step("exist", "?", 4),
                    step("or", "", 2, 5)]),
    "06": question("n9", "On which side is the tree?", "left", "query attr positionQuery",
                   [step("select", "tree (30,31)"), step("query", "hposition", 0)]),
    "07": question("7", "Is the pot on the table made of clay or of tin?", "clay", "choose attr materialChoose",
                   [step("select", "table (13)"), step("relate", "_,on,s (11)", 0),
                    step("choose material", "clay|tin", 1)]),
    "08": question("8", "Is the cup behind or in front of the plate?", "in front of", "choose rel relChooser",
                   [step("select", "plate (99)"), step("choose rel", "cup,in front of|behind,s (20)", 0)]),
    "09": question("no graph", "On which side is the car?", "left", "query attr positionQuery",
                   [step("select", "car (40)"), step("query", "hposition", 0)]),
    "10": question("7", "What is on the table?", "jar", "query rel relS",
                   [step("select", "table (13)"), step("relate", "_,on,s (10)", 0), step("query", "name", 1)]),
    "11": question("7", "Is it a jar?", "yes", "verify obj twoCommon", [step("select", "jar (10)")]),
}  # fmt: skip


def thing(name, x):
    return {"name": name, "x": x, "y": 1, "w": 2, "h": 3, "attributes": [], "relations": []}


GRAPHS = {
    "7": {"width": 50, "height": 40, "objects": {
        "10": thing("jar", 10), "11": thing("pot", 11), "12": thing("flower", 12), "13": thing("table", 13)}},
    "8": {"width": 50, "height": 40, "location": "kitchen", "objects": {
        "20": thing("cup", 20), "21": thing("plate", 21)}},
    "n9": {"width": 50, "height": 40, "objects": {"30": thing("trees", 30), "31": thing("tree", 31)}},
}  # fmt: skip


def layout(folder: Path, questions="", graphs="", images="images", prefix="val"):
    for name in (questions, graphs, images):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / questions / f"{prefix}_balanced_questions.json").write_text(json.dumps(QUESTIONS))
    (folder / graphs / f"{prefix}_sceneGraphs.json").write_text(json.dumps(GRAPHS))
    (folder / images / "7.jpg").touch()
    return folder


@pytest.fixture
def found(tmp_path):
    return {example.id: example for example in read_gqa(layout(tmp_path))}


def names(example):
    return [(box.name, box.x) for box in example.boxes]


def test_the_six_types_are_taken_and_no_others(found):
    assert [found[name].type for name in ("01", "02", "03", "04", "05", "06")] == list(TYPES)
    assert list(found) == ["01", "02", "03", "04", "05", "06", "07", "08", "09"]


def test_an_example_holds_the_question_and_its_picture(found, tmp_path):
    example = found["01"]
    assert (example.question, example.answer) == ("Is the jar full or empty?", "empty")
    assert example.image == tmp_path / "images" / "7.jpg"
    assert example.boxes == (Box("jar", 10, 1, 2, 3),)
    assert found["06"].image == tmp_path / "images" / "n9.jpg"


def test_options_follow_the_question_and_not_the_program(found):
    assert found["01"].options == ("full", "empty")
    assert found["02"].options == ("jar", "flower pot")
    assert found["03"].options == ("left", "right")
    assert found["08"].options == ("behind", "front")
    assert found["08"].answer == "front"
    assert found["04"].options == found["05"].options == ()
    assert all(example.answer in example.options for example in found.values() if example.options)


def test_the_central_object_comes_first_under_the_word_of_the_question(found):
    assert names(found["02"]) == [("vessel", 11), ("flower", 12)]  # the second from the annotation alone
    assert names(found["03"]) == [
        ("plate", 21),
        ("cup", 20),
    ]  # as in the paper's files: what is selected, then the other
    assert names(found["04"]) == [("cup", 20), ("plate", 21)]
    assert names(found["06"]) == [("tree", 30), ("tree", 31)]
    assert names(found["07"]) == [("pot", 11), ("table", 13)]  # reached over the relation; the program says only "_"


def test_objects_that_are_not_there_have_no_box(found):
    assert names(found["05"]) == [("cup", 20)]
    assert names(found["08"]) == [("cup", 20)]
    assert found["09"].boxes == ()


def test_folders_of_the_archives_are_recognised(tmp_path):
    layout(tmp_path, "questions1.2", "sceneGraphs", "allImages/images")
    assert is_gqa(tmp_path)
    assert next(read_gqa(tmp_path)).image == tmp_path / "allImages" / "images" / "7.jpg"


def test_train_and_heldout_are_gqas_own_splits(tmp_path):
    layout(tmp_path, prefix="train")
    assert next(read_gqa(tmp_path, "train")).id == "01"
    with pytest.raises(ChiasmError, match="val_balanced_questions"):
        read_gqa(tmp_path)
    with pytest.raises(ChiasmError, match="GQA split `test`"):
        read_gqa(tmp_path, "test")


@pytest.mark.parametrize(
    ("gone", "match"),
    [
        ("val_balanced_questions.json", r"val_balanced_questions\.json.*questions1\.2\.zip"),
        ("val_sceneGraphs.json", r"val_sceneGraphs\.json.*sceneGraphs\.zip"),
        ("images/7.jpg", r"images \(.*images\.zip"),
    ],
)
def test_a_missing_part_is_named_with_where_to_get_it(tmp_path, gone, match):
    (layout(tmp_path) / gone).unlink()
    with pytest.raises(ChiasmError, match=match):
        read_gqa(tmp_path)


def test_pictures_may_lie_elsewhere(tmp_path):
    (layout(tmp_path) / "images/7.jpg").unlink()
    assert next(read_gqa(tmp_path, media=tmp_path / "far")).image == tmp_path / "far" / "7.jpg"


@pytest.mark.parametrize("field", ["types", "semantic", "imageId", "annotations", "answer", "question"])
def test_a_question_of_another_form_is_named(tmp_path, field):
    broken = {key: value for key, value in QUESTIONS["01"].items() if key != field}
    (layout(tmp_path) / "val_balanced_questions.json").write_text(json.dumps({"77": broken}))
    with pytest.raises(ChiasmError, match=f"question `77` of .*KeyError.*{field}"):
        list(read_gqa(tmp_path))


def test_a_graph_of_another_form_is_named(tmp_path):
    (layout(tmp_path) / "val_sceneGraphs.json").write_text(json.dumps({"7": {"objects": {"10": {"name": "jar"}}}}))
    with pytest.raises(ChiasmError, match=r"image `7` of .*not as published"):
        list(read_gqa(tmp_path))


def test_questions_of_other_types_only_are_no_example(tmp_path):
    (layout(tmp_path) / "val_balanced_questions.json").write_text(json.dumps({"10": QUESTIONS["10"]}))
    with pytest.raises(ChiasmError, match="holds no example"):
        list(read_gqa(tmp_path))
