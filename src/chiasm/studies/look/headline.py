"""What a look run found, in one sentence: how much attention the input gets, and whether on what is asked about."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import places, sentence

_RANGES = 2
"""Of more ranges of layers the sentence says how many layers there are: the table and the chart have each of them."""


def look_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    shares, objects = of_kind(claims, "share"), of_kind(claims, "object")
    if not shares:
        return "Nothing is shown or played, so nothing is said of attention to it."
    about = shares[0].about
    query, span = about.split(" to ")
    named = "the last position" if query == "last" else f"`{query}`"
    asked = [(f"the {span} gets", "than its share of the tokens", of_kind(shares, "share", about))]
    if objects:
        own = of_kind(objects, "object", objects[0].about)
        asked.insert(0, ("the object asked about gets", "than its share of the image", own))
    # What was found comes first.
    asked.sort(key=lambda one: not any(claim.found for claim in one[2]))
    (subject, than, own), *rest = asked
    parts = [_sentence(f"from {named}, {subject}", than, own), *(_sentence(*one) for one in rest), _heads(claims)]
    return sentence(*parts)


def _heads(claims: Sequence[Claim]) -> str:
    """Which heads look at what is shown more than others do; empty where none is established to."""
    held = [one for one in of_kind(claims, "head") if one.established and one.effect > 0]
    if not held:
        return ""
    most = max(held, key=lambda one: one.effect)
    span, _, head = most.about.partition(" to ")[2].partition(", ")
    one_of = "one head looks" if len(held) == 1 else f"{len(held)} heads look"
    which = f"{head} of layer {most.where}"
    return f"{one_of} at the {span} more than the others of the same layer, {'' if len(held) == 1 else 'most '}{which}"


def _sentence(subject: str, than: str, own: Sequence[Claim]) -> str:
    found = []
    for word, sign in (("more", 1), ("less", -1)):
        there = [one for one in own if one.found and one.effect * sign > 0]
        if there:
            found.append(f"{word} attention {than} in {_where(own, there)}")
    unsure = " (uncontrolled)" if any(one.verdict == "uncontrolled" for one in own) else ""
    if found:
        return f"{subject} {' and '.join(found)}{unsure}"
    if all(one.verdict == "practically none" for one in own):
        return f"{subject} practically as much attention as its share"
    return f"that {subject.removeprefix('that ')} more or less attention {than} is not established in any layer"


def _where(own: Sequence[Claim], there: Sequence[Claim]) -> str:
    """Which layers, or how many and at which most."""
    ranges = places(own, [one in there for one in own])
    if ranges.count(",") + ranges.count(" and ") < _RANGES:
        return ranges
    most = max(there, key=lambda one: abs(one.effect))
    return f"{len(there)} of {len(own)} layers (most in layer {most.where})"
