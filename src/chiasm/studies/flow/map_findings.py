"""What maps of patches show, in words, made from their claims."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number, percent
from chiasm.studies.flow.judgement import control_label

_SHARE = {"unit": "%", "scale": 100.0, "digits": 0, "significant": None}


def map_findings(claims: Sequence[Claim]) -> list[Finding]:
    """In how many images a map shows anything, method by method, and whether it is what was asked about."""
    found = []
    each = of_kind(claims, "map")
    if each:
        shown = "; ".join(f"{one.about}, {one.quantity.rpartition(' by ')[2]}: {_shown(one)}" for one in each)
        text = f"In what share of images the map shows a patch that changes the answer's log-probability: {shown}."
        reach = of_kind(claims, "map-reach")
        if reach:
            at = ", ".join(
                f"{number(one.effect, unit='nat', significant=2)} ({one.about.partition(', ')[0]})" for one in reach
            )
            text += f" With random weights no patch of any image changes it by more than {at}."
        found.append(Finding(text, 0.24))
    found += [_methods(one) for one in of_kind(claims, "map-methods")]
    boxes = of_kind(claims, "map-boxes")
    if boxes:
        found.append(_objects(of_kind(claims, "map-object"), boxes[0]))
    return found


def _shown(one: Claim) -> str:
    said = claimed(one, signed=False, **_SHARE)
    if one.control_effect is None:
        return f"{said}, uncontrolled: no model with random weights stands beside it"
    beside = f"{control_label(one.control or '')} {percent(one.control_effect)}"
    if one.established:
        return f"{said}, {beside}"
    if one.verdict == "practically none":
        return f"{said}: practically none, {beside}"
    return f"{said}: not established to be more than by chance, {beside}"


def _methods(one: Claim) -> Finding:
    said = claimed(one, **_SHARE | {"unit": "points"})
    if one.established and one.effect > 0:
        return Finding(f"Keeping a single patch shows something in more images than hiding one does: {said}.", 0.2)
    text = f"Whether keeping a single patch shows something in more images than hiding one is not established: {said}."
    if one.established:
        text = f"Hiding a single patch shows something in more images than keeping one does: {said}."
    elif one.verdict == "practically none":
        text = f"Keeping a single patch shows something in practically as many images as hiding one does: {said}."
    return Finding(text, 0.07)


def _objects(each: Sequence[Claim], boxes: Claim) -> Finding:
    parts = []
    for one in each:
        said = claimed(one, **_SHARE | {"unit": "points"})
        if one.established:
            how = f"{'more' if one.effect > 0 else 'less'} often than a patch drawn at random does, {said}"
        elif one.verdict == "uncontrolled":
            more = "more" if one.effect > 0 else "less"
            how = f"{more} often than a patch drawn at random does, {said}, uncontrolled by random weights"
        elif one.verdict == "practically none":
            how = f"as often as a patch drawn at random does, {said}"
        else:
            others = "a patch drawn at random" if one.control is None else "a patch drawn at random and random weights"
            how = f"not established to do so more often than {others}, {said}"
        beside = "" if one.control_effect is None else f" (with random weights {_points(one.control_effect)})"
        parts.append(f"{one.about}: {how}{beside}")
    text = (
        f"The strongest patch of a map lies under a box of the objects asked about, which cover "
        f"{percent(boxes.effect)} of the patches, {'; '.join(parts)}."
    )
    return Finding(text, 0.22)


def _points(effect: float) -> str:
    return number(effect, unit="points", scale=100.0, digits=0, signed=True)
