"""Runs at addresses: computed in a directory of this machine, and copied when they are finished.

Sharing and resuming rest on what a file system of one machine, or a network one, promises: that a file is made by one
process alone, and that names change at once. Stores of objects promise neither. So nothing is at the address until the
run is finished with its page; until then it is in one directory of the cache, where the same command with `--resume`
finds it on this machine, and `--workers` share it.
"""

import logging
from pathlib import Path

from chiasm.core.cache import cache_directory
from chiasm.core.digests import digest_of
from chiasm.core.errors import ChiasmError
from chiasm.core.remote import file_system, local_path, unreachable
from chiasm.results.files import TABLES
from chiasm.results.manifest import NAME
from chiasm.results.workers import FOLDER as WORKERS

_log = logging.getLogger("chiasm")


def place_for(address: str, *, resume: bool, fresh: bool) -> Path:
    """Where the run of an address is computed, which is said. Files of this machine (file://) are written as paths are.

    **Errors:** `ChiasmError` for an address where a run lies already, unless it is to be resumed or replaced.
    """
    if (own := local_path(address)) is not None:
        return own
    system, path = file_system(address)
    place = cache_directory() / "runs" / digest_of(address.rstrip("/").encode())[:16]
    try:
        root = path.rstrip("/")
        there = system.exists(f"{root}/{NAME}")
        if not (resume or fresh) and (there or (system.exists(root) and system.ls(root, detail=False))):
            found = "a finished run lies there" if there else "something lies there that is no finished run"
            todo = "Give --resume to take it up, --fresh to replace it, or another --out"
            raise ChiasmError(f"write a run to `{address}`", found, todo)
        if there and resume and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            for file in system.find(root):
                copied = place / file.removeprefix(root).lstrip("/")
                copied.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(file, str(copied))
    except ChiasmError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise unreachable(address, error) from error
    place.parent.mkdir(parents=True, exist_ok=True)
    _log.info("Computed in %s, and copied to %s when it is finished.", place, address)
    return place


def upload(folder: Path, address: str) -> None:
    """Copy a finished run to its address, the manifest last: what has one there is whole.

    **Errors:** `ChiasmError`; what was computed stays on this machine, and the same command with --resume tries again.
    """
    if local_path(address) is not None:
        return
    system, path = file_system(address)
    root = path.rstrip("/")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and WORKERS not in file.parts]
    files.sort(key=lambda file: file == folder / NAME)
    places = {f"{root}/{file.relative_to(folder).as_posix()}": file for file in files}
    try:
        if system.exists(f"{root}/{NAME}"):  # what it vouches for is about to be replaced
            system.rm_file(f"{root}/{NAME}")
        for part in (TABLES, "figures"):  # of a former run; nothing else is removed
            for file in system.find(f"{root}/{part}") if system.exists(f"{root}/{part}") else ():
                if f"{root}/{part}/{file.rpartition('/')[2]}" not in places:
                    system.rm_file(file)
        for to, file in places.items():
            system.makedirs(to.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), to)
    except Exception as error:  # each file system has errors of its own
        found = unreachable(address, error)
        todo = f"The run is in `{folder}`; the same command with --resume copies it again"
        raise ChiasmError(f"copy the run to `{address}`", found.found, todo) from error
