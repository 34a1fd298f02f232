"""Every multimodal type that transformers maps, and what was found of it: written by a command, never by hand.

`mapped.json` beside this file holds what became of a small model with random weights of each type; listed families
stand in their certificates.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from chiasm.models.families import FAMILIES
from chiasm.models.support import supported

FILE: Final = Path(__file__).with_name("mapped.json")
Status = Literal["certified", "accepted", "refused", "untried"]
STATUSES: Final[tuple[Status, ...]] = ("certified", "accepted", "refused", "untried")


@dataclass(frozen=True, slots=True)
class MappedType:
    """One type of model, as `config.model_type` names it.

    `status`: `certified`: a listed family, every law holds; `accepted`: the generic rules answer it; `refused` by them;
    `untried`: no small model of it was made. `how` that was found out: by the `suite` (listed families), from its
    `configuration` or the class of its `processor` alone, or by `trial` of a small model. `capabilities`: `yes`,
    `no: why` or `-: why it is not asked`. `takes`: what it perceives besides text. `places`: the rule for where the
    tokens of its images look. `values`: the largest difference in log-probability from a masked forward that shares no
    code with the engine (float32); `exact`: the same in float64, where rounding makes that more than 1e-4. `pictures`:
    how many pictures of odd sizes were painted, and `found` in what share the painted tokens were those claimed.
    """

    type: str
    status: Status
    capabilities: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    how: str = ""
    takes: tuple[str, ...] = ()
    places: str = ""
    values: float | None = None
    exact: float | None = None
    pictures: int = 0
    found: float | None = None

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "capabilities": dict(self.capabilities), "takes": list(self.takes)}


def mapped_types() -> list[MappedType]:
    """Every type, in alphabetical order."""
    listed = {kind: one for one in supported() for kind in one.family.model_types}
    found = []
    for name, entry in sorted(_held()["types"].items()):
        if name not in listed:
            found.append(MappedType(**{**entry, "type": name, "takes": tuple(entry["takes"])}))
            continue
        one = listed[name].row()
        last = list(one["transformers"].values())[-1:]
        status: Status = "certified" if one["certified"] else "refused"
        takes = tuple(one["takes"])
        found.append(MappedType(name, status, last[0] if last else {}, one["reason"], "suite", takes, "by family"))
    return found


def mapped_version() -> str:
    """The version of transformers that maps them."""
    return _held()["transformers"]


@cache
def _held() -> dict[str, Any]:
    return json.loads(FILE.read_text()) if FILE.is_file() else {"transformers": "", "types": {}}


def write(version: str, types: Mapping[str, Mapping[str, Any]]) -> None:
    """Put `types` in place of what is there."""
    FILE.write_text(json.dumps({"transformers": version, "types": types}, indent=1, ensure_ascii=False) + "\n")
    _held.cache_clear()


def listed_types() -> frozenset[str]:
    """The types that a family has a file for."""
    return frozenset(kind for family in FAMILIES for kind in family.model_types)
