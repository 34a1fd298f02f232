"""What cuts do to single words of the answer, in words, made from their claims."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind, strongest
from chiasm.data.answer_words import NOT_THERE, THERE
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, listed, lowered, number
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.flow.value_path import changing
from chiasm.studies.flow.word_claims import cut_of, group_of

Stretches = Callable[[Sequence[Claim], Sequence[bool]], str]
_EACH: Final[dict[str, Any]] = {"unit": "nat a token"}
_BEYOND: Final = "word-contrast-beyond"


def word_findings(claims: Sequence[Claim], stretches: Stretches) -> list[Finding]:
    """One finding for every cut: which groups of words it changes and where; what another image changes of them;
    objects that are not there beside those that are; how many words there were. `stretches`: names layers of claims.
    """
    counts = of_kind(claims, "word-count")
    if not counts:
        return []
    cuts: dict[str, dict[str, list[Claim]]] = {}
    for one in of_kind(claims, "word"):
        cuts.setdefault(cut_of(one.about), {}).setdefault(group_of(one.about), []).append(one)
    found = [_cut(cut, groups, stretches) for cut, groups in cuts.items()]
    found += _scale(of_kind(claims, "word-scale"))
    found.append(_contrast(counts, of_kind(claims, "word-contrast"), of_kind(claims, _BEYOND), stretches))
    found.append(_counted(counts, of_kind(claims, "word-base")))
    return found


def word_notes(claims: Sequence[Claim]) -> list[str]:
    """What was followed, and what groups of words are."""
    counts = of_kind(claims, "word-count")
    if not counts:
        return []
    found = [
        "Every word of the model's own greedy answer was followed, its tokens teacher-forced. A word's probability is "
        "the geometric mean over its tokens. Words are told apart by lists (objects, function words, what the data's "
        "own vocabulary has); no parts of speech are guessed.",
        "Groups differ in more than what they name: in how probable their words are before anything is cut, in how "
        "many tokens they have, and in where they stand in the answer. A later word can be read off earlier ones.",
    ]
    if any(one.about in (THERE, NOT_THERE) for one in counts):
        found.append(
            "Which objects are there is known by CHAIR's rule, from the names of boxes and what captions name: where "
            "they leave an object out, naming it counts as wrong."
        )
    return found


def _cut(cut: str, groups: Mapping[str, list[Claim]], stretches: Stretches) -> Finding:
    tops = {group: top for group, every in groups.items() if (top := strongest(every)) is not None}
    affected = sorted((group for group in tops if tops[group].found), key=lambda group: -abs(tops[group].effect))
    nothing = [group for group, every in groups.items() if all(one.verdict == "practically none" for one in every)]
    unknown = [group for group in groups if group not in affected and group not in nothing]
    if affected:
        parts = [_group(group, groups[group], tops[group], stretches) for group in affected]
        text = f"{changing(cut)}, by groups of words of the answer. {'. '.join(map(_begun, parts))}."
    else:
        group, top = max(tops.items(), key=lambda item: abs(item[1].effect))
        text = (
            f"{changing(cut)}: for no group of words of the answer is an effect established at any layer; the largest "
            f"mean change, of {group} at {stretches([top], [True])}, is {claimed(top, **_EACH)}."
        )
    if nothing:
        text += f" Practically nothing at any layer: {listed(nothing)}."
    if unknown and affected:
        text += f" Not established at any layer: {listed(unknown)}."
    most = max(abs(tops[group].effect) for group in affected) if affected else 0.0
    return Finding(text, 0.3 + 0.65 * most / (1 + most) if affected else 0.11)


def _group(group: str, every: Sequence[Claim], top: Claim, stretches: Stretches) -> str:
    parts = []
    for sign, verb in ((-1, "lose"), (1, "gain")):
        inside = [one.found and one.effect * sign > 0 for one in every]
        if any(inside):
            parts.append(f"{verb} at {stretches(every, inside)}")
    text = f"{group} {' and '.join(parts)}{_most(every, top, stretches)}: {claimed(top, **_EACH)}"
    if top.control is None:
        return f"{text} (uncontrolled: no control stands beside it)"
    effect = number(top.control_effect or 0.0, unit="nat", signed=True, significant=2)
    return f"{text}; the control that comes nearest there ({control_label(top.control, cut_of(top.about))}): {effect}"


def _most(every: Sequence[Claim], top: Claim, stretches: Stretches) -> str:
    """Where it is largest, where that is one of several layers."""
    return f", most at {stretches([top], [True])}" if sum(one.found for one in every) > 1 else ""


def _begun(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _scale(scales: Sequence[Claim]) -> list[Finding]:
    found = []
    for what in dict.fromkeys(cut_of(one.about) for one in scales):
        own = sorted((one for one in scales if cut_of(one.about) == what), key=lambda one: one.effect)
        each = "; ".join(f"{group_of(one.about)} by {claimed(one, **_EACH)}" for one in own)
        found.append(Finding(f"For scale, no control: {what} changes the words of the answer, {each}.", 0.29))
    return found


def _contrast(
    counts: Sequence[Claim], contrasts: Sequence[Claim], beyond: Sequence[Claim], stretches: Stretches
) -> Finding:
    count = {one.about: one for one in counts}
    there, absent = count.get(THERE), count.get(NOT_THERE)
    if there is None and absent is None:
        return Finding(
            "What objects the answers name rightly is not known: no list of objects, or none was named.", 0.04
        )
    if absent is None:
        return Finding(f"No answer names an object that is not there ({_number(there)} that are).", 0.1)
    if not contrasts:
        text = f"Objects that are not there were named {_times(absent)}, those that are {_times(there)}"
        return Finding(f"{text}: too few to compare (both are needed in {MIN_INPUTS} inputs).", 0.1)
    named = f"Objects that are not there ({_number(absent)}) beside objects that are ({_number(there)})"
    found = [one for one in contrasts if one.found]
    if not found:
        top = max(contrasts, key=lambda one: abs(one.effect))
        where = f"{changing(cut_of(top.about))} at {stretches([top], [True])}"
        nothing = all(one.verdict == "practically none" for one in contrasts)
        how = (
            "differ by practically nothing in what any cut does to them"
            if nothing
            else ("are not established to differ in what any cut does to them")
        )
        return Finding(f"{named} {how}; the largest difference, {where}, is {claimed(top, **_EACH)}.", 0.12)
    parts = []
    for cut in dict.fromkeys(cut_of(one.about) for one in found):
        every = [one for one in contrasts if cut_of(one.about) == cut]
        top = strongest(every)
        assert top is not None
        here = stretches(every, [one.found for one in every])
        side = "more" if top.effect < 0 else "less"
        parts.append(
            f"{lowered(changing(cut))} costs them {side} at {here}{_most(every, top, stretches)}: the difference is "
            f"{claimed(top, **_EACH)}, those that are there change by "
            f"{number(top.control_effect or 0.0, unit='nat', signed=True, significant=2)}{_conditions(top, beyond)}"
        )
    return Finding(f"{named}: {'; '.join(parts)}.", 0.6)


def _conditions(top: Claim, beyond: Sequence[Claim]) -> str:
    """What is left of a difference beside the control that comes nearest to it."""
    own = [one for one in beyond if (one.about, one.where) == (top.about, top.where)]
    if not own:
        return " (uncontrolled)" if top.verdict == "uncontrolled" else ""
    other = min(own, key=lambda one: abs(one.effect))
    label = control_label(other.control or "", cut_of(top.about))
    return f", and beyond what the control ({label}) shows of it the difference is {claimed(other, **_EACH)}"


def _counted(counts: Sequence[Claim], untouched: Sequence[Claim]) -> Finding:
    base = {one.about: one for one in untouched}
    few = [one for one in counts if (one.inputs or 0) < MIN_INPUTS]
    parts = [
        f"{one.about} ({_number(one)}, untouched {claimed(base[one.about], **_EACH)})"
        for one in counts
        if one.about in base
    ]
    text = f"Words followed: {'; '.join(parts)}." if parts else "Words were followed."
    if few:
        held = listed([f"{one.about} ({_number(one)})" for one in few])
        text += f" Too few to say anything of, as fewer than {MIN_INPUTS} inputs have them: {held}."
    return Finding(text, 0.05)


def _number(one: Claim | None) -> str:
    if one is None:
        return "none"
    return f"{one.effect:.0f} word{'' if one.effect == 1 else 's'} in {one.n} answer{'' if one.n == 1 else 's'}"


def _times(one: Claim | None) -> str:
    return "never" if one is None else f"{one.effect:.0f} time{'' if one.effect == 1 else 's'} in {one.inputs} inputs"
