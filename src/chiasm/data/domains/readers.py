"""Domains as they are published: PlantDoc, DermNet, DTD, CrisisMMD; and folders, CSV and JSON Lines of one's own."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from chiasm.core.errors import ChiasmError
from chiasm.data.domains.base import TEST, Domain, Item, make_domain, stratified
from chiasm.data.files import json_lines
from chiasm.data.layouts.base import as_published, rows_of
from chiasm.data.plain_files import open_plain

_IMAGE_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif"}
_TRAIN: Final = ("train", "training")
_VALIDATION: Final = ("val", "valid", "validation", "dev")
_TEST: Final = ("test", "testing")
_HUMANITARIAN: Final = "task_humanitarian_text_img_{}.tsv"
# Topics: the released code has the first one only; what the paper wrote for the others is unknown, so these are ours.
_KNOWN: Final = {
    "plantdoc": ("Apple Scab Leaf", "plant leaf diseases"),
    "dermnet": ("Acne and Rosacea Photos", "skin conditions"),
}


def read_domain(path: Path, name: str, topic: str | None, seed: int) -> Domain:
    """The domain in a folder or a file, known by what is in it.

    **Errors:** `ChiasmError` where it holds no images with labels.
    """
    if path.is_file():
        return _listed(path, name, topic or "what they show", _rows(path), seed)
    if (path / "labels" / "train1.txt").is_file():
        return _dtd(path, topic, seed)
    tsv = next((file for file in sorted(path.rglob(_HUMANITARIAN.format("train")))), None)
    if tsv is not None:
        return _crisismmd(path, tsv, topic, seed)
    return _folders(path, name, topic, seed)


def _folders(root: Path, name: str, topic: str | None, seed: int) -> Domain:
    """`train/CLASS/*`, `test/CLASS/*` (PlantDoc, DermNet and many others), or `CLASS/*` alone."""
    parts = {part: _part_folder(root, names) for part, names in (("train", _TRAIN), ("val", _VALIDATION))}
    test = _part_folder(root, _TEST)
    notes: list[str] = []
    if parts["train"] is None or test is None:
        classes, items = _images_by_class(root, root)
        train, held = stratified(items, TEST, seed)
        notes.append(f"the folder has no parts: {TEST:.0%} of every class were held out as the test")
        validation = None
    else:
        classes, train = _images_by_class(parts["train"], root)
        more, held = _images_by_class(test, root)
        classes = tuple(dict.fromkeys((*classes, *more)))
        validation = None if parts["val"] is None else _images_by_class(parts["val"], root)[1]
    for known, (sign, words) in _KNOWN.items():
        if sign in classes:
            name, topic = known, topic or words
    return make_domain(
        name, topic or "what they show", train, held, validation=validation, classes=classes, notes=notes, seed=seed
    )


def _part_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((entry for entry in sorted(root.iterdir()) if entry.is_dir() and entry.name.lower() in names), None)


def _images_by_class(folder: Path, root: Path) -> tuple[tuple[str, ...], tuple[Item, ...]]:
    """The folders' names, which are the classes as published, and their images."""
    classes = tuple(entry.name for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name[0] != ".")
    items = tuple(
        Item(str(file.relative_to(root)), file.absolute(), label, root.absolute())
        for label in classes
        for file in sorted((folder / label).iterdir())
        if file.suffix.lower() in _IMAGE_SUFFIXES
    )
    if not items:
        raise ChiasmError(
            f"read the domain {folder}",
            "no folder in it holds an image",
            "Give one folder of images per class (in train/ and test/), DTD, CrisisMMD, a .csv or a .jsonl",
        )
    return classes, items


def _dtd(root: Path, topic: str | None, seed: int) -> Domain:
    """Split 1, as the paper: `train1.txt`, `test1.txt`; `val1.txt`, which it leaves unused, is the validation part."""

    def items(part: str) -> list[Item]:
        file = root / "labels" / f"{part}1.txt"
        if not file.is_file():
            raise ChiasmError(f"read DTD in {root}", f"there is no labels/{file.name}", "Unpack dtd-r1.0.1.tar.gz")
        with open_plain(file) as opened:
            lines = as_published(str(file), lambda: opened.read().decode().splitlines())
        names = [line.strip() for line in lines if line.strip()]
        place = root.absolute()
        return [Item(name, place / "images" / name, name.partition("/")[0], place) for name in names]

    train, validation, test = (items(part) for part in ("train", "val", "test"))
    return make_domain("dtd", topic or "textures", train, test, validation=validation, seed=seed)


def _crisismmd(root: Path, train: Path, topic: str | None, seed: int) -> Domain:
    """The images of version 2.0, labelled as images (`label_image`), each once."""

    def items(part: str) -> list[Item]:
        file = train.with_name(_HUMANITARIAN.format(part))
        return list({item.id: item for item in _humanitarian(file, root)}.values())

    notes = (
        "the paper has 4 of these classes and 10,461 images; how it chose them is unknown, so all labels are kept",
        "an image that several rows name is taken once",
    )
    parts = [items(part) for part in ("train", "dev", "test")]
    seen: set[str] = set()
    for own in parts:
        own[:] = [item for item in own if item.id not in seen]
        seen.update(item.id for item in own)
    return make_domain(
        "crisismmd", topic or "humanitarian needs", parts[0], parts[2], validation=parts[1], notes=notes, seed=seed
    )


def _humanitarian(file: Path, root: Path) -> Iterator[Item]:
    place = next((folder for folder in (root, *file.parents) if (folder / "data_image").is_dir()), root)
    for where, row in rows_of(file, ("image_id", "image", "label_image"), "\t"):
        if not row["image"]:
            raise ChiasmError(f"read {where}", "it names no image", "Use the published file")
        yield Item(row["image_id"], (place / row["image"]).absolute(), row["label_image"], place.absolute())


def _listed(path: Path, name: str, topic: str, rows: Iterable[tuple[str, Any]], seed: int) -> Domain:
    parts: dict[str, list[Item]] = defaultdict(list)
    for where, row in rows:
        if not isinstance(row, dict) or not row.get("image") or not row.get("label"):
            raise ChiasmError(f"read {where}", "it has no `image` or no `label`", "Give both")
        image, label = (as_published(where, _name, row[field]) for field in ("image", "label"))
        split = str(row.get("split") or "").lower()
        part = next((p for p, names in zip(_PARTS, (_TRAIN, _VALIDATION, _TEST)) if split in names), None)
        if split and part is None:
            raise ChiasmError(f"read {where}", f"its split is `{split}`", "Write train, val or test, or leave it out")
        place = path.parent.absolute()
        parts[part or ""].append(Item(image, place / image, label, place))
    if parts[""] and len(parts) > 1:
        raise ChiasmError(f"read {path}", f"{len(parts[''])} rows have no split and others have", "Give all or none")
    if parts[""]:
        train, test = stratified(parts[""], TEST, seed)
        notes = (f"the file has no parts: {TEST:.0%} of every class were held out as the test",)
        return make_domain(name, topic, train, test, notes=notes, seed=seed)
    return make_domain(name, topic, parts["train"], parts["test"], validation=parts["validation"] or None, seed=seed)


def _name(value: Any) -> str:
    """A path or a label; labels may be numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{type(value).__name__} in place of a text")
    text = str(value)
    text.encode()
    return text


_PARTS: Final = ("train", "validation", "test")


def _rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    match path.suffix.lower():
        case ".csv":
            return rows_of(path, ("image", "label"))
        case ".jsonl":
            return json_lines(path)
    raise ChiasmError(f"read the domain {path}", "it is no .csv or .jsonl file", "Name a folder or such a file")
