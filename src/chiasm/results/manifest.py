"""`manifest.json`: what was run, by what, and how far it came."""

import errno
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from chiasm.core.digests import digest_of_value
from chiasm.core.errors import ChiasmError
from chiasm.results.storage import whole_file

FORMAT = 3
NAME = "manifest.json"
# What may change between the sessions of one run and is then recorded.
_PER_SESSION = ("versions", "platform", "git", "device")
_STATUS = ("running", "interrupted", "failed", "complete", "discarded")
_TYPES: dict[str, type] = {"status": str, "study": str, "spec": dict, "spec_hash": str, "resumed": list, "counts": dict}
"""What nothing can be done without."""


def read(root: Path) -> dict[str, Any] | None:
    """The manifest in `root`, or None.

    **Errors:** `ChiasmError` if a file of that name is no manifest of this format, or not as it was written.
    """
    try:
        manifest = read_json(root / NAME)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(root, "it is not whole" if isinstance(error, ValueError) else str(error.strerror)) from None
    if not isinstance(manifest, dict) or manifest.get("format") not in (1, 2, FORMAT):
        found = "its manifest.json is not one of this version of chiasm"
        raise ChiasmError(f"open the run in `{root}`", found, "Choose another directory, or remove that file")
    for key, kind in _TYPES.items():
        if not isinstance(manifest.get(key), kind):
            raise _damaged(root, f"it has no `{key}`")
    if manifest["status"] not in _STATUS:
        raise _damaged(root, f"its status is `{manifest['status']}`")
    # Earlier formats kept no digests: one that has some was not written as such.
    digests = "digest" in manifest or any("digest" in str(entry) for entry in _entries(manifest, "tables"))
    if (manifest["format"] == FORMAT or digests) and manifest.get("digest") != _digest(manifest):
        raise _damaged(root, "it was altered after it had been written")
    if manifest["format"] == FORMAT:
        _require_entries(root, manifest)
    if manifest["format"] == 1:
        # Studies had the names of their spec classes: `FlowSpec` is `flow`.
        manifest["study"] = manifest["study"].removesuffix("Spec").lower()
    return manifest


def _entries(manifest: Mapping[str, Any], key: str) -> list[Any]:
    known = manifest.get(key)
    return list(known.values()) if isinstance(known, dict) else []


def _require_entries(root: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse what it says of tables and files unless these lie in the run, with the numbers that all are read by.

    A digest shows that nothing was altered by accident; whoever writes another one can write anything.
    """
    if not isinstance(manifest.get("tables"), dict) or not isinstance(manifest.get("files", {}), dict):
        raise _damaged(root, "it has no `tables` or `files`")
    for key, numbers in (("tables", ("bytes", "rows")), ("files", ("bytes",))):
        for name, entry in manifest.get(key, {}).items():
            if not lies_within(name) or (key == "tables" and "/" in name):
                raise _damaged(root, f"one of its {key} would lie outside the run")
            whole = isinstance(entry, dict) and isinstance(entry.get("digest"), str)
            if not whole or any(type(entry.get(number)) is not int for number in numbers):
                raise _damaged(root, f"it does not say how large one of its {key} is")


def lies_within(name: str) -> bool:
    """Whether a file of this name lies in the folder of its run."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute() and "\0" not in name


def write(root: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest in one step."""
    manifest["digest"] = _digest(manifest)
    write_json(root / NAME, manifest)


def _digest(manifest: dict[str, Any]) -> str:
    return digest_of_value({key: value for key, value in manifest.items() if key != "digest"})


def _damaged(root: Path, found: str) -> ChiasmError:
    todo = "Take that file from a copy of the run, or choose another directory"
    return ChiasmError(f"open the run in `{root}`", f"its manifest.json is damaged: {found}", todo)


def read_json(path: Path) -> Any:
    """The value in `path`.

    **Errors:** `ValueError` if it is not JSON, or nested deeper than Python reads; `OSError` for pipes and devices,
    which are not opened.
    """
    if not path.is_file() and not path.is_dir() and path.exists():
        raise OSError(errno.EINVAL, "it is no file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that the file appears whole."""
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def resumed(former: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The former manifest, running again, with a note of what is not as it was. A complete one stays as it is."""
    if former["status"] == "complete":
        return former
    changed = {key: new[key] for key in _PER_SESSION if key in new and new[key] != former.get(key)}
    session = {"started": new["started"], **changed}
    return former | {"status": "running", "resumed": [*former["resumed"], session]}


def difference(there: Any, here: Any) -> str:
    """In words, the first few places where two plain JSON values differ."""
    found = _differences("", there, here)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def _differences(place: str, there: Any, here: Any) -> list[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [*there, *(k for k in here if k not in there)]
        return [d for k in keys for d in _differences(f"{place}.{k}".strip("."), there.get(k), here.get(k))]
    return [] if there == here else [f"{place or 'it'} is {_short(there)} there, {_short(here)} here"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
