"""Questions with several annotators' answers: VQAv2, OKVQA (and VQA v1, in the same layout), TextVQA.

VQAv2: https://visualqa.org/download.html. `v2_OpenEnded_mscoco_val2014_questions.json` holds `questions` (`image_id`,
`question`, `question_id`), `v2_mscoco_val2014_annotations.json` holds `annotations` with ten `answers` (`answer`,
`answer_confidence`, `answer_id`), `multiple_choice_answer` and `answer_type` (yes/no, number, other). Images are
COCO's, named `val2014/COCO_val2014_<image_id, 12 digits>.jpg`.

OKVQA: https://okvqa.allenai.org/download.html. The names of VQA v1, without `v2_` and, for annotations,
`mscoco_val2014_annotations.json`; `answer` is stemmed, `raw_answer` as written; there is no
`multiple_choice_answer`, `answer_type` is `other` throughout, and `question_type` is a word that the file's
`question_types` explains. The last point is taken from descriptions of the files.

TextVQA: https://textvqa.org/dataset. `TextVQA_0.5.1_val.json` holds `data` with `question_id`, `question`, `image_id`
and ten `answers` as plain texts; the images of train and val are both in `train_images/<image_id>.jpg`. The test
files have no answers and are not read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.files import unique
from chiasm.data.layouts.base import (
    Layout,
    as_published,
    holds,
    json_entries,
    json_of,
    majority_answer,
    media_folder,
    part_of,
    required,
)

COCO_IMAGES = "https://cocodataset.org/#download"
_YEARS = {"heldout": "val2014", "train": "train2014"}
_TEXT_FILES = {"heldout": ("TextVQA_0.5.1_val.json",), "train": ("TextVQA_0.5.1_train.json",)}


def coco_images(folder: Path, part: str) -> Path:
    """The folder of COCO's images of `part` (as `val2014`), in `folder` or in `images`.

    **Errors:** `ChiasmError` that says where they are to be had.
    """
    names = (part, f"images/{part}", f"{part}/{part}", f"../{part}", f"../images/{part}", "images", ".")
    return media_folder(folder, names, (".jpg",), f"COCO's {part} images ({COCO_IMAGES})")


def _has(prefix: str) -> Any:
    return holds({"any": tuple(f"{prefix}OpenEnded_mscoco_{part}_questions.json" for part in _YEARS.values())})


def _read(prefix: str, title: str, source: str) -> Any:
    def read(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
        part = part_of(split, _YEARS, title)
        asked = required(title, folder, [f"{prefix}OpenEnded_mscoco_{part}_questions.json"], source)
        answered = required(title, folder, [f"{prefix}mscoco_{part}_annotations.json"], source)
        images = media or coco_images(folder, part)
        return unique(str(asked), _questions(asked, answered, images, part))

    return read


def _questions(asked: Path, answered: Path, images: Path, part: str) -> Iterator[tuple[str, Example]]:
    content = json_of(answered)
    kinds = content.get("question_types", {}) if isinstance(content, dict) else {}
    by_id = as_published(str(answered), lambda: {note["question_id"]: note for note in content["annotations"]})
    for where, question in json_entries(asked, "questions"):
        yield where, as_published(where, _question, question, by_id, kinds, images, part)


def _question(
    question: dict[str, Any], notes: dict[int, dict[str, Any]], kinds: dict[str, str], images: Path, part: str
) -> Example:
    number = question["question_id"]
    if number not in notes:
        raise ChiasmError(f"read question {number}", "the annotations do not have it", "Use files of the same split")
    note = notes[number]
    answers = tuple(answer["answer"] for answer in note["answers"])
    kind = note["answer_type"]
    if note.get("question_type") in kinds:
        kind = kinds[note["question_type"]]
    return Example(
        id=str(number),
        question=question["question"],
        answer=note.get("multiple_choice_answer") or majority_answer(answers),
        images=((images / f"COCO_{part}_{int(question['image_id']):012d}.jpg").absolute(),),
        within=images.absolute(),
        type=kind,
        answers=answers,
    )


def _read_text(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    path = required("TextVQA", folder, part_of(split, _TEXT_FILES, "TextVQA"), "https://textvqa.org/dataset")
    # The images of both splits come in one archive, which is named after train.
    places = ("train_images", "train_val_images/train_images", "images", "val_images")
    images = media or media_folder(folder, places, (".jpg",), "train_val_images.zip (https://textvqa.org/dataset)")
    return unique(str(path), _text_questions(path, images))


def _text_questions(path: Path, images: Path) -> Iterator[tuple[str, Example]]:
    for where, entry in json_entries(path, "data"):
        yield where, as_published(where, _text_question, entry, images)


def _text_question(entry: dict[str, Any], images: Path) -> Example:
    answers = tuple(entry["answers"])
    return Example(
        id=str(entry["question_id"]),
        question=entry["question"],
        answer=majority_answer(answers),
        images=((images / f"{entry['image_id']}.jpg").absolute(),),
        within=images.absolute(),
        answers=answers,
    )


_V2, _OK = "https://visualqa.org/download.html", "https://okvqa.allenai.org/download.html"
VQAV2 = Layout(
    "vqav2", "VQAv2", _has("v2_"), _read("v2_", "VQAv2", _V2),
    "`v2_OpenEnded_mscoco_val2014_questions.json`, `v2_mscoco_val2014_annotations.json`, `val2014/`",
)  # fmt: skip
OKVQA = Layout(
    "okvqa", "OKVQA", _has(""), _read("", "OKVQA", _OK),
    "`OpenEnded_mscoco_val2014_questions.json`, `mscoco_val2014_annotations.json`, `val2014/`",
)  # fmt: skip
TEXTVQA = Layout(
    "textvqa", "TextVQA", holds(_TEXT_FILES),
    _read_text, "`TextVQA_0.5.1_val.json`, `train_images/`",
)  # fmt: skip
