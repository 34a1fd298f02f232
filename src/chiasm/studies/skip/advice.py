"""What to do after a run of `skip`: which plan to use, or which comes nearest and what would decide, from claims."""

from collections.abc import Sequence
from typing import Final

from chiasm.core.claims import Claim, of_kind
from chiasm.interventions.skips import PLAN_FILE
from chiasm.results.wording import number, percent
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.findings import plain_is_poor, points
from chiasm.studies.skip.tables import NONE
from chiasm.studies.skip.ways import changed_time, less_or_more, right_answers

_PLACES: Final = {ONE_PROMPT: "one prompt alone", BATCH: "a batch of prompts"}


def skip_advice(claims: Sequence[Claim]) -> list[str]:
    """What to do, in plain sentences: the decision first, then the candidates and what would decide.

    Empty before any plan has been verified. In brackets 95 % intervals.
    """
    chosen = of_kind(claims, "recommended")
    if not chosen:
        return []
    one, kept = chosen[0], of_kind(claims, "kept")
    poor = plain_is_poor(of_kind(claims, "score")).strip()
    if one.about != NONE:
        what = _described(claims, one.about)
        said = [f"Use `{PLAN_FILE}`, which holds the plan `{one.about}`: {what}."]
    elif not kept:
        said = ["Leave the model as it is."]
    else:
        allowed = points((one.control_effect or 0.0) / 100)
        decide = " ".join(_decide(claims, kept, allowed))
        rule = (
            f"Recommended would be a plan that is established both to lose at most {allowed} of right answers "
            "(--max-loss) and to take less time until the first token; none is."
        )
        said = ["Leave the model as it is for now.", rule, *_candidates(claims, kept), decide]
    return [text for text in (*said, poor) if text]


def _candidates(claims: Sequence[Claim], kept: Sequence[Claim]) -> list[str]:
    """The best plan for one prompt and for a batch, each with what it does."""
    if not of_kind(claims, "time"):
        nearest = _nearest(kept, claims)
        return [f"No times were taken. Nearest to the loss allowed comes `{nearest}`: {_described(claims, nearest)}."]
    best: dict[str, list[str]] = {}
    slow = []
    for place, name in _PLACES.items():
        faster = {one.about for one in of_kind(claims, "time") if one.where == place and _shorter(one)}
        there = [one for one in kept if one.about in faster]
        if there:
            best.setdefault(_best(there, claims, place), []).append(place)
        else:
            slow.append(name)
    parts = [
        f"For {' and for '.join(_PLACES[place] for place in places)} `{plan}` comes nearest, "
        f"{_rule(claims, kept, plan)}: {_described(claims, plan)}.{_faster_still(claims, kept, plan, places)}"
        for plan, places in best.items()
    ]
    if slow:
        parts.append(f"For {' and for '.join(slow)} no plan is established to be faster.")
    if not best:
        nearest = _nearest(kept, claims)
        parts.append(f"Nearest to the loss allowed comes `{nearest}`: {_described(claims, nearest)}.")
    return parts


def _rule(claims: Sequence[Claim], kept: Sequence[Claim], plan: str) -> str:
    """Why this one of those that are faster: what it may lose decides before the time that it saves."""
    [one] = [one for one in kept if one.about == plan]
    if one.established:
        return "the fastest of those that keep within the loss allowed"
    most = "" if one.high is None else f" (at most {points(one.high / 100)}, by its interval)"
    return f"which of the plans established to be faster may lose least{most}"


def _faster_still(claims: Sequence[Claim], kept: Sequence[Claim], plan: str, places: Sequence[str]) -> str:
    """The fastest plan where it is another, and why it is not the candidate; begins with a space."""
    bound = {one.about: one.high for one in kept}
    parts = []
    for place in places:
        there = [one for one in of_kind(claims, "time") if one.where == place and one.about in bound and _shorter(one)]
        first = min(there, key=lambda one: one.effect)
        if first.about != plan and first.effect < next(one.effect for one in there if one.about == plan):
            high = bound[first.about]
            most = "an unknown number of" if high is None else f"up to {number(high, digits=1)}"
            parts.append(f" `{first.about}` saves more time there ({changed_time(first)}), but may lose {most} points.")
    return "".join(dict.fromkeys(parts))


def _shorter(one: Claim) -> bool:
    return one.established and one.effect < 0


def _best(of: Sequence[Claim], claims: Sequence[Claim], place: str) -> str:
    """Of those that keep within the loss allowed the fastest; where there are none, what comes nearest to it."""
    held = {one.about for one in of if one.established}
    times = [one for one in of_kind(claims, "time") if one.where == place and one.about in held]
    return min(times, key=lambda one: one.effect).about if times else _nearest(of, claims)


def _nearest(kept: Sequence[Claim], claims: Sequence[Claim]) -> str:
    operations = {one.about: one.effect for one in of_kind(claims, "operations")}

    def order(one: Claim) -> tuple[bool, float, float]:
        return one.high is None, one.high or 0.0, operations.get(one.about, 100.0)

    return min(kept, key=order).about


def _described(claims: Sequence[Claim], plan: str) -> str:
    """What a plan does to right answers, to the answer's log-probability, and to times."""
    [loss] = of_kind(claims, "loss", plan)
    parts = [right_answers(loss)]
    for one in of_kind(claims, "logprob", plan):
        compared = less_or_more(one, ("higher", "lower"), "nat", digits=3)
        parts.append(f"log-probability of the plain model's answer {compared}")
    times = {one.where: one for one in of_kind(claims, "time", plan)}
    parts += [f"{name} takes {changed_time(times[place])}" for place, name in _PLACES.items() if place in times]
    shares = of_kind(claims, "operations", plan)
    if shares:
        parts.append(f"{percent(shares[0].effect / 100)} of the operations are left")
    return "; ".join(parts)


def _decide(claims: Sequence[Claim], kept: Sequence[Claim], allowed: str) -> list[str]:
    """What a further run would need."""
    held = [one for one in kept if one.established]
    parts = []
    needed, limits = of_kind(claims, "needed"), of_kind(claims, "needed-limit")
    if not held and needed and (needed[0].inputs or 0) < needed[0].effect:
        ask = f"--limit {limits[0].effect:.0f} or more" if limits else "more examples"
        parts.append(
            f"To decide, ask for {ask}: to show that a plan which changes no answer loses at most {allowed} takes "
            f"{number(needed[0].effect, digits=0)} inputs, and {needed[0].inputs} judged here. Or allow more with "
            f"--max-loss.{_no_time(claims, kept)}"
        )
    elif not held:
        parts.append(f"To decide, ask for more examples, or allow more with --max-loss.{_no_time(claims, kept)}")
    times = [one for one in of_kind(claims, "time") if one.about in {plan.about for plan in held}]
    # Narrower intervals would only confirm a time that lies above 0 as a whole.
    if held and (not times or any(one.verdict == "not established" and not (one.low or 0.0) > 0 for one in times)):
        parts.append("More --repeats, on a quieter machine, narrow the intervals of times that are not established.")
    return parts


def _no_time(claims: Sequence[Claim], kept: Sequence[Claim]) -> str:
    """That more examples decide nothing where no plan saves time; begins with a space."""
    names = {one.about for one in kept}
    times = [one for one in of_kind(claims, "time") if one.about in names]
    if not times or any(_shorter(one) for one in times):
        return ""
    return " That decides about the loss alone: no plan is established to save time here, whatever the examples."
