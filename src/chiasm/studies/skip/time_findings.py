"""What plans do to times, in words: each beside what two equal calls of the plain model differ by."""

from collections.abc import Sequence
from typing import Any

from chiasm.core.claims import Claim, of_kind
from chiasm.results.findings import Finding
from chiasm.results.wording import alone, bounds, claimed, named, number, percent, sentence
from chiasm.studies.skip.decision import BATCH, EQUAL_CALLS, ONE_PROMPT, saves_time

TOO_NOISY, NOT_ESTABLISHED, AS_LONG = "too noisy", "not established", "takes practically as long"
_WHOLE: dict[str, Any] = {"significant": None, "digits": 0}


def times(claims: Sequence[Claim]) -> Finding | None:
    """What the fewest operations save in seconds, and which plans save time at all."""
    timed = [one for one in of_kind(claims, "operations") if of_kind(claims, "time", one.about)]
    if not timed:
        return None
    fewest = min(timed, key=lambda one: one.effect)
    text = (
        f"`{fewest.about}` takes the fewest operations, {percent(fewest.effect / 100)} of the plain model's. "
        f"{time_words(claims, fewest.about)}"
    )
    saving = [one for one in timed if saves_time(claims, one.about)]
    trading = [one for one in timed if one not in saving and _faster(claims, one.about, BATCH)]
    if saving:
        text += f" Established to save time: {named(saving)}."
    if trading:
        text += f" Faster for a batch but slower for one prompt, and so not counted as saving: {named(trading)}."
    if not saving:
        text += " No plan is established to save time."
    return Finding(text, 40.0)


def _faster(claims: Sequence[Claim], plan: str, place: str) -> bool:
    return any(one.where == place and one.established and one.effect < 0 for one in of_kind(claims, "time", plan))


def time_words(claims: Sequence[Claim], plan: str) -> str:
    """What is established about a plan's time, alone and in a batch."""
    parts, noisy = [], []
    for place, name in ((ONE_PROMPT, "one prompt alone"), (BATCH, "a batch of prompts")):
        for one in of_kind(claims, "time", plan):
            if one.where != place:
                continue
            change, noise = claimed(one, **_WHOLE), one.control_effect or 0.0
            shown = number(noise, unit="%", digits=0, signed=True)
            said = time_verdict(one)
            if said == TOO_NOISY:
                noisy.append(f"{name} ({shown})")
                continue
            if said == NOT_ESTABLISHED:
                text = f"whether {name} is faster is not established: {change}"
            else:
                text = f"{name} {_predicate(said)}: {change}"
            beyond = next((other for other in of_kind(claims, "time-beyond", plan) if other.where == place), None)
            more = "" if beyond is None else f"; beyond that it is {alone(beyond, **_WHOLE)}"
            parts.append(f"{text[0].upper()}{text[1:]}. Two equal calls differ by {shown}{more}.")
    if noisy:
        parts.append(
            f"For {' and '.join(noisy)} times are too noisy to tell: two equal calls of the plain model differ by more "
            "(in brackets) than under the plan."
        )
    return " ".join(parts)


def time_in_short(claims: Sequence[Claim], plan: str) -> str:
    """Whether a plan is faster or slower, alone and in a batch, in one sentence; empty where none was timed."""
    parts = []
    for place, name in ((ONE_PROMPT, "one prompt alone"), (BATCH, "a batch of prompts")):
        for one in of_kind(claims, "time", plan):
            if one.where != place:
                continue
            change = number(one.effect, unit="%", digits=0, signed=True)
            within = bounds(one.low, one.high, digits=0, signed=True, missing="no interval")
            said = time_verdict(one)
            if said == NOT_ESTABLISHED:
                said = "not established to be faster or slower"
            parts.append(f"{name} {_predicate(said)} ({change}, 95 % interval {within})")
    return sentence(*parts)


def _predicate(verdict: str) -> str:
    return verdict if verdict == AS_LONG else f"is {verdict}"


def time_verdict(one: Claim) -> str:
    """What a plan's time allows to say, in words that also stand in a table."""
    if one.established:
        return "faster" if one.effect < 0 else "slower"
    if one.verdict == "practically none":
        return AS_LONG
    if one.low is not None and one.low > 0:
        return "slower by no more than equal calls differ"
    return TOO_NOISY if too_noisy(one) else NOT_ESTABLISHED


def time_reason(one: Claim) -> str:
    """Why a plan's time is not established to be another."""
    if one.low is None or one.high is None:
        return f"{NOT_ESTABLISHED}: no interval"
    if one.low <= 0 <= one.high:
        return f"{NOT_ESTABLISHED}: 0 is within"
    equal = number(one.control_effect or 0.0, unit="%", digits=0, signed=True)
    return f"{NOT_ESTABLISHED} beyond {EQUAL_CALLS} ({equal})"


def too_noisy(one: Claim) -> bool:
    """Whether two equal calls differ by more than a plan changes, in either direction, and nothing is established."""
    return one.verdict == "not established" and abs(one.control_effect or 0.0) >= abs(one.effect)
