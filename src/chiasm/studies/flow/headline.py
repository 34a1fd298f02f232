"""What a flow run found, in one sentence: which routes carry the answer, in which layers, and which do not."""

from collections.abc import Mapping, Sequence
from typing import Final

from chiasm.core.claims import Claim, of_kind
from chiasm.interventions.states import ABLATE, StateAblation
from chiasm.results.wording import listed, number, places, sentence

_NAMES: Final = {
    "image": "the image",
    "video": "the video",
    "audio": "the sound",
    "question": "the question",
    "last": "the answer",
    "last+answer": "the answer",
    "question+suffix+last+answer": "the question and the answer",
    "answer": "the answer so far",
    "image.object": "the object asked about",
    "image.other": "the rest of the image",
}
_LAST: Final = ("->last", "->last+answer")
_FIRST: Final = ("->question", "->question+suffix+last+answer", *_LAST)
_IMAGE_READ, _QUESTION_READ = "image->question", "question->last"
_ROUTES = 3
_FEW = 60
"""Examples, below which a sentence that establishes nothing says that more would help."""


def flow_headline(claims: Sequence[Claim], *, windows: str = "centred", width: int = 1) -> str:
    """The sentence. `windows`, `width`: how the layers of a cut are counted."""
    effects = of_kind(claims, "effect")
    if not effects:
        return "No route was cut."
    cuts = {cut: of_kind(effects, "effect", cut) for cut in _main(effects)}
    # Where several layers are cut at once, an effect belongs to the window and not to its middle layer alone.
    where = "in" if windows == "centred" and width == 1 else "around" if windows == "centred" else "with windows of"
    types = of_kind(claims, "type")
    early = "" if windows != "centred" else _before_the_image(cuts, width)
    carried = [
        text + early * (cut == _QUESTION_READ)
        for cut, own in cuts.items()
        if (text := _carried(cut, own, where, types))
    ]
    empty = [_route(cut) for cut, own in cuts.items() if all(one.verdict == "practically none" for one in own)]
    open_ = [cut for cut, own in cuts.items() if not any(one.found for one in own)]
    unknown = [_route(cut) for cut in open_ if _route(cut) not in empty]
    parts = list(carried)
    if empty:
        parts.append(f"practically nothing goes {listed(empty)}")
    if unknown and (carried or empty):
        most = _most([one for cut in open_ for one in cuts[cut]])
        parts.append(f"whether anything goes {listed(unknown)} is not established{most}")
    elif unknown:
        parts.append(f"nothing is established of what goes {listed(unknown)}")
        n = max(one.n for one in effects)
        if n < _FEW:
            parts.append(f"{n} examples are few for {len(effects)} effects that have to hold at once")
    if any(one.verdict == "uncontrolled" for own in cuts.values() for one in own):
        parts.append("uncontrolled where no control was run")
    return sentence(*parts)


def _before_the_image(cuts: Mapping[str, Sequence[Claim]], width: int) -> str:
    """That the answer needs the question only where nothing of the image is in it yet; begins with a comma.

    What layer l writes into the question is read from layer l+1 on.
    """
    layers = {
        cut: [int(one.where) for one in cuts.get(cut, ()) if one.found and one.effect < 0]
        for cut in (_IMAGE_READ, _QUESTION_READ)
    }
    written, read = layers[_IMAGE_READ], layers[_QUESTION_READ]
    if not written or not read or max(read) + width // 2 > min(written) - width // 2:
        return ""
    return ", which is before anything of the image is in it"


def _most(of: Sequence[Claim]) -> str:
    """How much it is at most, where that is known of all layers; begins with a space."""
    bounds = [bound for one in of for bound in (one.low, one.high) if bound is not None]
    if not of or len(bounds) < 2 * len(of):
        return ""
    most = number(max(abs(bound) for bound in bounds), unit=of[0].unit, significant=2)
    return f" (at most {most} in any layer)"


def _main(effects: Sequence[Claim]) -> list[str]:
    """The routes a reader asks about first: of whole inputs into the question and the answer, else the first ones."""
    cuts = list(dict.fromkeys(one.about for one in effects))
    whole = [cut for end in _FIRST for cut in cuts if cut.endswith(end) and cut.split("->")[0] in _NAMES]
    plain = [cut for cut in whole if "." not in cut and not cut.startswith("last->")]
    return (plain or cuts)[: max(_ROUTES, len(plain))]


def _carried(cut: str, own: Sequence[Claim], where: str, types: Sequence[Claim]) -> str:
    """Where a route carries something, for which type of question where it is but one, and where cutting it helps."""
    lowers = places(own, [one.found and one.effect < 0 for one in own])
    raises = places(own, [one.found and one.effect > 0 for one in own])
    if "->" not in cut:
        ways = [f"{verb} {where} {at}" for verb, at in (("costs the answer", lowers), ("helps it", raises)) if at]
        return f"taking away what goes {_route(cut)} {' and '.join(ways)}"
    source, target = _ends(cut)
    text = ""
    if lowers:
        how = "directly " if cut.endswith(_LAST) else ""
        text = f"{source} reaches {target} {how}{where} {lowers}{_types(cut, own, types, where)}"
    if raises:
        text += f"{', and ' if text else ''}cutting {cut} makes the answer more probable {where} {raises}"
    return text


def _types(cut: str, own: Sequence[Claim], types: Sequence[Claim], where: str) -> str:
    """The types of questions that an effect is of, where all others show practically none of it."""
    at = [one.where for one in own if one.found and one.effect < 0]
    only: dict[str, list[str]] = {}
    for place in at:
        here = [one for one in types if one.about.startswith(f"{cut}, ") and one.where == place]
        found = [one for one in here if one.established]
        others = [one for one in here if one not in found]
        if found and others and all(one.verdict == "practically none" for one in others):
            only.setdefault(listed([one.about.removeprefix(f"{cut}, ") for one in found]), []).append(place)
    if not only:
        return ""
    if len(at) == 1:
        return f" only for {next(iter(only))}"
    parts = [f"{where} layer{'s' * (len(k) > 1)} {listed(k)} only for {kinds}" for kinds, k in only.items()]
    return f", {' and '.join(parts)}"


def _route(cut: str) -> str:
    if cut.startswith(ABLATE):
        ablation = StateAblation.parse(cut)
        return f"through the states of {_NAMES.get(ablation.span, f'`{ablation.span}`')} ({ablation.method} ablation)"
    if "->" not in cut:
        return f"through `{cut}`"
    source, target = _ends(cut)
    return f"from {source} to {target}{' directly' if cut.endswith(_LAST) else ''}"


def _ends(cut: str) -> tuple[str, str]:
    source, _, target = cut.partition("->")
    return _NAMES.get(source, f"`{source}`"), _NAMES.get(target, f"`{target}`")
