"""What the attention and the words of a run say, made from its claims: nothing that no row of `claims` holds."""

from collections.abc import Mapping, Sequence

import numpy as np

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.look.naming_claims import RANK
from chiasm.studies.look.tables import CONTEXT, DESCRIBED, INPUT, NAME, OUTPUT

_BASELINE = "the random-weights baseline"
_FEW = 10
_Beyond = Mapping[tuple[str, str, str], Claim]


def look_findings(claims: Sequence[Claim]) -> list[Finding]:
    """How much goes to the image and at which layer, whether the object asked about gets more than its part, words."""
    beyond = {(one.kind, one.about, one.where): one for one in claims if one.kind.endswith("-beyond")}
    found = [_taken(of_kind(claims, "share", about), beyond) for about in _abouts(claims, "share")]
    found += [_object(of_kind(claims, "object", about), beyond) for about in _abouts(claims, "object")]
    found += [_words(of_kind(claims, "words", about)) for about in _abouts(claims, "words")]
    found += [_named(claims, about) for about in _abouts(claims, "named")]
    heads = of_kind(claims, "head")
    for about in dict.fromkeys(one.about.partition(", ")[0] for one in heads):
        found.append(_heads(about, [one for one in heads if one.about.partition(", ")[0] == about]))
    if not found:
        return [Finding("Nothing is shown or played, so nothing is said of attention to it.", 0.1)]
    return sorted(found, key=lambda finding: -finding.strength)


def _taken(by_layer: Sequence[Claim], beyond: _Beyond) -> Finding:
    query, span = by_layer[0].about.split(" to ")
    than = f"of the attention of {query} than its share of the visible tokens"
    found = _layers(f"The {span}", "takes", than, by_layer, beyond)
    return Finding(found, 2.0 if any(one.found for one in by_layer) else 0.8)


def _object(by_layer: Sequence[Claim], beyond: _Beyond) -> Finding:
    than = "of the image's attention than its share of the image's tokens"
    found = _layers(f"From {by_layer[0].about}, the object asked about", "gets", than, by_layer, beyond)
    return Finding(found, 3.0 if any(one.found and one.effect > 0 for one in by_layer) else 1.0)


def _layers(subject: str, verb: str, than: str, by_layer: Sequence[Claim], beyond: _Beyond) -> str:
    """Where it takes more and where less than equal attention would give, and the peak with its control."""
    top = strongest(by_layer)
    assert top is not None
    beside = _beside(top, beyond.get((f"{top.kind}-beyond", top.about, top.where)))
    if not any(one.found for one in by_layer):
        where = f"the largest difference, at layer {top.where}, is {claimed(top)}{beside}"
        if all(one.verdict == "practically none" for one in by_layer):
            return f"{subject} {verb} practically neither more nor less {than}, at every layer: {where}."
        return f"That {_lower(subject)} {verb} more or less {than} is not established at any layer: {where}."
    parts = []
    for sign, word in ((1, "more"), (-1, "less")):
        inside = [one.found and one.effect * sign > 0 for one in by_layer]
        if any(inside):
            parts.append(f"{word} {than if not parts else ''} at {_stretches(by_layer, inside)}".replace("  ", " "))
    text = f"{subject} {verb} {' and '.join(parts)} of {len(by_layer)}; the largest difference, at layer {top.where}, "
    return f"{text}is {claimed(top)}{beside}."


def _words(by_state: Sequence[Claim]) -> Finding:
    top = strongest(by_state)
    assert top is not None
    what = "The nearest word of a token of what is shown or played stands in a caption"
    value = claimed(top, signed=top.control is not None)
    if top.control is None:
        text = f"{what} most often at hidden state {top.where}: {value}{_beside(top, None)}."
        return Finding(text, 0.9)
    there = f"hidden state {top.where}: {value}, where that has {number(top.control_effect or 0.0, unit='%')}"
    if top.established:
        inside = [one.established and one.effect > 0 for one in by_state]
        states = f"hidden state{'' if sum(inside) == 1 else 's'} {_ranges(by_state, inside)}" if any(inside) else ""
        where = f"at {states}" if states else "at no hidden state"
        text = f"{what} more often than in {_BASELINE} {where}; the largest difference, at {there}."
    elif all(one.verdict == "practically none" for one in by_state):
        text = f"{what} practically as often as in {_BASELINE}; the largest difference, at {there}."
    else:
        text = f"That {_lower(what)} more often than in {_BASELINE} is not established at any hidden state"
        text = f"{text}; the largest difference, at {there}."
    if top.n < _FEW:
        text += f" Words were decoded of {top.n} example{'' if top.n == 1 else 's'}; --maps takes more."
    return Finding(text, 1.5 if top.established else 0.6)


_LENSES = {
    OUTPUT: "the output head",
    INPUT: "the input embeddings",
    CONTEXT: "words read in texts",
}
_NAMED = {NAME: "its name", DESCRIBED: "a word that captions describe it with"}


def _named(claims: Sequence[Claim], about: str) -> Finding:
    """Whether words at an object's tokens name it, by one lens and of one kind of words."""
    lens, _, word = about.partition(", ")
    by_state = of_kind(claims, "named", about)
    top = strongest(by_state)
    assert top is not None
    what = f"By {_LENSES[lens]}, an object's tokens have {_NAMED[word]} among the {RANK} nearest words"
    found = []
    for more, sign in (("more", 1), ("less", -1)):
        inside = [one.established and one.effect * sign > 0 for one in by_state]
        if any(inside):
            states = f"hidden state{'' if sum(inside) == 1 else 's'} {_ranges(by_state, inside)}"
            found.append(f"{more} often than the rest of the image at {states}")
    there = f"hidden state {top.where}: {claimed(top)}, where the rest has {_percent(top)}"
    if found:
        text = f"{what} {' and '.join(found)}; the largest difference, at {there}."
    elif all(one.verdict == "practically none" for one in by_state):
        text = f"{what} practically as often as the rest of the image; the largest difference, at {there}."
    else:
        text = f"That {_lower(what)} more or less often than the rest of the image is not established at any hidden "
        text += f"state; the largest difference, at {there}."
    for kind, beside in (("named-other", "Tokens of other objects have"), ("named-random", "Random directions have")):
        at = [one for one in of_kind(claims, kind, about) if one.where == top.where]
        if at:
            text += f" {beside} {_percent(at[0])} there, a difference of {claimed(at[0])}."
    beyond = [one for one in of_kind(claims, "named-beyond", about) if one.where == top.where]
    if beyond:
        shown = _points(beyond[0].control_effect)
        text += f" In {_BASELINE} the object has {shown} more than the rest, a difference of {claimed(beyond[0])}."
    return Finding(text, (1.55 if top.established else 0.3) + min(0.2, abs(top.effect) / 500))


def _percent(one: Claim) -> str:
    return number(one.control_effect or 0.0, unit="%")


def _heads(about: str, heads: Sequence[Claim]) -> Finding:
    query, span = about.split(" to ")
    held = [one for one in heads if one.established and one.effect > 0]
    top = (held or list(heads))[0]
    name = f"head {top.about.rpartition(' ')[2]} of layer {top.where}"
    level = f"{number(top.control_effect or 0.0, unit='%')}, the mean of its layer"
    chosen = f"{len(heads)} heads that look most from {query} at the {span} on half of the inputs"
    if held:
        text = f"Of the {chosen}, {len(held)} do so on the other half too, beyond the mean of their layer; the largest "
        return Finding(f"{text}difference, of {name}, is {claimed(top)} beyond {level}.", 1.8)
    text = f"None of the {chosen} is established to do so on the other half beyond the mean of its layer; the largest "
    return Finding(f"{text}difference, of {name}, is {claimed(top)} beyond {level}.", 0.7)


def _beside(one: Claim, beyond: Claim | None) -> str:
    if one.control_effect is None or beyond is None:
        return "; uncontrolled, as no model with random weights stands beside it"
    return f"; in {_BASELINE} it is {_points(one.control_effect)}, a difference of {claimed(beyond)}"


def _points(effect: float | None) -> str:
    return number(effect or 0.0, unit="points", signed=True, significant=3)


def _stretches(by_layer: Sequence[Claim], inside: Sequence[bool]) -> str:
    """The layers where `inside` holds, neighbours as ranges; layers that do not attend have no claim."""
    return f"layer{'' if sum(inside) == 1 else 's'} {_ranges(by_layer, inside)}"


def _ranges(claims: Sequence[Claim], inside: Sequence[bool]) -> str:
    parts = []
    for start, stop in runs_of_true(np.array(inside)):
        first, last = claims[start].where, claims[stop - 1].where
        parts.append(first if first == last else f"{first}-{last}")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _abouts(claims: Sequence[Claim], kind: str) -> list[str]:
    return list(dict.fromkeys(one.about for one in of_kind(claims, kind)))


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
