"""What each family was seen to do, on which version of transformers: written by the suite, never by hand.

`certified.json` beside this file holds one entry per family: which laws hold on a small model with random weights,
and a fingerprint of everything that the answer rests on. Where that has changed since, the entry counts for nothing.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from chiasm.models.families.base import Family

FILE: Final = Path(__file__).with_name("certified.json")
HOLDS: Final = "yes"
_MODELS: Final = Path(__file__).parents[1]
# What a family's numbers go through: what prepares its inputs, the engine, what reads and skips, the suite itself.
_COMMON: Final = (
    *("executors/*.py", "conformance/*.py", "encoding/*.py", "skipping/*.py"),
    *("view.py", "parts.py", "precision.py", "weights.py", "encoded.py", "geometry.py", "frame.py", "masks.py"),
    *("hooks.py", "alignment.py", "inside/attention_rows.py"),
    *("families/base.py", "families/grids.py", "families/vision_operations.py"),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the suite found: by version of transformers, each law with `yes`, `no: why`, or `-: why it is not asked`.

    `fingerprint`: of the family's file, the engine and the suite at that time. `layers`: of the model that was tried.
    """

    fingerprint: str
    layers: int
    transformers: Mapping[str, Mapping[str, str]]

    def broken(self) -> list[tuple[str, str, str]]:
        """(version, law, why) of all that does not hold."""
        return [
            (version, law, verdict.removeprefix("no: "))
            for version, laws in self.transformers.items()
            for law, verdict in laws.items()
            if verdict.startswith("no: ")
        ]


def fingerprint(family: Family) -> str:
    """SHA-256 (first 16 hex digits) of the files that decide what `family` computes, and how that was judged."""
    files = {path for pattern in _COMMON for path in _MODELS.glob(pattern)}
    own = (kind for kind in type(family).__mro__ if issubclass(kind, Family))
    files |= {Path(inspect.getfile(kind)) for kind in own}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + _digest(path))
    return digest.hexdigest()[:16]


@cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).digest()


def certificates() -> dict[str, Certificate]:
    """Every certificate by the name of its family, whether it still counts or not."""
    if not FILE.is_file():
        return {}
    return {name: Certificate(**entry) for name, entry in json.loads(FILE.read_text()).items()}


def certified(family: Family, found: Mapping[str, Certificate]) -> tuple[bool, str]:
    """Whether `family` obeys every law that applies to it, and why not."""
    certificate = found.get(family.name)
    if certificate is None or not certificate.transformers:
        return False, "never tried by the suite"
    if certificate.fingerprint != fingerprint(family):
        return False, "its file, the engine or the suite has changed since it was tried (make certify)"
    broken = certificate.broken()
    if broken:
        version, law, why = broken[0]
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        return False, f"{law}, transformers {version}: {why}{more}"
    return True, ""


def write(found: Mapping[str, Certificate]) -> None:
    """Put `found` in place of what is there, families in alphabetical order."""
    entries = {name: asdict(found[name]) for name in sorted(found)}
    FILE.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
