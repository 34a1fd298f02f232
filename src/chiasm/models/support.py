"""What is supported, as rows: families and what the suite found of them."""

from dataclasses import dataclass
from typing import Any, Final

from chiasm.models.conformance.suite import ENCODED, LAWS
from chiasm.models.families import FAMILIES
from chiasm.models.families.base import Family
from chiasm.models.families.certificates import HOLDS, Certificate, certificates, certified

_LAWS: Final = (ENCODED, *LAWS)
CAPABILITIES: Final[dict[str, tuple[str, ...]]] = {
    "spans": _LAWS[0:2],
    "boxes": _LAWS[2:4],
    "lens": _LAWS[5:7],
    "taps": _LAWS[7:9],
    "cuts": (_LAWS[4], *_LAWS[9:11]),
    "reversed cuts": _LAWS[11:12],
    "shared questions": _LAWS[12:13],
    "padded batches": _LAWS[13:14],
    "several inputs": _LAWS[14:15],
    "long answers": _LAWS[15:16],
    "more kinds of input": _LAWS[16:17],
    "look": _LAWS[17:18],
    "skip feed-forward": _LAWS[18:19],
    "skip attention": _LAWS[19:20],
    "left as it was": _LAWS[20:22],
}
"""What a user can rely on, and the laws that it rests on. Every law is in exactly one of them."""
VERBS: Final[dict[str, tuple[str, ...]]] = {
    "flow": ("spans", "cuts", "long answers"),
    "align": ("spans", "lens", "taps"),
    "look": ("spans", "look", "lens"),
    "skip (feed-forward)": ("spans", "skip feed-forward"),
    "skip (attention)": ("spans", "skip attention"),
}
"""Which of them a command needs; padded and shared inputs only make it faster."""


@dataclass(frozen=True, slots=True)
class Supported:
    """A family and what is known of it. `certified`: every law that applies holds; `reason` says why not."""

    family: Family
    certified: bool
    reason: str
    certificate: Certificate | None

    def row(self) -> dict[str, Any]:
        """As JSON."""
        runs = {} if self.certificate is None else self.certificate.transformers
        return {
            "family": self.family.name,
            "kind": self.family.kind,
            "certified": self.certified,
            "reason": self.reason,
            "model_types": list(self.family.model_types),
            "takes": sorted(self.family.modalities),
            "transformers": {version: _capabilities(laws) for version, laws in runs.items()},
        }


def supported() -> list[Supported]:
    """Every listed family, in the order of the registry."""
    found = certificates()
    return [Supported(family, *certified(family, found), found.get(family.name)) for family in FAMILIES]


def _capabilities(laws: dict[str, str]) -> dict[str, str]:
    """`yes`, or the first reason against it, by capability. A law that was not tried is no `yes`."""
    return {name: _first([laws.get(law, "no: not tried") for law in needed]) for name, needed in CAPABILITIES.items()}


def _first(said: list[str]) -> str:
    """A `no` before what does not apply, that before `yes`; a capability needs only one of its laws to apply."""
    broken = [word for word in said if word.startswith("no: ")]
    apart = [word for word in said if word.startswith("-: ")]
    if broken:
        return broken[0]
    return apart[0] if len(apart) == len(said) else HOLDS
