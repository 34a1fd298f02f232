"""What a project run found, in a sentence a domain: what to do, and whether the projector's output grew richer."""

from collections.abc import Sequence

from chiasm.core.claims import Claim
from chiasm.results.wording import listed, lowered
from chiasm.studies.project.choice import choice, learnt, nameless, settings_of
from chiasm.studies.project.findings import domains_of
from chiasm.studies.project.scores import UNTUNED
from chiasm.studies.project.verdict import PRIMARY, answer, of_setting

_SHOWN = 2


def project_headline(claims: Sequence[Claim], smallest: float) -> str:
    """The sentences; domains of which the same is said share one."""
    domains = domains_of(claims)
    if not domains:
        return "No setting has been tuned yet."
    said: dict[str, list[str]] = {}
    for domain in domains:
        said.setdefault(_domain(domain, claims, smallest), []).append(domain)
    shown = [f"In {listed(names)}, {text}." for text, names in said.items()]
    more = [] if len(shown) <= _SHOWN else [f"{len(shown) - _SHOWN} more answers stand below."]
    return " ".join([*shown[:_SHOWN], *more])


def _domain(domain: str, claims: Sequence[Claim], smallest: float) -> str:
    best = choice(claims, domain, smallest)
    if best is None:
        none = "no setting is established to answer better than guessing and than the untouched model"
        silent = len(nameless(claims, domain))
        if not silent:
            return none
        tuned = sum(name != UNTUNED for name in settings_of(claims, domain))
        who = f"{silent} of {tuned} tuned settings" if silent < tuned else "all tuned settings"
        return f"nearly all answers of {who} name no class, and {none}"
    first, each = f"tune by {best.chosen}", of_setting(claims, "richness", domain, PRIMARY)
    if not each:
        return first
    if not learnt(claims, domain, PRIMARY):
        return f"{first}; {PRIMARY} is not shown to have learnt, so nothing follows on a richer projector"
    return f"{first}; richer output of the projector after {PRIMARY}: {lowered(answer(each))}"
