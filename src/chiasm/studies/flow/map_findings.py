"""What maps of patches show, in words, made from their claims."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.findings import Finding
from chiasm.results.wording import bounds, claimed, number, percent
from chiasm.studies.flow.maps import AT_RANDOM

_SHARE = {"unit": "%", "scale": 100.0, "digits": 0, "significant": None}


def map_findings(claims: Sequence[Claim]) -> list[Finding]:
    """In how many images a map shows anything, method by method, and whether it is what was asked about."""
    found = []
    each = of_kind(claims, "map")
    if each:
        reach = {one.about.partition(", ")[0]: one for one in of_kind(claims, "map-reach")}
        beyond = {one.about: one for one in of_kind(claims, "map-beyond")}
        shown = " ".join(_shown(one, reach.get(one.about), beyond.get(one.about)) for one in each)
        found.append(Finding(f"Whether a map shows a patch that changes the answer's log-probability. {shown}", 0.24))
    found += [_methods(one) for one in of_kind(claims, "map-methods")]
    boxes = of_kind(claims, "map-boxes")
    if boxes and of_kind(claims, "map-object"):
        found.append(_objects(claims, boxes[0]))
    return found


def _shown(one: Claim, reach: Claim | None, beyond: Claim | None) -> str:
    """One method with its own threshold, and where the threshold comes from."""
    level = _level(one)
    said = claimed(one, signed=False, **_SHARE)
    text = f"{one.about.capitalize()}: by more than {level}{_why(level, reach)}, in {_images(one)}, {said}"
    if one.control_effect is None or beyond is None:
        return f"{text}; uncontrolled: no maps of random-weights models, or a single one, stand beside it."
    beside = (
        f"of the maps of random-weights models, each held against all others, {percent(one.control_effect)}, a "
        f"difference of {claimed(beyond, **_SHARE | {'unit': 'points'})}"
    )
    if one.established:
        return f"{text}; {beside}."
    if one.verdict == "practically none":
        return f"{text}: practically none; {beside}."
    return f"{text}: not established to be more than by chance; {beside}."


def _why(level: str, reach: Claim | None) -> str:
    """Whether a threshold is what random weights reach."""
    if reach is None or number(reach.effect, unit="nat", significant=3) != level:
        return ""
    return ", the most that any patch of any image does in random-weights models"


def _level(one: Claim) -> str:
    return one.quantity.rpartition(" by more than ")[2]


def _images(one: Claim) -> str:
    return f"{round(one.effect * one.n)} of {one.n} images"


def _methods(one: Claim) -> Finding:
    said = claimed(one, **_SHARE | {"unit": "points"})
    what = f"changes the answer's log-probability by more than {_level(one)}"
    if one.established:
        first, second = ("Keeping", "hiding") if one.effect > 0 else ("Hiding", "keeping")
        text = f"{first} a single patch {what} in more images than {second} one does: {said}."
        return Finding(text, 0.2 if one.effect > 0 else 0.07)
    if one.verdict == "practically none":
        text = f"Keeping a single patch {what} in practically as many images as hiding one does: {said}."
    else:
        text = f"Whether keeping a single patch {what} in more images than hiding one is not established: {said}."
    return Finding(text, 0.07)


def _objects(claims: Sequence[Claim], boxes: Claim) -> Finding:
    hits = {one.about: one for one in of_kind(claims, "map-hit")}
    beyond = {one.about: one for one in of_kind(claims, "map-object-beyond")}
    parts = []
    for one in of_kind(claims, "map-object"):
        own, random = hits[one.about], hits.get(f"{one.about}, {AT_RANDOM}")
        inside = bounds(own.low, own.high, **{key: kept for key, kept in _SHARE.items() if key != "unit"})
        text = f"{one.about} in {_images(own)} ({percent(own.effect)}, 95 % interval {inside})"
        if random is not None:
            text += f", in random-weights models in {_images(random)}"
        if one.about in beyond:
            text += f", a difference of {claimed(beyond[one.about], **_SHARE | {'unit': 'points'})}"
        parts.append(f"{text}: {_than_chance(one)}, {claimed(one, **_SHARE | {'unit': 'points'})}")
    text = (
        "The patch that adds most to the answer (the largest value above 0) lies in a box of the objects asked about, "
        f"where boxes cover {percent(boxes.effect)} of the patches: {'; '.join(parts)}."
    )
    return Finding(text, 0.22)


def _than_chance(one: Claim) -> str:
    """The difference to a patch drawn at random in words."""
    more = "more" if one.effect > 0 else "less"
    match one.verdict:
        case "established":
            return f"{more} often than a patch drawn at random"
        case "uncontrolled":
            return f"{more} often than a patch drawn at random, uncontrolled by random weights"
        case "practically none":
            return "as often as a patch drawn at random"
    others = "a patch drawn at random" if one.control is None else "a patch drawn at random and with random weights"
    return f"not established to be {more} often than {others}"
