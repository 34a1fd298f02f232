"""The images that maps are drawn over and that the page shows, kept small in the run: drawing needs no data."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import UInt8

from chiasm.core.errors import ExampleError
from chiasm.core.example import Box, Example, media_key, require_usable
from chiasm.core.media import load_image
from chiasm.results.manifest import read_json, write_json
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import reporting_full_disk, whole_file

_SIDE = 512
_INDEX = "index.json"
_THUMBNAILS = "thumbnails"
_THUMBNAIL_SIDE: Final = 192
MAX_THUMBNAILS: Final = 600
"""Different images of which a run keeps a thumbnail at most: as many as a page of 10 MB holds."""


class KeptImage(NamedTuple):
    """A kept image: `pixels` are `scale` times the original's size; `boxes` count its own pixels."""

    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: tuple[Box, ...]
    scale: float

    def placed(self, patches: pl.DataFrame) -> pl.DataFrame:
        """Rows of the table `patches` with their corners in pixels of this image."""
        return patches.with_columns(pl.col("x0", "y0", "x1", "y1") * self.scale)


def kept_image(example: Example) -> KeptImage:
    """The first image of an example as it would be kept."""
    image, scale, boxes = _small(example)
    return KeptImage(np.asarray(image), boxes, scale)


def keep(directory: RunDirectory, examples: Iterable[Example]) -> None:
    """Write the first image of each example, at most 512 pixels a side, and its boxes.

    **Errors:** `FullDiskError`.
    """
    folder = directory.path / "images"
    with reporting_full_disk("images", directory.path):
        folder.mkdir(exist_ok=True)
    index = {}
    for number, example in enumerate(examples):
        image, scale, boxes = _small(example)
        with whole_file(folder / f"{number}.png") as file:
            image.save(file, "PNG")
        index[example.id] = {"file": f"{number}.png", "scale": scale, "boxes": [list(box) for box in boxes]}
    write_json(folder / _INDEX, index)


def _small(example: Example) -> tuple[Any, float, tuple[Box, ...]]:
    """The first image at most 512 pixels a side, how many times its size that is, and the boxes on it."""
    require_usable(example)
    image = load_image(example.images[0])
    scale = min(1.0, _SIDE / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    boxes = tuple(Box(box.name, *(value * scale for value in box[1:])) for box in example.boxes)
    return image.resize((size[0], size[1])), scale, boxes


def kept(directory: RunDirectory) -> dict[str, KeptImage]:
    """The kept images by example; empty if there are none."""
    folder = directory.path / "images"
    if not (folder / _INDEX).exists():
        return {}
    return {
        example: KeptImage(
            np.asarray(load_image(folder / kept["file"])),
            tuple(Box(*box) for box in kept["boxes"]),
            kept["scale"],
        )
        for example, kept in read_json(folder / _INDEX).items()
    }


class Thumbnail(NamedTuple):
    """A small JPEG in the run. `boxes`: as shares of its width and height; `size`: of the original, in pixels."""

    file: Path
    boxes: tuple[Box, ...]
    size: tuple[int, int]


def keep_thumbnails(directory: RunDirectory, examples: Iterable[Example]) -> None:
    """Write the first image of each example, at most 192 pixels a side, for the page; one that cannot be read is left.

    Examples that show the same image share a file. What is there already stays.

    **Errors:** `FullDiskError`.
    """
    folder = directory.path / _THUMBNAILS
    with reporting_full_disk("thumbnails", directory.path):
        folder.mkdir(exist_ok=True)
    index: dict[str, Any] = read_json(folder / _INDEX) if (folder / _INDEX).exists() else {}
    files: dict[Any, tuple[str, tuple[int, int]]] = {}
    for example in examples:
        if example.id in index or not example.images:
            continue
        key = media_key(example.images[0])
        if key not in files:
            number = len({kept["file"] for kept in index.values()})
            if number >= MAX_THUMBNAILS:
                break
            try:
                require_usable(example)
                image = load_image(example.images[0])
            except ExampleError:
                continue
            scale = min(1.0, _THUMBNAIL_SIDE / max(image.size))
            width, height = (max(1, round(side * scale)) for side in image.size)
            files[key] = (f"{number}.jpg", image.size)
            with whole_file(folder / f"{number}.jpg") as file:
                image.resize((width, height)).save(file, "JPEG", quality=78)
        name, (width, height) = files[key]
        boxes = [[box.name, box.x / width, box.y / height, box.w / width, box.h / height] for box in example.boxes]
        index[example.id] = {"file": name, "boxes": boxes, "size": [width, height]}
    write_json(folder / _INDEX, index)


def thumbnails(directory: RunDirectory) -> dict[str, Thumbnail]:
    """The thumbnails by example; empty where a run keeps none."""
    folder = directory.path / _THUMBNAILS
    if not (folder / _INDEX).exists():
        return {}
    return {
        example: Thumbnail(folder / kept["file"], tuple(Box(*box) for box in kept["boxes"]), tuple(kept["size"]))
        for example, kept in read_json(folder / _INDEX).items()
    }
