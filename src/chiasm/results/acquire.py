"""Acquiring a directory for a run: new, to go on with, or to replace; and refusing what must not be mixed or lost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, plain, resolved, spec_hash
from chiasm.results import manifest as manifests
from chiasm.results.provenance import provenance
from chiasm.results.storage import PARTIAL, remove, reporting_full_disk

# Sessions of one run must agree in these, or its rows would not be of one kind.
_SAME = ("model", "loaded", "data", "dtype", "precision", "seed")
_LOCK = ".lock"


def acquire(
    root: Path, study: str, spec: Options, resume: bool, fresh: bool, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], FileLock]:
    """The manifest to go on with, written, and the lock on `root`, held. `RunDirectory.open` says what is refused."""
    if resume and fresh:
        raise ChiasmError("--resume and --fresh", "one goes on, the other starts over", "Give one of them")
    if manifests.read(_directory(root)) is None:
        _refuse_foreign(root)  # before the lock, which would be litter there
    lock = _locked(root)
    try:
        return _acquired(root, _manifest(study, spec, facts), resume, fresh), lock
    except BaseException:
        lock.release()
        raise


def _acquired(root: Path, new: dict[str, Any], resume: bool, fresh: bool) -> dict[str, Any]:
    former = manifests.read(root)
    if former is None:
        acquired = new
    elif fresh or former["status"] == "discarded":
        _discard(root, former)
        acquired = new
    else:
        _refuse_mixture(root, former, new, resume)
        acquired = manifests.resumed(former, new)
    for left in (*root.glob(f"{PARTIAL}*"), *root.glob(f"*/{PARTIAL}*")):
        remove(left)
    with reporting_full_disk("a run", root):
        if acquired["status"] == "complete":
            remove(root / "shards")
        else:
            manifests.write(root, acquired)
            (root / "shards").mkdir(exist_ok=True)
            (root / "tables").mkdir(exist_ok=True)
    return acquired


def _manifest(study: str, spec: Options, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": manifests.FORMAT,
        "status": "running",
        "study": study,
        "spec": resolved(spec),
        "given": spec.given(),
        "spec_hash": spec_hash(spec),
        **plain(dict(facts)),
        **provenance(),
        "started": manifests.now(),
        "finished": None,
        "resumed": [],
        "shards": [],
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


def _locked(root: Path) -> FileLock:
    lock = FileLock(root / _LOCK, thread_local=False)
    try:
        with reporting_full_disk("the lock", root):
            lock.acquire(timeout=0)
    except Timeout:
        raise ChiasmError(f"write into `{root}`", "another process is writing there", "Wait for it") from None
    except PermissionError:
        raise ChiasmError(f"write into `{root}`", "it is not writable", "Choose another --out") from None
    return lock


def _refuse_foreign(root: Path) -> None:
    foreign = [p.name for p in root.iterdir() if p.name != _LOCK and not p.name.startswith(PARTIAL)]
    if foreign:
        found = f"it holds {len(foreign)} files that are no run ({', '.join(sorted(foreign)[:3])} ...)"
        raise ChiasmError(f"write into `{root}`", found, "Choose an empty or a new directory for --out")


def _discard(root: Path, former: dict[str, Any]) -> None:
    # Marked before anything goes: killed halfway, the rest must not be taken for a run.
    manifests.write(root, former | {"status": "discarded"})
    for name in ("shards", "tables", "figures", "images", "plans", "plan.json", "report.html"):
        remove(root / name)


def _refuse_mixture(root: Path, former: dict[str, Any], new: dict[str, Any], resume: bool) -> None:
    asked, found = f"write into `{root}`", ""
    if former["format"] != manifests.FORMAT:
        found = "it holds a run of an earlier version of chiasm, which can be opened and reported but not gone on with"
    elif former["study"] != new["study"]:
        found = f"it holds a run of `{former['study']}`"
    elif former["spec_hash"] != new["spec_hash"]:
        found = f"it holds another run ({manifests.difference(former['spec'], new['spec'])})"
    if found:
        raise ChiasmError(asked, found, "Choose another --out, or --fresh to replace that run")
    if not resume:
        found = f"it holds this run, {'finished' if former['status'] == 'complete' else 'unfinished'}"
        raise ChiasmError(asked, found, "Give --resume to go on with it, or --fresh to replace it")
    # Runs of before there was a choice were computed as the model was served.
    if "dtype" in former:
        former = {"precision": f"computed in {former['dtype']}"} | former
    for fact in _SAME:
        if fact in former and fact in new and former[fact] != new[fact]:
            found = f"`{fact}` is not what it was ({manifests.difference(former[fact], new[fact])})"
            raise ChiasmError(f"resume the run in `{root}`", found, "Choose another --out, or --fresh to replace it")
