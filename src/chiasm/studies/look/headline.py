"""What a look run found, in one sentence: how much attention the input gets, and whether on what is asked about."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import places, sentence


def look_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    shares, objects = of_kind(claims, "share"), of_kind(claims, "object")
    if not shares:
        return "Nothing is shown or played, so nothing is said of attention to it."
    about = shares[0].about
    query, span = about.split(" to ")
    named = "the last position" if query == "last" else f"`{query}`"
    parts = [_said(f"from {named}, the {span} gets", "than its share of the tokens", of_kind(shares, "share", about))]
    if objects:
        own = of_kind(objects, "object", objects[0].about)
        parts.append(_said("the object asked about gets", "than its share of the image", own))
    return sentence(*parts)


def _said(subject: str, than: str, own: Sequence[Claim]) -> str:
    more, less = (places(own, [one.found and one.effect * sign > 0 for one in own]) for sign in (1, -1))
    found = [f"{word} attention {than} in {where}" for word, where in (("more", more), ("less", less)) if where]
    unsure = " (uncontrolled)" if any(one.verdict == "uncontrolled" for one in own) else ""
    if found:
        return f"{subject} {' and '.join(found)}{unsure}"
    if all(one.verdict == "practically none" for one in own):
        return f"{subject} practically as much attention as its share"
    return f"that {subject.removeprefix('that ')} more or less attention {than} is not established in any layer"
