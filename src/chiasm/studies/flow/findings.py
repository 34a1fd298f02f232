"""Findings of `chiasm flow` in words, made from its claims: a sentence says nothing that no row of `claims` holds."""

import math
from collections.abc import Sequence
from typing import Literal

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.flow.claims import peak
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.flow.map_findings import map_findings

Windows = Literal["centred", "all", "prefix", "suffix"]
_WHAT = "the answer's log-probability"


def flow_findings(claims: Sequence[Claim], *, layers: int, windows: Windows = "centred") -> list[Finding]:
    """Findings, strongest first: what each cut does and where, how cuts relate, what is practically nothing.

    `layers`: how many the model has.
    """
    effects = of_kind(claims, "effect")
    by_cut = {cut: of_kind(effects, "effect", cut) for cut in dict.fromkeys(one.about for one in effects)}
    scales = {one.about.partition(", ")[0]: one for one in of_kind(claims, "scale")}
    found = [_cut(of_cut, scales, layers, windows) for of_cut in by_cut.values()]
    if not any(one.found for one in effects):
        found.insert(0, _nothing(effects))
    found += [_order(one, windows) for one in of_kind(claims, "order")]
    found += _types(of_kind(claims, "type"), of_kind(claims, "types"), windows)
    found += _forms(of_kind(claims, "form")) + map_findings(claims)
    found += [_noise(one) for one in of_kind(claims, "noise")]
    found.append(_scope(by_cut))
    return sorted(found, key=lambda finding: -finding.strength)


def _cut(of_cut: Sequence[Claim], scales: dict[str, Claim], layers: int, windows: Windows) -> Finding:
    top = peak(of_cut)
    cut, where = top.about, _where(top.where, windows)
    if not any(one.found for one in of_cut):
        nothing = [one.verdict == "practically none" for one in of_cut]
        if all(nothing):
            text = (
                f"Cutting {cut} changes {_WHAT} by practically nothing at any layer: all 95 % intervals lie inside "
                f"the smallest effect worth naming; the largest mean, at {where}, is {claimed(top)}."
            )
            return Finding(text, 0.12)
        also = f" Practically nothing at {_stretches(of_cut, nothing, windows)}." if any(nothing) else ""
        beside = "" if top.control is None else f", where its control ({_label(top)}) has {_nat(top.control_effect)}"
        text = (
            f"Cutting {cut}: no effect is established at any layer; the largest mean change of {_WHAT}, at {where}, "
            f"is {claimed(top)}{beside}.{also}"
        )
        return Finding(text, 0.1)
    parts = []
    for sign, verb in ((-1, "lowers"), (1, "raises")):
        inside = [one.found and math.copysign(1, one.effect) == sign for one in of_cut]
        if any(inside):
            parts.append(f"{verb} {_WHAT if not parts else 'it'} at {_stretches(of_cut, inside, windows)}")
    centres = " (window centres)" if windows == "centred" else ""
    left = ""
    if top.effect < 0:
        left = f", which leaves {number(100 * math.exp(top.effect), unit='%', significant=2)} of the probability"
    text = f"Cutting {cut} {' and '.join(parts)} of {layers}{centres}, most at {where}: {claimed(top)}{left}. "
    if top.verdict == "uncontrolled":
        text += "It is uncontrolled: no control of the same kind stands beside it."
    else:
        text += f"The control that comes nearest there ({_label(top)}) changes it by {_nat(top.control_effect)}."
    scale = scales.get(cut)
    if scale is not None:
        text += f" The scale: {scale.about.partition(', ')[2]} changes it by {claimed(scale)}."
    return Finding(text, _strength(top))


def _nothing(effects: Sequence[Claim]) -> Finding:
    few = max(one.inputs or one.n for one in effects)
    more = f" {few} inputs are few: more are needed to find anything." if few < 12 else ""
    ns = sorted({one.n for one in effects})
    n = f"n = {ns[0]}" if len(ns) == 1 else f"n = {ns[0]} to {ns[-1]}"
    text = f"No cut has an established effect on {_WHAT} at any layer ({n}; corrected over layers and cuts).{more}"
    return Finding(text, 1.0)


def _order(one: Claim, windows: Windows) -> Finding:
    first, last = one.about.split(" before ")
    at = [_where(part, windows) for part in one.where.split(" and ")]
    shown = f"{first} costs most at {at[0]} and {last} at {at[1]}"
    if one.established:
        text = f"{first} comes first and {last} last: {shown}; the difference is {claimed(one, signed=False)}."
        return Finding(text, 0.3)
    return Finding(f"Which cut comes first is not established: {shown}, a difference of {claimed(one)}.", 0.08)


def _types(each: Sequence[Claim], differ: Sequence[Claim], windows: Windows) -> list[Finding]:
    if not each:
        return []
    cut = each[0].about.rpartition(", ")[0]
    held = sum(one.established for one in each)
    weak, strong = (pick(each, key=lambda one: abs(one.effect)) for pick in (min, max))
    text = (
        f"Cutting {cut} at {_where(each[0].where, windows)} has an established effect in {held} of {len(each)} "
        f"question types: from {claimed(weak)} for {weak.about.rpartition(', ')[2]} to {claimed(strong)} for "
        f"{strong.about.rpartition(', ')[2]}."
    )
    for one in differ:
        pair = one.about.rpartition(", ")[2].replace(" against ", " and ")
        how = "differ by" if one.established else "are not established to differ; the difference is"
        text += f" {pair} {how} {claimed(one)}."
    return [Finding(text, 0.25)]


def _forms(each: Sequence[Claim]) -> list[Finding]:
    if not each:
        return []
    leads = [one.found and one.effect > 0 for one in each]
    last = each[-1]
    if not leads[-1]:
        if not any(one.found for one in each):
            return []
        text = f"At the last hidden state the capitalised form less the lower-case one is {claimed(last)}."
        return [Finding(text, 0.06)]
    start = runs_of_true(leads)[-1][0]
    unsure = " (uncontrolled)" if last.verdict == "uncontrolled" else ""
    text = (
        f"At the last position the capitalised answer leads over the lower-case one from hidden state "
        f"{each[start].where} on{unsure}; there the difference of probabilities is {claimed(each[start])}, in the last "
        f"state {claimed(last)}. State 0 is the embeddings."
    )
    return [Finding(text, 0.09)]


def _noise(one: Claim) -> Finding:
    if one.effect == 0:
        return Finding(f"Two runs without any cut agree exactly (n = {one.n}).", 0.05)
    size = number(one.effect, unit=one.unit, significant=2)
    text = f"Arithmetic alone changes {_WHAT} by up to {size} (95th percentile, n = {one.n})"
    return Finding(f"{text}; smaller effects are not named.", 0.05)


def _scope(by_cut: dict[str, list[Claim]]) -> Finding:
    """What was looked at: how many cuts are paid for by the correction, and which of them have no control."""
    without = [cut for cut, of_cut in by_cut.items() if all(one.control is None for one in of_cut)]
    windows = sum(len(of_cut) for of_cut in by_cut.values())
    text = f"Intervals and p-values hold for {len(by_cut)} cuts in {windows} windows of layers at once"
    return Finding(f"{text}; {f'no control stands beside {_and(without)}' if without else 'each has a control'}.", 0.02)


def _strength(top: Claim) -> float:
    """Between 0.3 and 1: uncontrolled effects stand behind established ones."""
    size = 1 - math.exp(-abs(top.effect))
    return 0.3 + (0.7 if top.established else 0.3) * size


def _label(one: Claim) -> str:
    return control_label(one.control or "")


def _nat(effect: float | None) -> str:
    return "an unknown amount" if effect is None else number(effect, unit="nat", signed=True, significant=2)


def _stretches(of_cut: Sequence[Claim], inside: Sequence[bool], windows: Windows) -> str:
    """The layers where `inside` holds, neighbours as ranges; of all windows, how many."""
    if windows == "all":
        return f"{sum(inside)} of {len(inside)} windows"
    return _and([_range(of_cut[a].where, of_cut[b - 1].where, windows) for a, b in runs_of_true(inside)])


def _range(first: str, last: str, windows: Windows) -> str:
    reach = first if first == last else f"{first}-{last}"
    if windows == "prefix":
        return f"cuts of layers 0 to {reach}"
    if windows == "suffix":
        return f"cuts from layer{'' if first == last else 's'} {reach} on"
    return f"layer{'' if first == last else 's'} {reach}"


def _where(where: str, windows: Windows) -> str:
    if windows == "all":
        return f"layers {where}" if "-" in where else f"layer {where}"
    return _range(where, where, windows)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
