"""`manifest.json`: what was run, by what, and how far it came."""

import json
from datetime import UTC, datetime
from pathlib import Path
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
    if manifest["format"] == FORMAT and manifest.get("digest") != _digest(manifest):
        raise _damaged(root, "it was altered after it had been written")
    if manifest["format"] == 1:
        # Studies had the names of their spec classes: `FlowSpec` is `flow`.
        manifest["study"] = manifest["study"].removesuffix("Spec").lower()
    return manifest


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
    """The value in `path`; `ValueError` if it is not JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


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
