"""What is supported, as rows: families and what the suite found of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chiasm.models.conformance.suite import CAPABILITIES, WALK, verdict_of
from chiasm.models.conformance.trial import Law
from chiasm.models.families import FAMILIES
from chiasm.models.families.base import Family
from chiasm.models.families.certificates import HOLDS, Certificate, certificates, certified

VERBS: Final[dict[str, tuple[str, ...]]] = {
    "flow": ("spans", "cuts", "long answers"),
    "align": ("spans", "lens", "sites"),
    "look": ("spans", "look", "lens"),
    "skip (feed-forward)": ("spans", "skip feed-forward"),
    "skip (attention)": ("spans", "skip attention"),
}
"""Which of them a command needs; one walk for all cuts, padded and shared inputs only make it faster."""
BY_FORWARDS: Final = f"{HOLDS}: by one masked forward for each cut (--executor reference)"
"""What is said of `flow` where no walk can be made through a model."""


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


def against(family: Family) -> dict[str, str] | None:
    """What every command in `VERBS` can do with a family: `yes` (and how), or the first reason against it.

    Of a model of an architecture that is not listed, what was found when it was tried; None where nothing is known.
    """
    if family.refused is not None:
        return verbs_of({name: f"no: {reason}" for name, reason in family.refused.items()})
    certificate = certificates().get(family.name)
    if certificate is None:
        return None
    runs = [_capabilities(laws) for laws in certificate.transformers.values()]
    names = {name for needed in VERBS.values() for name in needed} | {WALK}
    return verbs_of({name: _all([one[name] for one in runs]) for name in names})


def verbs_of(capabilities: Mapping[str, str]) -> dict[str, str]:
    """What every command in `VERBS` can do with a model of such capabilities: `yes` (and how), or why it cannot."""
    able = {verb: _all([capabilities.get(name, HOLDS) for name in needed]) for verb, needed in VERBS.items()}
    if able["flow"] == HOLDS and capabilities.get(WALK, HOLDS) != HOLDS:
        able["flow"] = BY_FORWARDS
    return able


def require_able(family: Family, verb: str, todo: str) -> None:
    """Refuse a model that is not listed and lacks something that a command in `VERBS` needs, before it is run.

    **Errors:** `ChiasmError` with the reason.
    """
    for capability in VERBS[verb]:
        family.require_can(capability, todo)


def capabilities_of(laws: Iterable[Law]) -> dict[str, str]:
    """What the suite found of one model, by capability: `yes`, or the first reason against it."""
    return _capabilities({law.name: verdict_of(law) for law in laws})


def _capabilities(laws: Mapping[str, str]) -> dict[str, str]:
    """`yes`, or the first reason against it, by capability. A law that was not tried is no `yes`."""
    return {name: _first([laws.get(law, "no: not tried") for law in needed]) for name, needed in CAPABILITIES.items()}


def _all(verdicts: list[str]) -> str:
    """`yes` where every capability that a command needs is there; else the first reason, a `no` before others."""
    against = sorted((one for one in verdicts if one != HOLDS), key=lambda one: not one.startswith("no: "))
    return against[0] if against else HOLDS


def _first(verdicts: list[str]) -> str:
    """A `no` before what does not apply, that before `yes`; a capability needs only one of its laws to apply."""
    broken = [verdict for verdict in verdicts if verdict.startswith("no: ")]
    not_applicable = [verdict for verdict in verdicts if verdict.startswith("-: ")]
    if broken:
        return broken[0]
    return not_applicable[0] if len(not_applicable) == len(verdicts) else HOLDS
