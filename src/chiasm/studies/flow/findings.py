"""Findings of `chiasm flow` in words, made from its claims: a sentence says nothing that no row of `claims` holds."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.flow.head_findings import head_findings
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.flow.map_findings import map_findings
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.sufficiency_findings import sufficiency_findings
from chiasm.studies.flow.value_path import changing, value_path_findings
from chiasm.studies.flow.word_findings import word_findings

Windows = Literal["centred", "all", "prefix", "suffix"]
_WHAT = "the answer's log-probability"
_CHANGE: dict[str, Any] = {"signed": True, "significant": 3}
_MOST = 1000  # %: upper bounds of a relative change beyond it rest on examples whose clean probability is tiny


def flow_findings(
    claims: Sequence[Claim], *, layers: int, windows: Windows = "centred", different: int | None = None
) -> list[Finding]:
    """Findings, strongest first: what each cut does and where, how cuts relate, what is practically nothing.

    `layers`: how many the model has. `different`: of how many different windows a sweep consists, where several are the
    same.
    """
    effects = of_kind(claims, "effect")
    by_cut = {cut: of_kind(effects, "effect", cut) for cut in dict.fromkeys(one.about for one in effects)}
    least = next((one for one in of_kind(claims, "smallest")), None)
    beside = _Beside(
        {(one.kind, one.about, one.where): one for one in claims},
        {one.about.partition(", ")[0]: one for one in of_kind(claims, "scale")},
        {one.about: one for one in of_kind(claims, "peak")},
        least,
    )
    found = [_cut(of_cut, beside, layers, windows) for of_cut in by_cut.values()]
    if not any(one.found for one in effects):
        found.insert(0, _nothing(effects))
    found += [_order(one, windows) for one in of_kind(claims, "order")]
    found += _all_types(of_kind(claims, "type"), of_kind(claims, "types"), windows)
    found += _forms(of_kind(claims, "form")) + head_findings(claims) + map_findings(claims)
    found += sufficiency_findings(claims)
    found += word_findings(claims, lambda own, inside: _stretches(own, inside, windows))
    found += value_path_findings(claims, lambda own, inside: _stretches(own, inside, windows))
    found += [_noise(one, least) for one in of_kind(claims, "noise")]
    found += _rounding(of_kind(claims, "rounding"))
    found.append(_scope(by_cut, least, different))
    return sorted(found, key=lambda finding: -finding.strength)


class _Beside(NamedTuple):
    """What is said beside an effect: rows by kind, cut and layer, scales and peaks by cut, the smallest effect."""

    rows: dict[tuple[str, str, str], Claim]
    scales: dict[str, Claim]
    peaks: dict[str, Claim]
    least: Claim | None

    def row(self, kind: str, of: Claim) -> Claim | None:
        return self.rows.get((kind, of.about, of.where))


def _cut(of_cut: Sequence[Claim], beside: _Beside, layers: int, windows: Windows) -> Finding:
    top = peak(of_cut)
    cut = top.about
    if not any(one.found for one in of_cut):
        return _no_effect(of_cut, beside, windows)
    parts = []
    for sign, verb in ((-1, "lowers"), (1, "raises")):
        inside = [one.found and math.copysign(1, one.effect) == sign for one in of_cut]
        if any(inside):
            parts.append(f"{verb} {_WHAT if not parts else 'it'} at {_stretches(of_cut, inside, windows)}")
    centres = " (window centres)" if windows == "centred" else ""
    most, left = _most(top, beside.peaks.get(cut), windows), ""
    if top.effect < 0:
        left = number(100 * math.exp(top.effect), unit="%", significant=2)
        left = f", which leaves {left} of the probability (geometric mean{_published(beside.row('published', top))})"
    text = f"{changing(cut)} {' and '.join(parts)} of {layers}{centres}, most at {most}: {claimed(top)}{left}. "
    if top.verdict == "uncontrolled":
        text += "It is uncontrolled: no control of the same kind stands beside it."
    else:
        text += f"{_compared(top, beside)}."
    held_back = [_held_back(one, beside.least) for one in of_cut]
    if any(held_back):
        where = _stretches(of_cut, held_back, windows)
        text += f" At {where} it differs from 0, but is not established to differ from its control."
    part = beside.row("part", top)
    if part is not None:
        text += _part(part)
    mean = beside.row("averaged", top)
    if mean is not None:
        text += (
            f" With nothing blocked but every key holding the mean state of all of them, it changes by {claimed(mean)} "
            "(uncontrolled)."
        )
    scale = beside.scales.get(cut)
    if scale is not None:
        text += f" For reference, no control: {scale.about.partition(', ')[2]} changes it by {claimed(scale)}."
    return Finding(text, _strength(top))


def _held_back(one: Claim, least: Claim | None) -> bool:
    """Whether an effect is there but for its control."""
    if one.verdict != "not established" or one.control is None or one.low is None or one.high is None:
        return False
    large = least is None or abs(one.effect) >= least.effect
    return large and (one.low > 0 or one.high < 0) and (one.inputs or one.n) >= MIN_INPUTS


def _part(one: Claim) -> str:
    """A cut beside the one that it is a part of."""
    whole = f"cutting {one.control} changes it by {_nat(one.control_effect)}"
    if one.established:
        more = "more" if one.effect < 0 else "less"
        return f" In the same examples {whole} there: the part costs {more}, the difference is {claimed(one)}."
    how = "practically the same" if one.verdict == "practically none" else "not established to differ"
    return f" In the same examples {whole} there, which is {how}: the difference is {claimed(one)}."


def _most(top: Claim, most: Claim | None, windows: Windows) -> str:
    """Around which layers a cut does most, and where this may be as well."""
    if most is None:
        return _where(top.where, windows)
    first, _, last = most.where.partition("-")
    text = _range(first, last or first, windows) + (", whose windows are the same" if last else "")
    if not int(first) <= int(top.where) <= int(last or first):
        # The largest mean is one of those that are not established.
        text = f"{_where(top.where, windows)} of these (the largest mean change is that at {text}, not established)"
    if most.found or most.low is None or most.high is None:
        return text
    return f"{text} (in 95 % of resamples at {_range(f'{most.low:.0f}', f'{most.high:.0f}', windows)})"


def _no_effect(of_cut: Sequence[Claim], beside: _Beside, windows: Windows) -> Finding:
    """A cut without an effect at any layer; the larger what may be there, the further in front."""
    top, least = peak(of_cut), beside.least
    cut, where = top.about, _where(top.where, windows)
    nothing = [one.verdict == "practically none" for one in of_cut]
    if all(nothing):
        text = (
            f"{changing(cut)} changes {_WHAT} by practically nothing at any layer: all 95 % intervals lie within "
            f"{_least(least)}; the largest mean, at {where}, is {claimed(top)}."
        )
        return Finding(text, 0.12)
    also = (
        f" Practically nothing at {_stretches(of_cut, nothing, windows)}: within {_least(least)}."
        if any(nothing)
        else ""
    )
    control = "" if top.control is None else f" {_compared(top, beside)}."
    text = (
        f"{changing(cut)}: no effect is established at any layer; the largest mean change of {_WHAT}, at {where}, "
        f"is {claimed(top)}.{control}{also}"
    )
    return Finding(text, 0.1 + 0.02 * (1 - math.exp(-abs(top.effect))))


def _compared(top: Claim, beside: _Beside) -> str:
    """An effect beside the control that comes nearest to it: the control's own, the difference, what it may reach."""
    text = f"The control that comes nearest there ({_label(top)}) changes it by {_nat(top.control_effect)}"
    difference, reach = beside.row("beyond", top), beside.row("reach", top)
    if difference is not None:
        text += f"; the difference is {claimed(difference)}"
    if reach is not None and not top.established:
        text += f"; one more random model may change it by up to {_size(reach)} at some layer, by {reach.n} of them"
    return text


def _least(least: Claim | None) -> str:
    """The smallest effect worth naming, as an interval lies in it."""
    return "the smallest effect worth naming" if least is None else f"±{_size(least)}, the smallest effect worth naming"


def _size(least: Claim) -> str:
    return number(least.effect, unit=least.unit, significant=2)


def _published(one: Claim | None) -> str:
    """The paper's own measure beside a geometric mean, with an upper bound only where it is one to read."""
    if one is None:
        return ""
    text = f"; the published measure, the mean relative change: {number(one.effect, **_CHANGE, unit='%')}"
    if one.low is None or one.high is None:
        return text
    high = f"above {_MOST:+d}" if one.high > _MOST else number(one.high, **_CHANGE)
    return f"{text}, 95 % interval {number(one.low, **_CHANGE)} to {high}"


def _nothing(effects: Sequence[Claim]) -> Finding:
    few = max(one.inputs or one.n for one in effects)
    more = f" {few} inputs are few: more are needed to find anything." if few < 12 else ""
    ns = sorted({one.n for one in effects})
    n = f"n = {ns[0]}" if len(ns) == 1 else f"n = {ns[0]} to {ns[-1]}"
    text = f"No cut has an established effect on {_WHAT} at any layer ({n}; corrected over layers and cuts).{more}"
    return Finding(text, 1.0)


def _order(one: Claim, windows: Windows) -> Finding:
    first, last = one.about.split(" before ")
    parts = [part.partition("-") for part in one.where.split(" and ")]
    at = [_range(first, last or first, windows) for first, _, last in parts]
    shown = f"{first} costs most at {at[0]} and {last} at {at[1]}"
    said = claimed(one, signed=False, unit="layer" if abs(one.effect) == 1 else "layers")
    if one.established:
        of = "the difference, in the examples that have all of these cuts, is"
        return Finding(f"{first} comes before {last}: {shown}; {of} {said}.", 0.3)
    of = "a difference, in the examples that have all of these cuts, of"
    return Finding(f"Which cut comes first is not established: {shown}, {of} {said}.", 0.08)


def _all_types(each: Sequence[Claim], differ: Sequence[Claim], windows: Windows) -> list[Finding]:
    """By type, the strongest effect first, of which most is said of in a page."""
    places = dict.fromkeys((one.about.rpartition(", ")[0], one.where) for one in each)
    found = []
    for cut, where in places:
        own, pairs = (
            [one for one in several if one.about.startswith(f"{cut}, ") and one.where == where]
            for several in (each, differ)
        )
        found.append(_types(own, pairs, windows, 0.07 if found else 0.25))
    return found


def _types(each: Sequence[Claim], differ: Sequence[Claim], windows: Windows, strength: float) -> Finding:
    cut = each[0].about.rpartition(", ")[0]
    held = sum(one.established for one in each)
    weak, strong = (pick(each, key=lambda one: abs(one.effect)) for pick in (min, max))
    text = (
        f"{changing(cut)} at {_where(each[0].where, windows)} has an established effect in {held} of {len(each)} "
        f"question types: from {claimed(weak)} for {weak.about.rpartition(', ')[2]} to {claimed(strong)} for "
        f"{strong.about.rpartition(', ')[2]}."
    )
    nulls = [one.control_effect for one in each if one.control_effect is not None]
    if nulls:
        reach = f"{_nat(min(nulls))} to {_nat(max(nulls))}"
        label = _label(next(one for one in each if one.control))
        text += f" Type by type, the control ({label}) has {reach}; it was tested over all types together."
    else:
        text += " They are uncontrolled: no control stands beside single types."
    for one in differ:
        pair = one.about.rpartition(", ")[2].replace(" against ", " and ")
        how = "differ by" if one.established else "are not established to differ; the difference is"
        text += f" {pair} {how} {claimed(one)}; the pair was picked, and p allows for it."
    return Finding(text, strength)


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


def _noise(one: Claim, least: Claim | None) -> Finding:
    if one.effect == 0:
        return Finding(f"Two runs without any cut agree exactly (n = {one.n}).", 0.05)
    size = number(one.effect, unit=one.unit, significant=2)
    text = f"In 95 % of examples arithmetic alone changes {_WHAT} by no more than {size} (n = {one.n})"
    if least is not None:
        text += f"; effects below {_size(least)}, the smallest effect worth naming, are not named"
    return Finding(f"{text}.", 0.05)


def _rounding(sizes: Sequence[Claim]) -> list[Finding]:
    """What computing in half precision does to the numbers of this run."""
    if not sizes:
        return []
    single, mean = sizes
    text = (
        f"Computed in half precision, as the model is served: beside float32 with the same weights, rounding moves 99 "
        f"% of single effects by no more than {_size(single)} (n = {single.n}) and may move a mean by "
        f"{_size(mean)}, below which nothing is named. Without --dtype effects are free of it."
    )
    return [Finding(text, 0.28)]


def _scope(by_cut: dict[str, list[Claim]], least: Claim | None, different: int | None) -> Finding:
    """What was looked at: how many cuts are paid for by the correction, and which of them have no control."""
    without = [cut for cut, of_cut in by_cut.items() if all(one.control is None for one in of_cut)]
    each = sorted({len(of_cut) for of_cut in by_cut.values()})
    windows = " to ".join(str(count) for count in dict.fromkeys((each[0], each[-1])))
    cuts = f"{len(by_cut)} cut{'' if len(by_cut) == 1 else 's'}"
    same = f" ({different} different)" if different is not None and different < each[-1] else ""
    plural = "" if each[-1] == 1 else "s"
    text = f"Intervals and p-values hold for {cuts} x {windows} window{plural} of layers{same} at once"
    text += f"; {f'no control stands beside {_and(without)}' if without else 'each has a control'}"
    if least is not None:
        text += f"; the smallest effect worth naming is {_size(least)}"
    return Finding(f"{text}.", 0.02)


def _strength(top: Claim) -> float:
    """Between 0.3 and 1: uncontrolled effects stand behind established ones."""
    size = 1 - math.exp(-abs(top.effect))
    return 0.3 + (0.7 if top.established else 0.3) * size


def _label(one: Claim) -> str:
    return control_label(one.control or "", one.about)


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
