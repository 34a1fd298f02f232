"""What to do in each domain and where what the tower sees is lost, short enough for the first screen of the page."""

from collections.abc import Sequence
from typing import Final

from chiasm.core.claims import Claim
from chiasm.results.wording import compact, listed, number, percent
from chiasm.studies.project.choice import choice, named, nameless, settings_of
from chiasm.studies.project.findings import domains_of
from chiasm.studies.project.scores import UNTUNED
from chiasm.studies.project.verdict import of_setting

_SHOWN: Final = 2
_MORE: Final = "What to do in other domains is in the first table."


def project_advice(claims: Sequence[Claim], smallest: float) -> list[str]:
    """A few sentences for each of the first domains, in brackets 95 % intervals."""
    domains = domains_of(claims)
    texts = [f"{domain[:1].upper()}{domain[1:]}: {_domain(domain, claims, smallest)}" for domain in domains[:_SHOWN]]
    return [*texts, *([_MORE] if domains[_SHOWN:] else [])]


def _domain(domain: str, claims: Sequence[Claim], smallest: float) -> str:
    best = choice(claims, domain, smallest)
    scores = {name: one for name in settings_of(claims, domain) if (one := named(claims, "score", domain, name))}
    chosen = best.chosen if best else max(scores, key=lambda name: scores[name].effect, default=UNTUNED)
    score = scores.get(chosen)
    reached = ""
    if score is not None:
        guess = f"by guessing {number(score.control_effect or 0.0, digits=2)}"
        reached = f"macro-F1 {compact(score.effect, score.low, score.high)}, {guess}"
    if best is None:
        highest = f" (highest: {chosen}, {reached})" if reached else ""
        silent = nameless(claims, domain)
        if silent:
            text = f"{_silent(silent)}, and no setting is shown to work{highest}: try longer training, or more images."
        else:
            text = f"leave the model as it is{highest}."
        return f"{text}{_lost(domain, UNTUNED, claims)}"
    skill = named(claims, "skill", domain, chosen)
    cost = ""
    if skill is not None and skill.established and skill.effect < 0:
        cost = f" It costs general skill: {compact(skill.effect, skill.low, skill.high)} of held-out scenes."
    return f"tune by {chosen} ({reached}).{cost}{_lost(domain, chosen, claims)}"


def _silent(of: Sequence[Claim]) -> str:
    """Which settings do not even name a class, and in how many answers."""
    names = listed([one.about.rpartition(", ")[2] for one in of])
    least = min(one.effect for one in of)
    share = "all answers name" if least == 1 else f"{percent(least)} of the answers or more name"
    return f"under {names} {share} no class (n = {min(one.n for one in of)} each)"


def _lost(domain: str, setting: str, claims: Sequence[Claim]) -> str:
    """Whether more can be read of the tower, and of the last token, than the model says; begins with a space."""
    held = of_setting(claims, "held", domain, setting)
    tower = [one for one in held if not one.where.startswith("layer.")]
    inside = next((one for one in held if one.where.startswith("layer.")), None)
    seen = [one for one in tower if one.established and one.effect > 0]
    if not tower:
        return ""
    if not seen:
        return " That the tower sees more than the model says is not established."
    top = max(seen, key=lambda one: one.effect)
    text = f" The tower sees more than the model says: a linear probe there reads {_gap(top)} macro-F1 more"
    if inside is not None and inside.established and inside.effect > 0:
        return f"{text}, and of the last token {_gap(inside)}: part of it is there and is not said."
    return f"{text}; that it reaches the last token is not established." if inside is not None else f"{text}."


def _gap(one: Claim) -> str:
    return compact(one.effect, one.low, one.high)
