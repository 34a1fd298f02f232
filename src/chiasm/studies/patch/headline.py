"""What a patching run found, in one sentence: whose states carry most of the answer, and until which layer."""

import re
from collections.abc import Sequence
from typing import Final

from chiasm.core.claims import Claim, of_kind
from chiasm.core.spans import PERCEPTUAL
from chiasm.results.wording import listed, number, places, sentence
from chiasm.studies.patch.tables import DENOISE, NOISE

_NAMES: Final = {
    "image": "the image's states",
    "video": "the video's states",
    "audio": "the sound's states",
    "image.object": "the states of the object asked about",
    "question": "the question's states",
    "last": "those of the last position",
    "suffix": "those behind the question",
}
_LACKING: Final = (
    "that states of the other run take most of the answer away is not established",
    "that own states bring most of it back in the other run is not established",
)
"""By direction: noise, denoise."""


def patch_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    recovered, most = of_kind(claims, "recovery"), of_kind(claims, "most")
    if not recovered:
        left = of_kind(claims, "small-gap")
        count = f"{left[0].n} pairs" if left else "no pair"
        return f"The two images make no difference that states could carry: of {count} none has a large enough gap."
    spans = list(dict.fromkeys(one.about.partition(", ")[0] for one in recovered if one.about.count(", ") == 1))
    parts, unsure = [], False
    for span in spans:
        curves = [[one for one in most if one.about == about] for about in _abouts(recovered, span)]
        inside = [all(curve[k].found for curve in curves) for k in range(min(map(len, curves)))]
        unsure |= any(one.verdict == "uncontrolled" for curve in curves for one in curve)
        if any(inside):
            parts.append((span, places(curves[0], inside)))
    directions = {one.about.split(", ")[1] for one in recovered}
    verb = (
        "carry most of" if len(directions) > 1 else "bring back most of" if DENOISE in directions else "are needed for"
    )
    one_way = [_one_way(most, spans, direction) for direction in (NOISE, DENOISE)] if len(directions) > 1 else []
    if not parts and any(one_way):
        lacking = [text for text, found in zip(_LACKING, one_way, strict=True) if not found]
        least = "that the states of one span do both in the same layer is not established" if not lacking else ""
        return sentence(*one_way, *lacking, least, "uncontrolled where no control was run" if unsure else "")
    if not parts:
        top = max(recovered, key=lambda one: one.effect)
        share = number(top.effect, unit="%", significant=3)
        what = f"that the states of any one span {verb} the answer is not established in any layer"
        return sentence(f"{what} (at most {share} of the gap, {top.about}, layer {top.where})")
    whole = [f"{name_of(span)} {verb} the answer in {where}{_given(span, where)}" for span, where in parts[:1]]
    whole += [f"{name_of(span)} in {where}{_given(span, where)}" for span, where in parts[1:]]
    nothing = [
        span for span in spans if span not in dict(parts) and (span in PERCEPTUAL or span in ("question", "last"))
    ]
    both = " in both directions at once" if len(directions) > 1 else ""
    tail = ""
    if nothing:
        names = listed([f"`{span}`" for span in nothing])
        apart = [one for one in of_kind(claims, "types") if one.established and one.about.partition(", ")[0] in nothing]
        tail = f"that the states of {names} bring more than half of it{both} is not established"
        tail += ", where types of questions differ" if apart else ""
    return sentence(*whole, tail, "uncontrolled where no control was run" if unsure else "")


def _one_way(most: Sequence[Claim], spans: Sequence[str], direction: str) -> str:
    """Where states carry most of the answer in one direction alone; empty where in no layer."""
    parts = []
    for span in spans:
        curve = [one for one in most if one.about == f"{span}, {direction}"]
        if where := places(curve, [one.found for one in curve]):
            parts.append(f"{name_of(span)} in {where}{_given(span, where, direction)}")
    if not parts:
        return ""
    taken, brought = "states of the other run take most of the answer away", "own states bring most of the answer back"
    return f"{taken if direction == NOISE else f'{brought} in the other run'}: {listed(parts)}"


def _given(span: str, where: str, direction: str = NOISE) -> str:
    """What is so by construction and no finding: a whole image that enters the first layer is the input itself."""
    if span not in PERCEPTUAL or not re.search(r"\b0\b", where):
        return ""
    return f" (in layer 0 they are the {'own' if direction == DENOISE else 'other'} input itself)"


def name_of(span: str) -> str:
    """The states of a span, in words."""
    return _NAMES.get(span, f"the states of `{span}`")


def _abouts(claims: Sequence[Claim], span: str) -> list[str]:
    found = dict.fromkeys(one.about for one in claims if one.about.partition(", ")[0] == span)
    return [about for about in found if about.count(", ") == 1]
