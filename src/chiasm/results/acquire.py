"""Acquiring a directory for a run: new, to go on with, or to replace; and refusing what must not be mixed or lost."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm.core.digests import digest_of_value
from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, plain, resolved, spec_hash
from chiasm.results import manifest as manifests
from chiasm.results import workers
from chiasm.results.provenance import provenance, without_user_folders
from chiasm.results.storage import PARTIAL, remove, reporting_full_disk
from chiasm.results.workers import Worker

# Sessions of one run must agree in these, or its rows would not be of one kind.
_SAME = ("model", "loaded", "baseline", "data", "dtype", "precision", "seed")
_NAMES = ("id", "name", "source")
OPENING = "opening"
"""What a process claims while it reads a manifest and writes it again."""
_POLL = 0.2
_LOCK = ".lock"  # of earlier versions
_log = logging.getLogger("chiasm")


def acquire(
    root: Path, study: str, spec: Options, resume: bool, fresh: bool, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], Worker]:
    """The manifest to go on with, written, and this process among those at work in `root`.

    `RunDirectory.open` says what is refused.
    """
    if resume and fresh:
        raise ChiasmError("--resume and --fresh", "one goes on, the other starts over", "Give one of them")
    if manifests.read(_directory(root)) is None:
        # Before anything is written, which would be litter there. Another process may begin the run just now.
        _refuse_foreign(root, "manifest.json", "shards", "tables")
    new = _manifest(study, spec, facts)
    worker = _registered(root)
    try:
        with worker.alone(OPENING):
            manifest = _acquired(root, new, resume, fresh, worker)
            if manifest["status"] != "complete":
                worker.join()
        return manifest, worker
    except BaseException:
        worker.leave()
        raise


def joined(root: Path) -> tuple[dict[str, Any], Worker]:
    """The manifest of a run that others compute, and this process among them.

    **Errors:** `ChiasmError` if there is none.
    """
    worker = _registered(root)
    with worker.alone(OPENING):
        manifest = manifests.read(root)
        if manifest is None:
            worker.leave()
            raise ChiasmError(f"join the run in `{root}`", "there is no manifest.json", "Name the --out of a run")
        worker.join()
    return manifest, worker


def run_mark(manifest: Mapping[str, Any]) -> str:
    """What all rows of a run have in common: what was asked, and of which model and data."""
    same = {fact: _unnamed(manifest[fact]) for fact in _SAME if fact in manifest}
    return digest_of_value([manifest["study"], manifest["spec_hash"], same])[:16]


def require_current(root: Path, manifest: Mapping[str, Any]) -> None:
    """**Errors:** `ChiasmError` for an unfinished run of an earlier version, whose parts cannot be read."""
    if manifest["format"] != manifests.FORMAT:
        found = "it is an unfinished run of an earlier version of chiasm"
        raise ChiasmError(f"read the run in `{root}`", found, "Run its command again, with another --out or --fresh")


def _acquired(root: Path, new: dict[str, Any], resume: bool, fresh: bool, worker: Worker) -> dict[str, Any]:
    former = manifests.read(root)
    if former is None:
        _refuse_foreign(root)
        acquired = new
    elif fresh or former["status"] == "discarded" or (_is_empty(root, former) and not worker.others()):
        _refuse_in_use(root, worker)
        _discard(root, former)
        acquired = new
    else:
        _refuse_mixture(root, former, new, resume, worker)
        acquired = manifests.resumed(former, new)
    if not worker.others():
        for left in (*root.glob(f"{PARTIAL}*"), *root.glob(f"*/{PARTIAL}*")):
            if left.parent != worker.folder:
                remove(left)
    with reporting_full_disk("a run", root):
        if acquired["status"] == "complete":
            remove(root / "shards")
        else:
            manifests.write(root, acquired)
            (root / "shards").mkdir(exist_ok=True)
            (root / "tables").mkdir(exist_ok=True)
    return acquired


def _is_empty(root: Path, former: Mapping[str, Any]) -> bool:
    """Whether a run ended by an error before anything of it was finished, as where an option does not fit the model.

    The mended command need not ask for another directory then: there is nothing to lose.
    """
    shards = root / "shards"
    kept = shards.iterdir() if shards.is_dir() else ()
    return (
        former["status"] == "failed" and not former.get("tables") and all(one.name.startswith(PARTIAL) for one in kept)
    )


def _manifest(study: str, spec: Options, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": manifests.FORMAT,
        "status": "running",
        "study": study,
        "spec": without_user_folders(resolved(spec)),
        "given": without_user_folders(spec.given()),
        "spec_hash": spec_hash(spec),
        **without_user_folders(plain(dict(facts))),
        **provenance(),
        "started": manifests.now(),
        "finished": None,
        "resumed": [],
        "jobs": "",
        "tables": {},
        "counts": {"asked": facts.get("asked", 0), "kept": 0, "left_out": 0, "failed": 0},
        "failures": [],
        "left_out": [],
        "skipped": [],
    }


def _directory(root: Path) -> Path:
    try:
        with reporting_full_disk("a run", root):
            root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ChiasmError(f"write into `{root}`", "it is a file", "Choose another --out") from None
    except (PermissionError, FileNotFoundError):
        # The second is what special file systems answer, such as /proc.
        raise ChiasmError(f"write into `{root}`", "it may not be made there", "Choose another --out") from None
    return root


def _registered(root: Path) -> Worker:
    try:
        with reporting_full_disk("a run", root):
            return Worker(root)
    except PermissionError:
        raise ChiasmError(f"write into `{root}`", "it is not writable", "Choose another --out") from None
    except OSError as error:
        found = error.strerror or str(error)  # a read-only file system, a name that is too long
        raise ChiasmError(f"write into `{root}`", found, "Choose another --out") from None


def _refuse_in_use(root: Path, worker: Worker) -> None:
    """**Errors:** `ChiasmError` where others are at work; of those on other machines it takes a while to know."""
    said = False
    while worker.others():
        if worker.is_shared():
            raise ChiasmError(f"write into `{root}`", "another process is writing there", "Wait for it, or stop it")
        if not said:
            _log.info("Waiting up to %.0f s to see whether another machine is still at work there.", workers.STALE)
            said = True
        time.sleep(_POLL)


def _refuse_foreign(root: Path, *known: str) -> None:
    own = (_LOCK, workers.FOLDER, *known)
    foreign = [p.name for p in root.iterdir() if p.name not in own and not p.name.startswith(PARTIAL)]
    if foreign:
        found = f"it holds {len(foreign)} files that are no run ({', '.join(sorted(foreign)[:3])} ...)"
        raise ChiasmError(f"write into `{root}`", found, "Choose an empty or a new directory for --out")


def _discard(root: Path, former: dict[str, Any]) -> None:
    # Marked before anything goes: killed halfway, the rest must not be taken for a run.
    manifests.write(root, former | {"status": "discarded"})
    for name in (
        "shards",
        "tables",
        "figures",
        "images",
        "thumbnails",
        "plans",
        "plan.json",
        "report.html",
        "drawn.json",
    ):
        remove(root / name)


def _refuse_mixture(root: Path, former: dict[str, Any], new: dict[str, Any], resume: bool, worker: Worker) -> None:
    asked, found = f"write into `{root}`", ""
    if former["format"] != manifests.FORMAT:
        found = "it holds a run of an earlier version of chiasm, which can be opened and reported but not gone on with"
    elif former["study"] != new["study"]:
        found = f"it holds a run of `{former['study']}`"
    elif former["spec_hash"] != new["spec_hash"]:
        found = f"it holds another run ({manifests.difference(former['spec'], new['spec']) or 'with other options'})"
    if found:
        raise ChiasmError(asked, found, "Choose another --out, or --fresh to replace that run")
    if not resume and former["status"] != "complete" and worker.others():
        raise ChiasmError(asked, "another process is writing there", "Give --resume to share its work, or wait for it")
    if not resume:
        found = f"it holds this run, {'finished' if former['status'] == 'complete' else 'unfinished'}"
        raise ChiasmError(asked, found, "Give --resume to go on with it, or --fresh to replace it")
    # Runs of before there was a choice were computed as the model was served.
    if "dtype" in former:
        former = {"precision": f"computed in {former['dtype']}"} | former
    for fact in _SAME:
        known = (fact in former and fact in new) or fact == "baseline"  # which a run may be without
        if known and (found := _changed(fact, former.get(fact), new.get(fact))):
            raise ChiasmError(f"resume the run in `{root}`", found, "Choose another --out, or --fresh to replace it")


def _changed(fact: str, there: Any, here: Any) -> str:
    """How a fact differs from what it was, in words; empty where only names do."""
    there, here = _unnamed(there), _unnamed(here)
    if there == here:
        return ""
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        return next((found for a, b in zip(there, here, strict=True) if (found := _changed(fact, a, b))), "")
    if isinstance(there, dict) and isinstance(here, dict) and "fields" in there and "fields" in here:
        changed = [name for name, digest in here["fields"].items() if there["fields"].get(name) != digest]
        if there.get("examples") != here.get("examples"):
            return f"it is {here.get('examples')} examples, and there were {there.get('examples')}"
        # A pair is kept with the ids, so that runs without any keep their digests.
        changed = ["ids or pairs" if name == "ids" else name for name in changed]
        if changed:
            return f"the {' and '.join(changed)} of its examples are not what they were"
    return f"`{fact}` is not what it was ({manifests.difference(there, here)})"


def _unnamed(value: Any) -> Any:
    """A fact without what things are called: the same data, and the same model, may lie elsewhere by now."""
    if isinstance(value, list):
        return [_unnamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _unnamed(item) for key, item in value.items() if key not in _NAMES}
