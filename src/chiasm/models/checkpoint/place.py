"""Where a checkpoint is: a directory, or a repository of the hub whose files are fetched into the hub's own cache."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from transformers.utils.hub import cached_file

from chiasm.core.errors import ChiasmError
from chiasm.core.places import require_place
from chiasm.models.checkpoint.calling import failing_as
from chiasm.models.checkpoint.files import (
    ADAPTER,
    INDEX,
    WEIGHTS,
    CheckpointFiles,
    indexed_shards,
    read_files,
    require_inside,
    require_plain,
    weight_files,
)
from chiasm.models.checkpoint.formats import foreign_weights

CONFIG = "config.json"


@final
@dataclass(frozen=True, slots=True)
class Place:
    """`where` is what transformers is given, with `options`; `folder` holds the files (of the hub: those fetched)."""

    where: str
    local: bool
    folder: Path
    options: dict[str, Any]

    def fetch(self, name: str, *, required: bool = False) -> Path | None:
        """A file of the checkpoint; None where it has none of that name and it is not `required`.

        **Errors:** those of transformers, for a file that is required and not there or a hub that cannot be reached.
        """
        if self.local:
            return path if (path := self.folder / name).is_file() else None
        revision = self.options["revision"]
        found = cached_file(self.where, name, revision=revision, _raise_exceptions_for_missing_entries=required)
        return None if found is None else Path(found)

    def files(self, asked: str, named: str | None) -> CheckpointFiles:
        """The files of weights, fetched and whole. `named`: the one that config.json names (`transformers_weights`).

        **Errors:** `ChiasmError` for files that are missing, damaged, outside, or of another format.
        """
        if not self.local:
            with failing_as(asked, self.local, "its weights cannot be read"):
                index = self.fetch(INDEX) if named is None and self.fetch(WEIGHTS) is None else None
                names = [named or WEIGHTS] if index is None else indexed_shards(asked, index)
                require_inside(asked, names, INDEX)
                for name in names:
                    self.fetch(name, required=True)
        return read_files(asked, self.folder, weight_files(asked, self.folder, named))


def placed(asked: str, source: str | Path, trust_remote_code: bool, revision: str | None) -> Place:
    """The place that `source` names, which holds a config.json.

    **Errors:** `ChiasmError` for a missing path, a directory that is no model, or a hub id that cannot be reached.
    """
    name, folder = str(source), Path(source).expanduser()
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision or "main"}
    if folder.is_dir():
        _require_model(asked, folder)
        require_plain(asked, folder)
        return Place(str(folder), True, folder, options)
    require_place(asked, name)
    place = Place(name, False, folder, options)
    with failing_as(asked, False, "its config.json cannot be read"):
        config = place.fetch(CONFIG, required=True)
    assert config is not None, "transformers says what it cannot find"
    return replace(place, folder=config.parent)


def _require_model(asked: str, folder: Path) -> None:
    if (folder / CONFIG).exists():
        return
    if (folder / ADAPTER).is_file():
        raise ChiasmError(
            asked,
            "it holds only an adapter",
            "Load its base model, wrap it with `peft.PeftModel`, and call `chiasm.load(model=..., processor=...)`",
        )
    foreign = foreign_weights(folder)
    if foreign is not None:
        raise ChiasmError(asked, f"{foreign.found}, and there is no config.json", foreign.todo)
    raise ChiasmError(asked, "it is not a model: it holds no config.json", "Name a directory of `save_pretrained`")
