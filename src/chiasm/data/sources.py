"""From what the user names (a file, a folder, a name, examples) to examples: the one door to data."""

import difflib
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data.files import read_jsonl, read_parquet
from chiasm.data.flow_csv import is_flow_csv, read_flow_csv
from chiasm.data.gqa import is_gqa, read_gqa
from chiasm.data.unique import unique

Split = Literal["heldout", "train"]

_LAYOUTS = "a .jsonl or .parquet file, a folder of GQA, or the CSV files of the information-flow paper"


class Source(Protocol):
    """A registered source of examples: `limit` of them, or without end."""

    def __call__(self, seed: int, split: Split, limit: int | None) -> Iterator[Example]: ...


def _scenes(seed: int, split: Split, limit: int | None) -> Iterator[Example]:
    # Drawing is not needed to read files.
    from chiasm.data.scenes import scenes

    return scenes(seed=seed, split=split, limit=limit)


def _scenes_video(seed: int, split: Split, limit: int | None) -> Iterator[Example]:
    from chiasm.data.scenes import scenes_video

    return scenes_video(seed=seed, split=split, limit=limit)


def _scenes_audio(seed: int, split: Split, limit: int | None) -> Iterator[Example]:
    from chiasm.data.scenes import scenes_audio

    return scenes_audio(seed=seed, split=split, limit=limit)


_registered: dict[str, Source] = {"scenes": _scenes, "scenes-video": _scenes_video, "scenes-audio": _scenes_audio}


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
) -> Iterator[Example]:
    """The examples of `source`: the first `limit`, or all.

    `source`: a JSON Lines or Parquet file (fields: docs/data.md), a folder of GQA, a CSV file of the information-flow
    paper or a folder of them, a registered name (`scenes`: endless without a limit), or examples. Files are read in
    their own order. `seed` and `split` pick from `scenes`, `split` also between GQA's val and train; other files are
    one split and ignore it. `media`: the folder that holds the pictures, where they are not beside the file. A name
    that is also a file is meant as the name; write `./scenes` for the file.

    **Errors:** `ChiasmError` for an unknown source (with close names), a mistake in a file (with its line), a repeated
    id, no example, or a split that the source does not have.
    """
    if limit is not None and limit < 1:
        raise ChiasmError(f"take {limit} examples", "that is none", "Ask for at least one")
    if split not in get_args(Split):
        raise ChiasmError(f"split `{split}`", f"there are {', '.join(get_args(Split))}", "Name one of those")
    if isinstance(source, str) and source in _registered:
        return _registered[source](seed=seed, split=split, limit=limit)
    if isinstance(source, str | Path):
        found = _read(Path(source), str(source), split, Path(media) if media else None)
    else:
        found = unique("the given examples", _numbered(source))
    return islice(found, limit)


def _read(path: Path, asked: str, split: Split, media: Path | None) -> Iterator[Example]:
    if not path.exists():
        raise _unknown(path, asked)
    if media is not None and not media.is_dir():
        raise ChiasmError(f"find pictures in {media}", "there is no such folder", "Name the folder that holds them")
    if path.is_dir():
        if is_gqa(path):
            return read_gqa(path, split, media)
        if any(is_flow_csv(file) for file in path.iterdir()):
            return read_flow_csv(path, media)
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        raise ChiasmError(f"read the folder {path}", f"it holds {held}: no known layout", f"Name {_LAYOUTS}")
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return read_jsonl(path, media)
        case ".parquet":
            return read_parquet(path, media)
        case ".csv":
            return read_flow_csv(path, media)
    raise ChiasmError(f"read {path}", f"`{path.suffix}` is not a known kind of data file", f"Name {_LAYOUTS}")


def _unknown(path: Path, asked: str) -> ChiasmError:
    """Close names in the folder for what looks like a path, close registered names for what does not."""
    folder = path.parent
    is_path = bool(path.suffix) or os.sep in asked
    names = [entry.name for entry in folder.iterdir()] if is_path and folder.is_dir() else list(_registered)
    near = difflib.get_close_matches(path.name, names, n=3)
    todo = f"Did you mean {', '.join(near)}?" if near else f"Name {_LAYOUTS}, or one of {', '.join(_registered)}"
    return ChiasmError(f"data `{asked}`", "there is no such file, folder or registered name", todo)


def _numbered(source: Iterable[Example]) -> Iterator[tuple[str, Example]]:
    for number, example in enumerate(source, start=1):
        if not isinstance(example, Example):
            found = f"number {number} is a {type(example).__name__}"
            raise ChiasmError("read the given examples", found, "Give a path, a registered name, or `Example`s")
        yield f"example {number}", example
