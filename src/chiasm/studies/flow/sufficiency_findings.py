"""What is left with only some routes open, in words, made from the claims."""

from collections.abc import Sequence
from typing import Any, Final

from chiasm.core.claims import Claim, of_kind
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number, percent
from chiasm.studies.flow.sufficiency_claims import SEARCHED
from chiasm.studies.flow.tables import CLOSED, RANDOM

_SHARE: Final[dict[str, Any]] = {"unit": "%", "scale": 100.0, "digits": 0, "significant": None}
_POINTS: Final = _SHARE | {"unit": "points"}
_CONTROLS: Final = {RANDOM: "as many random routes", CLOSED: "none of them open"}


def sufficiency_findings(claims: Sequence[Claim]) -> list[Finding]:
    """One sentence for the set that was named, and one for what the search left open."""
    return [Finding(_sentence(one, claims), 0.26) for one in of_kind(claims, "sufficient")]


def sufficiency_notes(claims: Sequence[Claim]) -> list[str]:
    """What stays open beside every set, and what a sufficient set is not."""
    if not of_kind(claims, "sufficient"):
        return []
    return [
        "With only some routes open, attention within a span and to the prefix (what stands before the first thing "
        "shown or asked, the usual attention sink with it) stays open. Right is an answer whose most probable first "
        "token begins the labelled one.",
        "A set that suffices is one of perhaps several: the search closes what costs least at each step, and is no "
        "proof that no smaller or other set would do. With most routes closed a model works in a state it was "
        "never trained in, so that a set may fall short for that reason.",
    ]


def _sentence(one: Claim, claims: Sequence[Claim]) -> str:
    searched = one.about.startswith(SEARCHED)
    routes = one.about.removeprefix("only ").removeprefix(f"{SEARCHED}: ")
    if searched:
        (size,) = of_kind(claims, "sufficient-size")
        of = size.quantity.rpartition(" of ")[2]
        text = (
            f"Of {of} routes between spans the search left {number(size.effect, digits=0)} open, chosen on {size.n} "
            f"examples: {routes}. On other examples, with all else closed, {_right(one)} of answers are right"
        )
    else:
        text = f"With only {routes} open, and every other route between spans closed in all layers, {_right(one)} of "
        text += "answers are right"
    (lost,) = of_kind(claims, "sufficient-lost", one.about)
    (loss,) = of_kind(claims, "sufficient-loss", one.about)
    text += f", which differs from the untouched model by {claimed(lost, **_POINTS)}; the answer's log-probability "
    text += f"changes by {claimed(loss)}."
    beside = [
        f"with {_CONTROLS[control.control or '']} {percent(control.control_effect or 0.0)} are, a difference of "
        f"{claimed(control, **_POINTS)}"
        for control in of_kind(claims, "sufficient-control", one.about)
    ]
    if not beside:
        return f"{text} It is uncontrolled: what other routes would keep was not measured."
    text += f" {beside[0][0].upper()}{beside[0][1:]}" + "".join(f"; {other}" for other in beside[1:]) + "."
    if not one.established:
        text += " That these routes keep more than the controls is not established."
    return text


def _right(one: Claim) -> str:
    return claimed(one, signed=False, **_SHARE)
