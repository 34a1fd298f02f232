"""From what the user names (a file, a folder, a name, examples) to examples: the one door to data."""

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Protocol, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example, Split
from chiasm.core.remote import is_address
from chiasm.core.text import shortened
from chiasm.data.files import read_jsonl, read_parquet, unique
from chiasm.data.layouts import holds_layout, is_pope, layout_of, named, read, read_pope, recognised
from chiasm.data.layouts.flow_csv import read_flow_csv
from chiasm.data.plain_files import require_plain
from chiasm.data.remote import fetched, with_media
from chiasm.data.sequences import Spooled
from chiasm.data.tasks import IN_THE_INPUT, Task, as_task, task_of
from chiasm.data.webdataset import is_shards, read_webdataset, shards_of

_KINDS = "a .jsonl, .parquet or .tar file, or a folder of a data set as it is published"
ENDLESS = ("scenes", "scenes-video", "scenes-audio")
"""Names of data without an end: studies take so many of them where no limit is given."""
_POPE_IMAGES = 500
"""Scenes from which the frequencies of objects are taken: as many images as POPE has."""
# The words of that world: its models never read POPE's "in the image".
_SHORTER = "Is there {thing}?"


class Source(Protocol):
    """A registered source of examples: `limit` of them, or without end."""

    def __call__(self, seed: int, split: Split, limit: int | None) -> Iterator[Example]: ...


def _procedural(name: str) -> Source:
    def read(seed: int, split: Split, limit: int | None) -> Iterator[Example]:
        # Drawing is not needed to read files.
        from chiasm.data.scenes.stream import WORLDS

        return WORLDS[name].examples(seed, split, limit)

    return read


def _whole_scenes(seed: int, split: Split, limit: int) -> Iterator[Example]:
    """The same scenes with the boxes of all their objects, not only of those that the question is about."""
    from chiasm.data.scenes.stream import SCENES

    for example, number in zip(SCENES.examples(seed, split, limit), count()):
        scene, _ = SCENES.question(seed, split, number)
        yield replace(example, boxes=tuple(thing.box for thing in scene.things))


_registered: dict[str, Source] = {name: _procedural(name) for name in ENDLESS}


def register(name: str, source: Source) -> None:
    """Makes `source` known as `name` to `examples` and to `--data`."""
    if name in _registered:
        raise ChiasmError(f"register the data `{name}`", "that name is taken", "Choose another name")
    _registered[name] = source


def examples(
    source: str | Path | Iterable[Example],
    limit: int | None = None,
    seed: int = 0,
    split: Split = "heldout",
    media: str | Path | None = None,
    task: Task = "qa",
    allow_outside: bool = False,
) -> Iterator[Example]:
    """The examples of `source`: the first `limit`, or all.

    `source`: a JSON Lines, Parquet or WebDataset file (docs/data.md), a folder of a data set in its published layout
    (also as `NAME:FOLDER`, where a folder holds several), an address of a file as `s3://BUCKET/x.jsonl` (extra
    `remote`), a registered name (`scenes`: endless without a limit), or examples. Files are read in their own order.
    `seed` and `split` pick from `scenes`, `split` also between the parts of a published data set; other files are one
    split and ignore it. `media`: the folder that holds the images (videos, sounds), where they are not beside the file.
    `task`: ask for descriptions or for objects instead (`chiasm.data.tasks`).

    Files that the data name must lie in their folder, or in `media`, links followed, unless
    `allow_outside`; what lies elsewhere is that example's failure when it is used. Examples that are given may name
    any file. A line that cannot be read is an example whose `fault` says why. A name that is also a file is meant as
    the name; write `./scenes` for the file.

    **Errors:** `ChiasmError` for an unknown source (with close names), a mistake in a file (with its line), a repeated
    id, no example, or a split that the source does not have.
    """
    if limit is not None and limit < 1:
        raise ChiasmError(f"take {limit} examples", "that is none", "Ask for at least one")
    if seed < 0:
        raise ChiasmError(f"the seed {seed}", "seeds count from 0", "Give 0 or more")
    if split not in get_args(Split):
        raise ChiasmError(f"split `{split}`", f"there are {', '.join(get_args(Split))}", "Name one of those")
    if task_of(task) != "qa":
        presence = _SHORTER if source == "scenes" else IN_THE_INPUT
        inputs = _inputs_of(source, limit, seed, split, media, task, allow_outside)
        return as_task(inputs, task, limit, seed, presence)
    if isinstance(source, str) and source in _registered:
        return _registered[source](seed=seed, split=split, limit=limit)
    if isinstance(source, str | Path):
        within = Path(media) if media else None
        read = _fetched if is_address(source) else _by_path
        found = read(str(source), split, within)
        if allow_outside:
            found = (replace(example, within=None) for example in found)
    else:
        found = unique("the given examples", _numbered(source))
    return islice(found, limit)


def sequence(
    source: str | Path | Iterable[Example],
    limit: int | None = None,
    seed: int = 0,
    split: Split = "heldout",
    media: str | Path | None = None,
    task: Task = "qa",
    allow_outside: bool = False,
) -> Sequence[Example]:
    """What `examples` gives, to be gone through several times and from any place, without being held in memory.

    Examples that are given are held as they are; a sequence of a class of one's own is asked for each of them when it
    is needed.

    **Errors:** as `examples`, all of them here; `ChiasmError` for all of data without an end.
    """
    found = examples(source, limit, seed, split, media, task, allow_outside)
    if isinstance(source, str) and source in ENDLESS and task == "qa":
        # Drawing is not needed to read files.
        from chiasm.data.scenes.stream import WORLDS

        if limit is None:
            raise ChiasmError(f"take all of `{source}`", "it has no end", "Say how many with --limit")
        return WORLDS[source].sequence(seed, split, limit)
    if isinstance(source, str | Path) or task != "qa":
        return Spooled(found)
    if isinstance(source, Sequence) and not isinstance(source, list | tuple):
        for _ in found:  # to find what is wrong with them
            pass
        return source[:limit]
    return list(found)


def _inputs_of(
    source: str | Path | Iterable[Example],
    limit: int | None,
    seed: int,
    split: Split,
    media: str | Path | None,
    task: Task,
    allow_outside: bool,
) -> Iterator[Example]:
    """What another task is asked about: all of a file, so many of a source that may have no end."""
    enough = limit if limit is not None and task == "caption" else max(_POPE_IMAGES, limit or 0)
    if source == "scenes":
        return _whole_scenes(seed, split, enough)
    if isinstance(source, str) and source in _registered:
        return examples(source, enough, seed, split, media, allow_outside=allow_outside)
    of = layout_of(str(source), Path(source)) if isinstance(source, str | Path) else None
    if of is not None and of.partial_boxes and task != "caption":
        found = f"the boxes of {of.title} are those of one question, so what has none may still be there"
        raise ChiasmError(f"ask which objects are there ({task})", found, "Use data with all objects, as COCO's")
    return examples(source, None, seed, split, media, allow_outside=allow_outside)


def _read(path: Path, asked: str, split: Split, media: Path | None) -> Iterator[Example]:
    _require_nameable(path)
    if media is not None and not media.is_dir():
        raise ChiasmError(f"find media in {media}", "there is no such folder", "Name the folder that holds them")
    if not path.exists() and (by_name := named(asked)) is not None:
        return read(*by_name, split, media)
    if is_shards(path) and (shards := shards_of(path)):
        return read_webdataset(shards, media)
    if not path.exists():
        raise _unknown(path, asked)
    if path.is_dir() and (shards := shards_of(path)) and not holds_layout(path):
        return read_webdataset(shards, media)
    if path.is_dir():
        return read(recognised(path), path, split, media)
    require_plain(path)
    if is_pope(path):
        return read_pope(path, split, media)
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return read_jsonl(path, media)
        case ".parquet":
            return read_parquet(path, media)
        case ".tar":
            return read_webdataset([path], media)
        case ".csv":
            return read_flow_csv(path, media)
    raise ChiasmError(f"read {path}", f"`{path.suffix}` is not a known kind of data file", f"Name {_KINDS}")


def require_kind(folder: Path) -> None:
    """Refuse a folder that holds no data of a known kind, by the names of its files alone.

    **Errors:** `ChiasmError`.
    """
    if not shards_of(folder):
        recognised(folder)


def _by_path(source: str, split: Split, media: Path | None) -> Iterator[Example]:
    return _read(Path(source), source, split, media)


def _fetched(address: str, split: Split, media: Path | None) -> Iterator[Example]:
    """What lies at an address, once it has been copied; files beside it are copied as examples name them."""
    path, beside = fetched(address)
    found = _read(path, str(path), split, media)
    return with_media(found, path.parent.absolute(), beside) if beside and media is None else found


def _require_nameable(path: Path) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else "no file can be called so"
        raise ChiasmError(f"data `{shortened(str(path))}`", found, f"Name {_KINDS}") from error


def _unknown(path: Path, asked: str) -> ChiasmError:
    """Close names in the folder for what looks like a path, close registered names for what does not."""
    folder = path.parent
    is_path = bool(path.suffix) or os.sep in asked
    names = [entry.name for entry in folder.iterdir()] if is_path and folder.is_dir() else list(_registered)
    near = difflib.get_close_matches(path.name, names, n=3)
    todo = f"Did you mean {', '.join(near)}?" if near else f"Name {_KINDS}, or one of {', '.join(_registered)}"
    return ChiasmError(f"data `{asked}`", "there is no such file, folder or registered name", todo)


def _numbered(source: Iterable[Example]) -> Iterator[tuple[str, Example]]:
    for number, example in enumerate(source, start=1):
        if not isinstance(example, Example):
            found = f"number {number} is a {type(example).__name__}"
            raise ChiasmError("read the given examples", found, "Give a path, a registered name, or `Example`s")
        yield f"example {number}", example
