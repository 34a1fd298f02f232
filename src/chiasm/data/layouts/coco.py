"""COCO captions, with the boxes of all 80 objects where they are there too; POPE's question files on its images.

COCO: https://cocodataset.org/#download, layout https://cocodataset.org/#format-data. `captions_val2014.json` holds
`images` (`id`, `file_name`) and `annotations` (`image_id`, `caption`), five or more captions to an image, in no order,
some with a line break at the end; `instances_val2014.json` holds `categories` (`id`, `name`) and `annotations`
(`image_id`, `category_id`, `bbox` as x, y, width, height). Images without any object have none there. A few boxes
have no area.

POPE: https://github.com/AoiDragon/POPE, folder `output/coco`. `coco_pope_random.json`, `..._popular.json` and
`..._adversarial.json` are JSON Lines (in spite of their ending) with `question_id`, `image`
(`COCO_val2014_....jpg`), `text`, `label` (yes or no); ids start at 1 in every file.
"""

import json
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example
from chiasm.core.text import reason_of
from chiasm.data.files import unique
from chiasm.data.layouts.base import DESCRIBE, Layout, as_published, find, holds, json_of, part_of, required
from chiasm.data.layouts.vqa import COCO_IMAGES, coco_images
from chiasm.data.plain_files import open_plain

_FILES = {
    "heldout": ("captions_val2014.json", "captions_val2017.json"),
    "train": ("captions_train2014.json", "captions_train2017.json"),
}
_POPE = re.compile(r".*pope_(random|popular|adversarial)\.jsonl?")


def _read_captions(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    path = required("COCO captions", folder, part_of(split, _FILES, "COCO"), COCO_IMAGES)
    part = path.stem.removeprefix("captions_")
    images = media or coco_images(folder, part)
    return unique(str(path), _described(path, find(folder, f"instances_{part}.json"), images))


def _described(path: Path, instances: Path | None, images: Path) -> Iterator[tuple[str, Example]]:
    content = json_of(path)
    captions = as_published(f"`annotations` of {path}", _captions, content)
    boxes = {} if instances is None else as_published(str(instances), _boxes, json_of(instances))
    for number, image in enumerate(as_published(f"`images` of {path}", lambda: list(content["images"])), start=1):
        where = f"image {number} of {path}"
        yield where, as_published(where, _description, image, captions, boxes, images)


def _captions(content: dict[str, Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for note in content["annotations"]:
        found.setdefault(note["image_id"], []).append(" ".join(note["caption"].split()))
    return found


def _description(
    image: dict[str, Any], captions: dict[int, list[str]], boxes: dict[int, list[Box]], images: Path
) -> Example:
    return Example(
        id=str(image["id"]),
        question=DESCRIBE["image"],
        images=((images / image["file_name"]).absolute(),),
        within=images.absolute(),
        boxes=tuple(boxes.get(image["id"], ())),
        captions=tuple(captions[image["id"]]),
    )


def _boxes(instances: dict[str, Any]) -> dict[int, list[Box]]:
    names = {category["id"]: category["name"] for category in instances["categories"]}
    found: dict[int, list[Box]] = {}
    for note in instances["annotations"]:
        x, y, w, h = note["bbox"]
        if w > 0 and h > 0:
            found.setdefault(note["image_id"], []).append(Box(names[note["category_id"]], x, y, w, h))
    return found


def is_pope(path: Path) -> bool:
    """Whether the file's name ends as POPE's question files do."""
    return _POPE.fullmatch(path.name) is not None


def pope_files(folder: Path) -> list[Path]:
    """POPE's question files in `folder` or one folder down (`coco`), one a mode; random, popular, adversarial."""
    found: dict[str, Path] = {}
    for path in (*sorted(folder.iterdir()), *sorted(folder.glob("*/*.json*"))):
        if (match := _POPE.fullmatch(path.name)) and path.is_file():
            found.setdefault(match[1], path)
    return [found[mode] for mode in ("random", "popular", "adversarial") if mode in found]


def read_pope(path: Path, split: str = "heldout", media: Path | None = None) -> Iterator[Example]:
    """The questions of one file, or of all three in a folder; `type` is the mode, ids are `MODE-<question_id>`.

    `media`: the folder of COCO's val2014 images (default: `val2014` or `images` beside the files or one folder up).

    **Errors:** `ChiasmError` for a line of another form, and where the images are not found.
    """
    files = pope_files(path) if path.is_dir() else [path]
    images = media or coco_images(path if path.is_dir() else path.parent, "val2014")
    return unique(str(path), (row for file in files for row in _questions(file, images)))


def _questions(path: Path, images: Path) -> Iterator[tuple[str, Example]]:
    match = _POPE.fullmatch(path.name)
    if match is None:
        raise ChiasmError(
            f"read {path}", "its name does not say the mode", "Use the published name, coco_pope_MODE.json"
        )
    try:
        with TextIOWrapper(open_plain(path), encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"line {number} of {path}"
                    yield where, as_published(where, _question, line, match[1], images)
    except (OSError, UnicodeDecodeError) as error:
        raise ChiasmError(f"read {path}", reason_of(error), "Download it again") from error


def _question(line: str, mode: str, images: Path) -> Example:
    entry = json.loads(line)
    if entry["label"] not in ("yes", "no"):
        raise ValueError(f"label {entry['label']!r}")
    return Example(
        id=f"{mode}-{entry['question_id']}",
        question=entry["text"],
        answer=entry["label"],
        images=((images / entry["image"]).absolute(),),
        within=images.absolute(),
        options=("yes", "no"),
        type=mode,
    )


COCO = Layout(
    "coco", "COCO captions", holds(_FILES), _read_captions,
    "`captions_val2014.json` (or 2017), `val2014/`, and for objects `instances_val2014.json`",
)  # fmt: skip
POPE = Layout(
    "pope", "POPE", lambda folder: bool(pope_files(folder)), read_pope,
    "`coco_pope_random.json`, `..._popular.json`, `..._adversarial.json`, and COCO's `val2014/`",
)  # fmt: skip
