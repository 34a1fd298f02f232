"""What an alignment run found, in one sentence: whether spans are alike beyond controls, and beyond all examples."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import number, places, sentence
from chiasm.studies.align.contrasts import by_depth
from chiasm.studies.align.findings import control_in_words


def align_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    scores = of_kind(claims, "score")
    same = [one for one in scores if one.about.startswith("ima_same ")] or scores
    parts = [_score(one, claims) for one in same[:1]]
    for about, rows in list(by_depth(of_kind(claims, "shared")))[:1]:
        parts.append(_shared(about, rows))
    return sentence(*parts) or "No score of alignment could be taken."


def _score(one: Claim, claims: Sequence[Claim]) -> str:
    name, _, spans = one.about.partition(" of ")
    a, _, b = spans.partition(" and ")
    value = number(one.effect, digits=2)
    text = f"{a} and {b} tokens have an alignment score of {value} ({name})"
    if one.established:
        return f"{text}, beyond its controls"
    if one.verdict == "uncontrolled" or one.control is None:
        return f"{text}, uncontrolled"
    against = of_kind(claims, "score-control", one.about)
    less = [other for other in against if other.control == one.control and other.established and other.effect < 0]
    beside = "" if one.control_effect is None else f" ({number(one.control_effect, digits=2)})"
    if less:
        return f"{text}, below that of {control_in_words(one)}{beside}"
    return f"{text}, not established to go beyond {control_in_words(one)}{beside}"


def _shared(about: str, rows: Sequence[Claim]) -> str:
    a, _, b = about.partition(" and ")
    what = f"that the {a} is nearer to its own {b} than to those of other examples"
    inside = [one.established and one.effect > 0 for one in rows]
    if any(inside):
        return f"{what.removeprefix('that ')} at {places(rows, inside, 'state')}"
    if all(one.verdict == "practically none" for one in rows):
        return f"{what.removeprefix('that ').replace(' is ', ' is practically no ', 1)}"
    return f"{what} is not established beyond the controls"
