"""A small folder of every published layout that chiasm reads, as its authors publish it, to be damaged by tests."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def gqa(folder: Path) -> None:
    def step(operation, argument, *dependencies):
        return {"operation": operation, "dependencies": list(dependencies), "argument": argument}

    program = [step("select", "jar (10)"), step("choose", "empty|full", 0)]
    relation = [step("select", "plate (21)"), step("choose rel", "cup,to the right of|to the left of,s (20)", 0)]
    kinds = {"a": ("choose", "attr", "chooseAttr", program), "b": ("choose", "rel", "relChooser", relation)}
    questions = {
        name: {
            "semantic": steps, "question": "Is the cup to the left or to the right of the plate?", "imageId": "7",
            "answer": "right", "annotations": {"answer": {}, "question": {"2": "10"}, "fullAnswer": {}},
            "types": {"structural": structural, "semantic": semantic, "detailed": detailed},
        }
        for name, (structural, semantic, detailed, steps) in kinds.items()
    }  # fmt: skip
    objects = {str(k): {"name": f"thing {k}", "x": k, "y": 2, "w": 9, "h": 8} for k in (10, 20, 21)}
    write(folder / "val_balanced_questions.json", questions)
    write(folder / "val_sceneGraphs.json", {"7": {"width": 90, "height": 80, "objects": objects}})
    write(folder / "images" / "7.jpg", "x")


def flow(folder: Path) -> None:
    sides = [f"central object {side}" for side in ("name", "x", "y", "w", "h")]
    columns = ["question_id", "img_id", "question", "answer", "true option", "false option", *sides, "captions"]
    rows = [
        [str(k), "7", "Is it red or blue?", "red", "red", "blue", "jar", "1", "2", "3", "4", "A jar."] for k in (1, 2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "GQA_val_correct_question_with_choose_ChooseAttr.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    write(folder / "images" / "7.jpg", "x")


def _vqa(prefix: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        answers = [{"answer": "down", "answer_confidence": "yes", "answer_id": k} for k in range(10)]
        questions = [{"image_id": 42, "question": "Is it day?", "question_id": 42001}]
        notes = [
            {"question_id": 42001, "image_id": 42, "question_type": "four", "answer_type": "other", "answers": answers}
            | ({"multiple_choice_answer": "down"} if prefix else {})
        ]
        kinds = {} if prefix else {"question_types": {"four": "Sports"}}
        write(folder / f"{prefix}OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
        write(folder / f"{prefix}mscoco_val2014_annotations.json", {"annotations": notes, **kinds})
        write(folder / "val2014" / "COCO_val2014_000000000042.jpg", "x")

    return build


def textvqa(folder: Path) -> None:
    entry = {"question": "what brand?", "image_id": "0054", "question_id": 34602, "answers": ["nous"] * 10}
    write(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [entry]})
    write(folder / "train_images" / "0054.jpg", "x")


def coco(folder: Path) -> None:
    name = "COCO_val2014_000000000042.jpg"
    images = [{"id": 42, "file_name": name, "height": 360, "width": 640}]
    notes = [{"image_id": 42, "id": 3, "caption": "A dog\nlies down."}]
    boxes = [{"image_id": 42, "category_id": 1, "bbox": [1.5, 2, 3, 4]}]
    write(folder / "annotations" / "captions_val2014.json", {"images": images, "annotations": notes})
    categories = [{"id": 1, "name": "dog"}]
    write(folder / "annotations" / "instances_val2014.json", {"annotations": boxes, "categories": categories})
    write(folder / "val2014" / name, "x")


def pope(folder: Path) -> None:
    for mode in ("random", "popular", "adversarial"):
        entry = {"question_id": 1, "image": "COCO_val2014_000000000042.jpg", "text": "Is there a dog?", "label": "yes"}
        write(folder / f"coco_pope_{mode}.json", json.dumps(entry) + "\n")
    write(folder / "val2014" / "COCO_val2014_000000000042.jpg", "x")


def msvd_qa(folder: Path) -> None:
    entry = {"id": 1, "question": "what is a man doing?", "answer": "sing", "video_id": 7}
    write(folder / "test_qa.json", [entry])
    write(folder / "youtube_mapping.txt", "clip_a vid7\n")
    write(folder / "YouTubeClips" / "clip_a.avi", "x")


def msrvtt_qa(folder: Path) -> None:
    entry = {"id": 1, "question": "what is a man doing?", "answer": "sing", "video_id": 7, "category_id": 3}
    write(folder / "test_qa.json", [entry])
    write(folder / "video" / "video7.mp4", "x")


def msrvtt(folder: Path) -> None:
    videos = [{"video_id": "video7", "split": "test", "category": 3}]
    sentences = [{"video_id": "video7", "caption": "a man sings", "sen_id": 1}]
    write(folder / "test_videodatainfo.json", {"videos": videos, "sentences": sentences})
    write(folder / "TestVideo" / "video7.mp4", "x")


def audiocaps(folder: Path) -> None:
    write(folder / "test.csv", "audiocap_id,youtube_id,start_time,caption\n1,abc,30,A dog barks\n2,abc,30,Barking\n")
    write(folder / "test" / "abc_30.wav", "x")


def clotho(folder: Path) -> None:
    columns = ",".join(f"caption_{k}" for k in range(1, 6))
    write(folder / "clotho_captions_evaluation.csv", f"file_name,{columns}\na.wav,one,two,three,four,five\n")
    write(folder / "evaluation" / "a.wav", "x")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "gqa": gqa, "flow": flow, "vqav2": _vqa("v2_"), "okvqa": _vqa(""), "textvqa": textvqa, "coco": coco, "pope": pope,
    "msvd-qa": msvd_qa, "msrvtt-qa": msrvtt_qa, "msrvtt": msrvtt, "audiocaps": audiocaps, "clotho": clotho,
}  # fmt: skip
