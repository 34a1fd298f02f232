"""Where inside, in words, made from claims: a sentence says nothing that no row of them holds."""

from collections.abc import Mapping, Sequence

import polars as pl

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.inside.claims import claims


def inside_findings(tables: Mapping[str, pl.DataFrame], *, seed: int = 0) -> list[Finding]:
    """What attribution, neurons and concepts show, strongest first."""
    return findings_of(claims(tables, seed=seed))


def findings_of(found: Sequence[Claim]) -> list[Finding]:
    """The same from claims."""
    made = _complete(found)
    made += [_pointing(about, of) for about, of in _by_part(found, "pointing")]
    made += [_faithful(about, of) for about, of in _by_part(found, "deletion", "insertion")]
    made += [_modality(about, of) for about, of in _by_part(found, "modality")]
    made += [_neurons(one) for one in of_kind(found, "neurons")]
    made += [_specific(one) for one in of_kind(found, "specific")]
    made += [_kept(of_kind(found, "kept"))] if of_kind(found, "kept") else []
    made += [_concepts(about, of) for about, of in _by_part(found, "concept")]
    return sorted(made, key=lambda finding: -finding.strength)


def _by_part(found: Sequence[Claim], *kinds: str) -> list[tuple[str, list[Claim]]]:
    """The claims of some kinds by domain and setting, `scenes (as given)`."""
    of = [one for one in found if one.kind in kinds]
    parts = dict.fromkeys(one.about.rpartition(", ")[0] for one in of)
    return [(part, [one for one in of if one.about.rpartition(", ")[0] == part]) for part in parts]


def _complete(found: Sequence[Claim]) -> list[Finding]:
    shares, errors = of_kind(found, "complete"), {one.about: one for one in of_kind(found, "error")}
    if not shares:
        return []
    parts = []
    for one in shares:
        whole = round(one.effect * one.n / 100)
        median = f" (median error {number(errors[one.about].effect, unit='%')})" if one.about in errors else ""
        parts.append(f"{one.about} in {whole} of {one.n} maps{median}")
    text = f"Attributions add up to the answer within 5 %: {'; '.join(parts)}."
    lacking = any(one.effect < 100 for one in shares)
    if lacking:
        text += " Maps that do not are withheld, and nothing is said of them."
    return [Finding(text, 75.0 if lacking else 20.0)]


def _pointing(about: str, of: Sequence[Claim]) -> Finding:
    parts = []
    for one in of:
        method = one.about.rpartition(", ")[2]
        beside = "uncontrolled, as there are no other examples' maps"
        if one.control is not None:
            beside = f"{one.control} {number(one.control_effect or 0.0, unit='points', signed=True)}"
        parts.append(f"{method} {_points(one)}, {_verdict(one)}; {beside}")
    text = (
        f"On {about}, positive attribution on what is asked about, less the share of the image's tokens that its boxes "
        f"cover: {'. '.join(parts)}."
    )
    return Finding(text, 70.0 if any(one.established for one in of) else 30.0)


def _faithful(about: str, of: Sequence[Claim]) -> Finding:
    methods = dict.fromkeys(one.about.rpartition(", ")[2] for one in of)
    parts = []
    for method in methods:
        both = [one for one in of if one.about.rpartition(", ")[2] == method]
        shown = " and ".join(f"{one.kind} {claimed(one, significant=None, digits=2)}" for one in both)
        sure = all(one.established and one.effect > 0 for one in both)
        parts.append(f"{method} {shown}, {'established' if sure else 'not established'}")
    sure = all(one.established and one.effect > 0 for one in of)
    text = (
        f"On {about}, how much sooner the answer is lost (deletion) and found (insertion) along the maps than in "
        f"random order, as area between the curves: {'; '.join(parts)}."
    )
    return Finding(text, 40.0 if sure else 35.0)


def _modality(about: str, of: Sequence[Claim]) -> Finding:
    parts = [
        f"{one.about.rpartition(', ')[2]} {_points(one)} beyond the {number(one.control_effect or 0.0, unit='%')} "
        f"found with no image, {_verdict(one)}"
        for one in of
    ]
    return Finding(f"On {about}, the image's share of the answer, against the question's: {'; '.join(parts)}.", 25.0)


def _neurons(one: Claim) -> Finding:
    part, _, which = one.about.partition(", ")
    control = number(one.control_effect or 0.0, unit="nat", signed=True, digits=2)
    change = claimed(one, significant=None, digits=2)
    text = f"On {part}, examples that did not choose them, without the {which}, the answer's lead over the runner-up"
    match one.verdict:
        case "established":
            text += (
                f" {'falls' if one.effect < 0 else 'rises'} by more than without {one.control} ({control}): {change}."
            )
        case "practically none":
            text += f" changes practically as without {one.control} ({control}): {change}."
        case _:
            text += f" is not established to change beyond that without {one.control} ({control}): {change}."
    return Finding(text, (45.0 if one.established else 15.0) - (10.0 if which.endswith("other images") else 0.0))


def _specific(one: Claim) -> Finding:
    part, _, groups = one.about.partition(", ")
    low, high = (number(bound or 0.0, signed=True) for bound in (one.low, one.high))
    text = (
        f"On {part}, neurons specific to some of {groups}: {number(one.effect, signed=True)} beyond the "
        f"{number(one.control_effect or 0.0)} of shuffled groups (by 95 % of shuffles {low} to {high}, n = {one.n} "
        f"images), {_verdict(one)}."
    )
    return Finding(text, 28.0 if one.established else 12.0)


def _kept(of: Sequence[Claim]) -> Finding:
    parts = ", ".join(f"{one.about} {number(one.effect, unit='%', digits=0)} of {one.n}" for one in of)
    return Finding(f"Specific neurons shared before and after tuning (one model each: no interval): {parts}.", 14.0)


def _concepts(about: str, of: Sequence[Claim]) -> Finding:
    names = list(dict.fromkeys(one.about.rpartition(", ")[2] for one in of))
    used = []
    for name in names:
        sure = [one for one in of if one.established and one.about.endswith(f", {name}")]
        if sure:
            top = strongest(sure)
            assert top is not None
            layers = ", ".join(one.where for one in sure)
            beside = number(top.control_effect or 0.0, unit="%")
            used.append(
                f"{name} at layers {layers} (layer {top.where}: {_points(top)}; along random concepts {beside})"
            )
    if used:
        text = f"On {about}, {len(used)} of {len(names)} concepts move the answer further than random concepts do"
        return Finding(f"{text} (corrected over layers and concepts): {'; '.join(used)}.", 32.0)
    top = strongest(of)
    assert top is not None
    text = (
        f"On {about}, none of {len(names)} concepts is established to move the answer further than random concepts do "
        f"(corrected over layers and concepts); most {top.about.rpartition(', ')[2]} at layer {top.where}: "
    )
    return Finding(f"{text}{_points(top)}; along random concepts {number(top.control_effect or 0.0, unit='%')}.", 11.0)


def _points(one: Claim) -> str:
    return claimed(one, significant=None)


def _verdict(one: Claim) -> str:
    return (
        f"which is {'' if one.established else 'not '}established" if one.verdict != "practically none" else one.verdict
    )
