"""The six question files of "Cross-modal Information Flow in Multimodal Large Language Models".

Layout read from the authors' repository at commit c9a1111
(https://github.com/FightingFighting/cross-modal-information-flow-in-MLLM, folder `datasets`): one CSV file per type,
named `GQA_val_correct_question_with_..._<Type>.csv`, 5,525 questions on 3,818 images of GQA's validation set. The
images are not in the repository; its README names GQA's own archive.
"""

import re
from collections.abc import Container, Iterator
from itertools import chain, zip_longest
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example
from chiasm.data.files import unique
from chiasm.data.layouts.base import Layout, rows_of
from chiasm.data.layouts.gqa import TYPES, gqa_images, in_question_order

_NAME = re.compile(rf".*_({'|'.join(TYPES)})\.csv")
_REQUIRED = ("question_id", "img_id", "question", "answer", "captions")
# One image has either a central object or two objects; a missing second object is "-" in all five columns.
_OBJECTS = ("central object", "object1", "object2")
_IMAGE_FOLDERS = ("images", "../images", "images/images", "../images/images")


def is_flow_csv(path: Path) -> bool:
    """Whether the file's name ends as the paper's files do, with the question type."""
    return _NAME.fullmatch(path.name) is not None


def read_flow_csv(path: Path, media: Path | None = None) -> Iterator[Example]:
    """The examples of one of the files, in file order; of a folder of them, one of each type in turn.

    `media`: the folder that holds `<img_id>.jpg` (default: `images` beside the files or beside their folder).
    `type` comes from the file's name. `options` stand in the order of the question, not with the true one first as in
    the file; `captions` are the image's region descriptions. Boxes are left as published: some reach over the edge
    of the image and one lies outside (see `chiasm.core.example.check_boxes`).

    **Errors:** `ChiasmError` for a file of another layout, a cell that cannot be read (with its line), and where the
    images are not found.
    """
    files = sorted(file for file in path.iterdir() if is_flow_csv(file)) if path.is_dir() else [path]
    turns = chain.from_iterable(zip_longest(*(_rows(file, media) for file in files)))
    return unique(str(path), (row for row in turns if row is not None))


def _rows(path: Path, media: Path | None) -> Iterator[tuple[str, Example]]:
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise ChiasmError(
            f"read {path}", "its name does not end with a question type", f"The types are {', '.join(TYPES)}"
        )
    objects: list[str] = []
    images: Path | None = None
    for where, row in rows_of(path, _REQUIRED):
        objects = objects or _objects(path, row)
        images = images or media or gqa_images(path.parent, *_IMAGE_FOLDERS)
        yield where, _example(row, objects, name[1], images, where)


def _objects(path: Path, columns: Container[str]) -> list[str]:
    objects = [thing for thing in _OBJECTS if f"{thing} name" in columns]
    needed = [f"{thing} {side}" for thing in objects for side in "xywh"]
    missing = [column for column in needed if column not in columns]
    if missing or not objects:
        found = f"it has no column {', '.join(missing) or 'that names an object'}"
        raise ChiasmError(f"read {path}", found, "Use the published file, or write JSON Lines")
    return objects


def _example(row: dict[str, str], objects: list[str], type: str, images: Path, where: str) -> Example:
    true, false = row.get("true option"), row.get("false option")
    image = row["img_id"] if row["img_id"].endswith(".jpg") else f"{row['img_id']}.jpg"
    return Example(
        id=row["question_id"],
        question=row["question"],
        answer=row["answer"],
        images=((images / image).absolute(),),
        within=images.absolute(),
        options=in_question_order(row["question"], true, false) if true and false else (),
        type=type,
        boxes=tuple(_box(row, thing, where) for thing in objects if row[f"{thing} x"] != "-"),
        captions=tuple(_sentences(row["captions"])),
    )


def _box(row: dict[str, str], thing: str, where: str) -> Box:
    try:
        return Box(row[f"{thing} name"], *(float(row[f"{thing} {side}"]) for side in "xywh"))
    except ValueError as error:
        raise ChiasmError(f"read {where}", f"the box of its {thing}: {error}", "Use the published file") from error


def _sentences(text: str) -> Iterator[str]:
    """Region descriptions are joined with ". ", some already end with " ." and some are empty."""
    for part in re.split(r"\.\s+|\.$", text.strip()):
        if sentence := part.strip(" .\n"):
            yield sentence


FLOW = Layout(
    "flow",
    "the information-flow paper's CSV files",
    lambda folder: any(is_flow_csv(file) for file in folder.iterdir()),
    lambda folder, split, media: read_flow_csv(folder, media),
    "`..._ChooseAttr.csv` and so on, `images/`",
    partial_boxes=True,
)
