"""VQAv2, OKVQA, TextVQA, COCO captions and POPE as published, quirks included."""

import json

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.data import examples
from chiasm.data.metrics import fitting

LICENCE = {"info": {"year": 2017}, "license": {"id": 1}, "data_type": "mscoco"}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def picture(folder, *names):
    for name in names:
        write(folder / name, name)  # no two files of one content: they would be one image


def ten(*answers):
    return [{"answer": a, "answer_confidence": "maybe", "answer_id": k} for k, a in enumerate(answers, start=1)]


@pytest.fixture
def vqa(tmp_path):
    questions = [
        {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
        {"image_id": 42, "question": "Is it day?", "question_id": 42001},
    ]
    notes = [  # in another order than the questions
        {
            "question_id": 42001, "image_id": 42, "question_type": "is it", "answer_type": "yes/no",
            "multiple_choice_answer": "yes", "answers": ten(*["yes"] * 10),
        },
        {
            "question_id": 262148000, "image_id": 262148, "question_type": "where is the", "answer_type": "other",
            "multiple_choice_answer": "down", "answers": ten(*["down"] * 6, *["at table"] * 2, "skateboard", "down "),
        },
    ]  # fmt: skip
    write(tmp_path / "Questions" / "v2_OpenEnded_mscoco_val2014_questions.json", {**LICENCE, "questions": questions})
    write(tmp_path / "Annotations" / "v2_mscoco_val2014_annotations.json", {**LICENCE, "annotations": notes})
    picture(tmp_path / "images" / "val2014", "COCO_val2014_000000262148.jpg")
    return tmp_path


def test_vqav2(vqa):
    first, second = examples(vqa)
    assert (first.id, first.question, first.answer, first.type) == (
        "262148000", "Where is he looking?", "down", "other",
    )  # fmt: skip
    assert len(first.answers) == 10
    assert first.answers[6:] == ("at table", "at table", "skateboard", "down ")
    assert first.image == vqa / "images" / "val2014" / "COCO_val2014_000000262148.jpg"
    assert (second.answer, second.type) == ("yes", "yes/no")
    assert fitting([first, second]) == ("vqa", "exact")
    assert [e.id for e in examples(f"vqav2:{vqa}", limit=1)] == ["262148000"]


def test_files_of_two_splits_are_told(vqa):
    notes = vqa / "Annotations" / "v2_mscoco_val2014_annotations.json"
    write(notes, {"annotations": []})
    with pytest.raises(ChiasmError, match="262148000: the annotations do not have it"):
        list(examples(vqa))
    write(notes, '{"annotations": [')
    with pytest.raises(ChiasmError, match=r"annotations\.json"):
        list(examples(vqa))
    notes.unlink()
    with pytest.raises(ChiasmError, match=r"no v2_mscoco_val2014_annotations.*visualqa\.org"):
        examples(vqa)
    with pytest.raises(ChiasmError, match="no v2_OpenEnded_mscoco_train2014_questions"):
        examples(vqa, split="train")


def test_okvqa(tmp_path):
    question = {"image_id": 297147, "question": "What sport can you use this for?", "question_id": 2971475}
    answers = [
        {"answer_id": k, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"} for k in range(1, 9)
    ] + [
        {"answer_id": k, "raw_answer": "motocross", "answer_confidence": "yes", "answer": "motocross"} for k in (9, 10)
    ]
    note = {
        "image_id": 297147, "answer_type": "other", "question_type": "four", "question_id": 2971475,
        "answers": answers, "confidence": 3,
    }  # fmt: skip
    kinds = {"four": "Sports and Recreation", "other": "Other"}
    write(tmp_path / "OpenEnded_mscoco_val2014_questions.json", {**LICENCE, "questions": [question]})
    write(tmp_path / "mscoco_val2014_annotations.json", {"question_types": kinds, "annotations": [note]})
    picture(tmp_path / "val2014", "COCO_val2014_000000297147.jpg")
    [example] = examples(tmp_path)
    assert (example.answer, example.type) == ("race", "Sports and Recreation")
    assert example.answers == ("race",) * 8 + ("motocross",) * 2


def test_textvqa(tmp_path):
    entry = {
        "question": "what brand?", "image_id": "0054c91397f2fe05", "image_classes": ["Food"], "question_id": 34602,
        "answers": ["nous les gosses", "NOUS", "nous les gosses"] + ["unanswerable"] * 3 + ["dakota"] * 4,
        "question_tokens": ["what", "brand"], "set_name": "val",
    }  # fmt: skip
    write(tmp_path / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [entry]})
    picture(tmp_path / "train_images", "0054c91397f2fe05.jpg")
    [example] = examples(tmp_path)
    assert (example.id, example.answer, len(example.answers)) == ("34602", "dakota", 10)
    assert example.image == tmp_path / "train_images" / "0054c91397f2fe05.jpg"


@pytest.fixture
def coco(tmp_path):
    names = {391895: "COCO_val2014_000000391895.jpg", 42: "COCO_val2014_000000000042.jpg"}
    images = [{"id": key, "file_name": name, "height": 360, "width": 640} for key, name in names.items()]
    captions = [
        {"image_id": 42, "id": 3, "caption": "A dog\nlies down. \n"},
        {"image_id": 391895, "id": 1, "caption": "A man with a red helmet. "},
        {"image_id": 391895, "id": 2, "caption": "a man on a motorbike"},
    ]
    instances = [
        {"image_id": 391895, "category_id": 1, "bbox": [359.1, 146.1, 112.4, 213.5], "iscrowd": 0},
        {"image_id": 391895, "category_id": 4, "bbox": [339.8, 22.1, 153.8, 300.7], "iscrowd": 1},
        {"image_id": 391895, "category_id": 4, "bbox": [339.8, 22.1, 0.0, 3.2], "iscrowd": 0},
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 4, "name": "motorcycle"}]
    place = tmp_path / "annotations"
    write(place / "captions_val2014.json", {**LICENCE, "images": images, "annotations": captions})
    write(place / "instances_val2014.json", {"annotations": instances, "categories": categories, "images": images})
    picture(tmp_path / "val2014", *names.values())
    return tmp_path


def test_coco_captions_with_objects(coco):
    first, second = examples(coco)
    assert first.captions == ("A man with a red helmet.", "a man on a motorbike")
    assert second.captions == ("A dog lies down.",)
    assert first.boxes == (
        Box("person", 359.1, 146.1, 112.4, 213.5),
        Box("motorcycle", 339.8, 22.1, 153.8, 300.7),
    )
    assert (first.answer, second.boxes) == ("", ())
    assert fitting([first, second]) == ("cider", "chair")
    (coco / "annotations" / "instances_val2014.json").unlink()
    assert fitting(list(examples(coco))) == ("cider",)


def test_coco_without_pictures_says_where_to_get_them(coco):
    for path in (coco / "val2014").iterdir():
        path.unlink()
    with pytest.raises(ChiasmError, match=r"no \.jpg file.*cocodataset\.org.*--media"):
        examples(coco)
    (coco / "far").mkdir()
    assert next(examples(coco, media=coco / "far")).image == coco / "far" / "COCO_val2014_000000391895.jpg"


def test_pope_from_cocos_boxes(coco):
    with pytest.raises(ChiasmError, match="name 2 kinds of objects, and no image lacks one"):
        list(examples(coco, task="pope-popular"))
    path = coco / "annotations" / "instances_val2014.json"
    told = json.loads(path.read_text())
    told["annotations"].append({"image_id": 42, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0})
    path.write_text(json.dumps(told))
    found = [(e.id, e.question, e.answer) for e in examples(coco, task="pope-popular")]
    assert found == [
        ("42-popular-0", "Is there a person in the image?", "yes"),
        ("42-popular-1", "Is there a motorcycle in the image?", "no"),
    ]


@pytest.fixture
def pope(tmp_path):
    for mode, thing in (("random", "snowboard"), ("popular", "person"), ("adversarial", "dining table")):
        image = "COCO_val2014_000000310196.jpg"
        lines = [
            {"question_id": 1, "image": image, "text": f"Is there a {thing} in the image?", "label": "yes"},
            {"question_id": 2, "image": image, "text": "Is there an apple in the imange?", "label": "no"},
        ]
        write(tmp_path / "coco" / f"coco_pope_{mode}.json", "".join(json.dumps(line) + "\n" for line in lines))
    picture(tmp_path / "val2014", "COCO_val2014_000000310196.jpg")
    return tmp_path


def test_pope(pope):
    found = list(examples(pope))
    assert [e.id for e in found] == [f"{m}-{k}" for m in ("random", "popular", "adversarial") for k in (1, 2)]
    assert [(e.answer, e.type) for e in found[4:]] == [("yes", "adversarial"), ("no", "adversarial")]
    assert {e.image for e in found} == {pope / "val2014" / "COCO_val2014_000000310196.jpg"}
    assert fitting(found) == ("pope", "exact")
    one = pope / "coco" / "coco_pope_popular.json"
    assert [e.id for e in examples(one)] == ["popular-1", "popular-2"]


def test_a_broken_line_of_pope_is_told(pope):
    path = pope / "coco" / "coco_pope_random.json"
    path.write_text(path.read_text() + '{"question_id": 3, "image": "a.jpg", "text": "?", "label": "maybe"}\n')
    with pytest.raises(ChiasmError, match=r"line 3 of .*coco_pope_random\.json.*maybe"):
        list(examples(pope))


def test_a_folder_with_several_layouts_asks_which(coco, pope):
    with pytest.raises(ChiasmError, match=r"COCO captions and POPE\. Say which: coco:"):
        examples(coco)
    assert next(examples(f"pope:{coco}")).id == "random-1"
    assert next(examples(f"coco:{coco}")).id == "391895"
