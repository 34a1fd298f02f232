"""What a checkpoint's directory holds, from names and headers alone: no tensor is read, nothing is run.

Only files of the directory itself are opened. A file there may be a link to elsewhere: links are made by whoever owns
the disk (the hub's own cache is made of them), names inside an index by whoever wrote the checkpoint.
"""

import json
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple, final

from safetensors import SafetensorError, safe_open

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint.formats import foreign_weights

WEIGHTS: Final = "model.safetensors"
INDEX: Final = f"{WEIGHTS}.index.json"
ADAPTER: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"


_TEXT: Final = frozenset({".json", ".jinja", ".txt", ".model"})
_MAX_TEXT: Final = 256 << 20
"""Bytes of the largest text file of a checkpoint that is opened; tokenizers reach 35 MB."""


class StoredTensor(NamedTuple):
    """A tensor as a header names it: `dtype` in the words of safetensors (`BF16`), its shape, and its file."""

    dtype: str
    shape: tuple[int, ...]
    file: Path

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        count = 1
        for side in self.shape:
            count *= side
        return count


@final
@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The weights of a checkpoint as its files name them."""

    folder: Path
    tensors: Mapping[str, StoredTensor]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold weights, in the order of their names."""
        return tuple(sorted({tensor.file for tensor in self.tensors.values()}))

    @property
    def size(self) -> int:
        """How many numbers all of them hold."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def dtypes(self) -> Counter[str]:
        """How many tensors are stored in each dtype."""
        return Counter(tensor.dtype for tensor in self.tensors.values())


def require_plain(asked: str, folder: Path) -> None:
    """Refuse a directory that holds pipes, devices or sockets, or a text file larger than any checkpoint's.

    transformers opens what it finds by name: a pipe would wait for ever, a device has no end.

    **Errors:** `ChiasmError` with the name.
    """
    try:
        for path in sorted(folder.iterdir()):
            found = path.stat() if path.exists() else path.lstat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                raise ChiasmError(asked, f"its {path.name} is a pipe or a device, not a file", "Copy the model again")
            if path.suffix in _TEXT and found.st_size > _MAX_TEXT:
                size = f"its {path.name} has {found.st_size / 1e6:,.0f} MB"
                raise ChiasmError(asked, f"{size}, and {_MAX_TEXT / 1e6:,.0f} are read", "Copy the model again")
    except OSError as error:
        raise ChiasmError(asked, f"it cannot be read ({_line(error)})", "Make it readable") from error


def read_json(asked: str, path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    **Errors:** `ChiasmError` for a file that holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ChiasmError(asked, f"its {path.name} cannot be read ({_line(error)})", "Copy the model again") from error
    if not isinstance(found, dict):
        raise ChiasmError(asked, f"its {path.name} holds no JSON object", "Copy the model again")
    return found


def weight_files(asked: str, folder: Path, named: str | None = None) -> list[str]:
    """The names of the files in `folder` that hold the weights, as transformers will choose them.

    `named`: the file that config.json names in place of the usual ones (`transformers_weights`).

    **Errors:** `ChiasmError` for weights that are in another format, a shard that is not there or lies outside the
    folder, an index that is damaged, or two sets of weights.
    """
    if named is not None and PurePosixPath(named).suffix != ".safetensors":
        found = f"its config.json names `{named}` as the file of its weights"
        raise ChiasmError(asked, found, "Save the model with `save_pretrained`")
    index = folder / INDEX
    shards = [] if named is not None or not index.is_file() else indexed_shards(asked, index)
    names = shards or [named or WEIGHTS]
    require_inside(asked, names, INDEX if shards else "config.json")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        foreign = foreign_weights(folder)
        if foreign is not None and not shards:
            raise ChiasmError(asked, foreign.found, foreign.todo)
        found = f"{', '.join(missing[:3])} is not there"
        found += f" ({len(missing)} of {len(names)} files are missing)" if len(missing) > 1 else ""
        raise ChiasmError(
            asked, found, "Copy the missing files, or save the model with `save_pretrained`, which writes safetensors"
        )
    if shards and WEIGHTS not in shards and (folder / WEIGHTS).is_file():
        found = f"it holds its weights twice, as {WEIGHTS} and as the {len(shards)} files of {INDEX}"
        raise ChiasmError(asked, found, "Remove one of the two")
    stray = sorted(path.name for path in folder.glob("shard-*-model-*.safetensors"))
    if stray:
        found = f"`{stray[0]}` is of a distributed checkpoint, which would be read in place of {names[0]}"
        raise ChiasmError(asked, found, "Gather it, and save the model with `save_pretrained`")
    return names


def indexed_shards(asked: str, index: Path) -> list[str]:
    """The files that an index names, each once.

    **Errors:** `ChiasmError` for an index that is damaged.
    """
    mapped = read_json(asked, index).get("weight_map")
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(name, str) for name in mapped.values()):
        raise ChiasmError(asked, f"`{index.name}` names no files of weights", "Copy the model again")
    return sorted(set(mapped.values()))


def read_files(asked: str, folder: Path, names: Iterable[str]) -> CheckpointFiles:
    """What the headers of the files called `names` say.

    **Errors:** `ChiasmError` for a file that is shorter than its header says, or a tensor that stands in two files.
    """
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        path = folder / name
        try:
            # Opening reads the header and compares it with the length of the file.
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (it is no mapping)
                    part = file.get_slice(key)
                    if key in tensors:
                        found = f"`{key}` stands in both `{tensors[key].file.name}` and `{name}`"
                        raise ChiasmError(asked, found, "Copy the model again into an empty directory")
                    tensors[key] = StoredTensor(part.get_dtype(), tuple(part.get_shape()), path)
        except (SafetensorError, OSError) as error:
            raise ChiasmError(asked, f"`{name}` is damaged ({_line(error)})", "Copy the model again") from error
    if not tensors:
        raise ChiasmError(asked, f"its {WEIGHTS} holds no tensor", "Copy the model again")
    return CheckpointFiles(folder, tensors)


def require_inside(asked: str, names: Iterable[str], where: str) -> None:
    """Refuse names that lead out of the directory, as paths of this system or of another. `where`: who names them.

    **Errors:** `ChiasmError` with the name.
    """
    for name in names:
        parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
        if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\0" in name:
            found = f"its {where} names the file `{name}`, which lies outside its directory"
            raise ChiasmError(asked, found, "Nothing outside is read; copy the model again from where it was published")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
