"""Which setting a run recommends, from its claims alone."""

from collections.abc import Sequence
from typing import NamedTuple

from chiasm.core.claims import Claim, of_kind
from chiasm.studies.project.scores import UNTUNED

BY_CHANGE = ("ft-proj", "ft-proj-lowlr", "ft-proj-released", "ft-lora", "ft-e2e", "ft-tower")
"""From what leaves most of a model as it is to what leaves least."""

NEARLY_ALL = 0.9
"""Share of answers from which on a setting has not learnt even to name a class."""


class Choice(NamedTuple):
    """`best`: the highest macro-F1 of those that learnt. `chosen`: what changes least of those that come near it.

    `between`: the claim about the two; None where they are one.
    """

    best: str
    chosen: str
    between: Claim | None = None


def named(claims: Sequence[Claim], kind: str, *about: str) -> Claim | None:
    """The claim of a kind about one thing, if there is one."""
    found = of_kind(claims, kind, ", ".join(about))
    return found[0] if found else None


def learnt(claims: Sequence[Claim], domain: str, setting: str) -> bool:
    """Whether free answers are established to be better than uniform guessing, and than before tuning."""
    score, gain = named(claims, "score", domain, setting), named(claims, "gain", domain, setting)
    return (
        score is not None
        and score.established
        and score.effect > (score.control_effect or 0)
        and (gain is None or (gain.established and gain.effect > 0))
    )


def nameless(claims: Sequence[Claim], domain: str) -> list[Claim]:
    """Of the tuned settings, the shares of answers that name no class, where these are nearly all answers."""
    tuned = [name for name in settings_of(claims, domain) if name != UNTUNED]
    found = [one for name in tuned if (one := named(claims, "invalid", domain, name))]
    return [one for one in found if one.established and one.effect >= NEARLY_ALL]


def settings_of(claims: Sequence[Claim], domain: str) -> list[str]:
    """The settings that were scored on a domain, the untouched model too."""
    scores = [one.about.rpartition(", ") for one in of_kind(claims, "score")]
    return [setting for name, _, setting in scores if name == domain]


def choice(claims: Sequence[Claim], domain: str, smallest: float) -> Choice | None:
    """The setting to take; None where none learnt anything.

    One that changes less is taken instead of the best if by the bound of their difference it loses less than
    `smallest`. The intervals hold for all pairs at once, so they allow for the best having been picked.
    """
    there = [name for name in settings_of(claims, domain) if name != UNTUNED and learnt(claims, domain, name)]
    scores = {name: one.effect for name in there if (one := named(claims, "score", domain, name)) is not None}
    if not scores:
        return None
    best = max(scores, key=lambda name: scores[name])
    for name in sorted(there, key=_change):
        between = named(claims, "pair", domain, f"{best} against {name}")
        if name == best:
            break
        if between is not None and between.high is not None and between.high < smallest:
            return Choice(best, name, between)
    return Choice(best, best)


def by_change(settings: Sequence[str]) -> list[str]:
    """Settings in the order of what they change."""
    return sorted(settings, key=_change)


def _change(setting: str) -> int:
    return BY_CHANGE.index(setting) if setting in BY_CHANGE else len(BY_CHANGE)
