"""What produced a run: versions and the revision of the code, without a word about the machine's directories."""

import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("chiasm", "torch", "transformers", "tokenizers", "numpy", "scipy", "polars", "pyarrow", "pillow", "peft")


def provenance() -> dict[str, Any]:
    """`versions` of what computes, `platform`, and `git` (revision and dirty flag, null for an installed package)."""
    versions = {package: version for package in _PACKAGES if (version := installed_version(package)) is not None}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "platform": f"{platform.system()} {platform.machine()}",
        "git": _git(),
    }


def installed_version(package: str) -> str | None:
    """The version of a package; None where it is not installed, as optional ones may be."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    here = Path(__file__)
    # The package may be installed below somebody else's repository: only one that tracks this very file counts.
    if shutil.which("git") is None or _ask_git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    package = here.parent.parent
    revision = _ask_git(package, "rev-parse", "HEAD")
    return {"revision": revision, "dirty": bool(_ask_git(package, "status", "--porcelain", "--", "."))}


def _ask_git(directory: Path, *arguments: str) -> str | None:
    # Without optional locks: `git status` would write its index anew, and a kill would leave a lock in the repository.
    words = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


_ABSOLUTE = re.compile(r"(?<![\w.~/\\<-])/(?:[^\s/`'\":,;()<>\[\]]+/)+([^\s/`'\":,;()<>\[\]]*)")


def without_machine_paths(text: str) -> str:
    """`text` with paths below the working directory made relative, the home directory written `~`, and of other
    absolute paths the last part.

    Reasons of failures quote absolute paths; a run is shared, the names of its author's directories are not.
    """
    for directory, short in ((Path.cwd(), ""), (Path.home(), "~/")):
        if directory != Path(directory.anchor):
            text = text.replace(f"{directory}/", short)
    return _ABSOLUTE.sub(lambda found: found[1] or Path(found[0]).name, text)


def without_user_folders(value: Any) -> Any:
    """Plain JSON; every absolute path in it is relative to the working directory, or its last part alone."""
    if isinstance(value, dict):
        return {without_user_folders(key): without_user_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_user_folders(item) for item in value]
    if not isinstance(value, str) or not value.startswith("/") or "\n" in value:
        return value
    path = Path(value)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name or value
