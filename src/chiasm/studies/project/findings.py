"""What tuning bought, and what other projectors did, in words, made from the claims of a run and from nothing else."""

from collections.abc import Iterator, Sequence

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind
from chiasm.results import wording
from chiasm.results.findings import Finding
from chiasm.studies.project.choice import choice, learnt, named, settings_of
from chiasm.studies.project.scores import UNTUNED
from chiasm.studies.project.tables import IMAGE_LINEAR, IMAGE_MLP, OWN, TOWER

_REFERENCES = {
    TOWER: "the tower's zero-shot",
    IMAGE_LINEAR: "a linear classifier on CLS",
    IMAGE_MLP: "an MLP on CLS",
}
NOT_LEARNT = "is not shown to have learnt anything"


def worded(claim: Claim) -> str:
    """A level with interval, p and n."""
    return _usable(claim, 0.0) or wording.claimed(claim, signed=False, significant=None, digits=3)


def worded_gap(claim: Claim) -> str:
    """A difference with interval, p and n."""
    return _usable(claim, -1.0) or wording.claimed(claim, significant=None, digits=3)


def unusable(claim: Claim, least: float = -1.0) -> bool:
    """Whether the interval is all that a value can be, from `least` to 1."""
    return claim.low is not None and claim.high is not None and claim.low <= least and claim.high >= 1


def _usable(claim: Claim, least: float) -> str:
    """How a claim is written whose interval says nothing; else no text."""
    if not unusable(claim, least):
        return ""
    count = seeds_of(claim).partition(" ")[0]
    who = "two seeds give" if count == "2" else f"{count} seed{' gives' if count == '1' else 's give'}"
    on = "" if claim.inputs in (None, claim.n) else f" on {claim.inputs} inputs"
    return f"{wording.number(claim.effect, digits=3, signed=least < 0)} ({who} no usable interval, n = {claim.n}{on})"


def plain(value: float | None) -> str:
    """A level that stands beside another: that of a control."""
    return "unknown" if value is None else wording.number(value, digits=3)


def seeds_of(claim: Claim) -> str:
    """`3 seeds`, or that there is one and the interval says nothing of others."""
    return claim.quantity.rpartition(", ")[2]


def domains_of(claims: Sequence[Claim]) -> list[str]:
    """The domains of a run, in its order."""
    return list(dict.fromkeys(one.about.rpartition(", ")[0] for one in of_kind(claims, "score")))


def tuning_findings(claims: Sequence[Claim], smallest: float) -> list[Finding]:
    """What learnt nothing, first; the paper's ordering; per domain the best setting, form against knowledge, costs."""
    found = []
    for domain in domains_of(claims):
        found += [*_nothing(domain, claims), *_best(domain, claims, smallest)]
        found += [*_form(domain, claims), *_cost(domain, claims)]
    found.append(_ordering(claims))
    broken = of_kind(claims, "diverged")
    if broken:
        names = "; ".join(f"{one.about}: step {one.effect:.0f}" for one in broken)
        found.append(Finding(f"The loss was no number any more, and the last good state was scored: {names}.", 90.0))
    return sorted(found, key=lambda finding: -finding.strength)


def _nothing(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """The settings that learnt nothing, and that nothing follows from them on richness; more is in a table."""
    parts, names, score = [], [], None
    for name in settings_of(claims, domain):
        score = named(claims, "score", domain, name)
        if name == UNTUNED or score is None or learnt(claims, domain, name):
            continue
        below = ", below guessing" if score.established and score.effect < (score.control_effect or 0) else ""
        text = f"{name} {worded(score)}{below}{_untaught(domain, name, claims)}"
        invalid = named(claims, "invalid", domain, name)
        if invalid is not None and invalid.established:
            text += f"; {wording.percent(invalid.effect, 1)} of its answers name no class"
        parts.append(text)
        names.append(name)
    if not parts or score is None:
        return
    be, it = ("is", "it") if len(parts) == 1 else ("are", "them")
    text = (
        f"On {domain}, {_and(names)} {be} not shown to have learnt anything ({seeds_of(score)}), so nothing is "
        f"concluded from {it} on richness. Macro-F1, where uniform guessing gives {plain(score.control_effect)}: "
        f"{'. '.join(parts)}."
    )
    yield Finding(text, 110.0)


def _untaught(domain: str, name: str, claims: Sequence[Claim]) -> str:
    """Where a setting is above guessing and has learnt nothing all the same: its gain over the untouched model."""
    score, gain = named(claims, "score", domain, name), named(claims, "gain", domain, name)
    if score is None or gain is None or not (score.established and score.effect > (score.control_effect or 0)):
        return ""
    return f", against the untouched model {worded_gap(gain)}"


def reason(claim: Claim, smallest: float, *, untaught: bool = False) -> str:
    """Why a claim about a difference is not established, in a few words; empty where it is.

    `untaught`: it is about a setting that is not shown to have learnt anything.
    """
    if claim.verdict != "not established":
        return ""
    if claim.low is None or claim.high is None or (claim.inputs is not None and claim.inputs < MIN_INPUTS):
        return f"too few images ({claim.n if claim.inputs is None else claim.inputs})"
    if unusable(claim):
        return f"{seeds_of(claim)} give no usable interval"
    if claim.low <= 0 <= claim.high:
        return "the interval holds 0"
    if abs(claim.effect) < smallest:
        return f"smaller than {wording.number(smallest, significant=2)}"
    if untaught:
        return "the setting is not shown to have learnt anything"
    return "not beyond its controls"


def _ordering(claims: Sequence[Claim]) -> Finding:
    pairs: list[tuple[Claim, bool]] = []
    for domain in domains_of(claims):
        gain = named(claims, "gain", domain, "ft-proj")
        for better, worse in (("ft-e2e", "ft-proj"), ("ft-proj", "ft-e2e")):
            pair = named(claims, "pair", domain, f"{better} against {worse}")
            if pair is not None:
                pairs.append((pair, better == "ft-e2e"))
        if gain is not None:
            pairs.append((gain, True))
    whole = all(
        any(one.kind == kind and one.about.startswith(f"{domain}, ") for one, _ in pairs)
        for domain in domains_of(claims)
        for kind in ("gain", "pair")
    )
    if not pairs or not whole:
        return Finding("The paper's ordering was not tested: it needs zero-shot, ft-proj and ft-e2e.", 1.0)
    right = [one.established and (one.effect > 0) == way for one, way in pairs]
    wrong = [one.established and (one.effect > 0) != way for one, way in pairs]
    verdict = "holds" if all(right) else "is contradicted" if any(wrong) else f"is established in {_some(right)}"
    parts = " ".join(f"{_pair(one)}: {worded_gap(one)}." for one, _ in pairs)
    text = (
        f"The paper's ordering ft-e2e > ft-proj > zero-shot {verdict} ({seeds_of(pairs[0][0])}). In macro-F1: {parts}"
    )
    return Finding(text, 100.0)


def _some(right: Sequence[bool]) -> str:
    """In how many pairs something is established: none of them, or some."""
    if any(right):
        return f"{sum(right)} of {len(right)} pairs"
    return "neither pair" if len(right) == 2 else "none of the pairs"


def _pair(one: Claim) -> str:
    return f"{one.about} against {one.control}" if one.kind == "gain" else one.about


def _best(domain: str, claims: Sequence[Claim], smallest: float) -> Iterator[Finding]:
    best = choice(claims, domain, smallest)
    beside = [one for one in of_kind(claims, "reference") if one.about.rpartition(", ")[0] == domain]
    without = ", ".join(f"{_REFERENCES[name]} {worded(one)}" for one in beside if (name := _last(one)) in _REFERENCES)
    without = f" Without a language model: {without} macro-F1." if without else ""
    if best is None:
        if without:
            yield Finding(
                f"On {domain} no setting is established to have learnt anything{highest(domain, claims)}.{without}",
                80.0,
            )
        return
    score, gain = named(claims, "score", domain, best.best), named(claims, "gain", domain, best.best)
    assert score is not None
    text = f"On {domain}, {best.best} has the highest macro-F1 of the settings that learnt ({seeds_of(score)}): "
    text += f"{worded(score)}, uniform guessing {plain(score.control_effect)}"
    if gain is not None:
        text += f". Against the untouched model that is {worded_gap(gain)}"
    yield Finding(f"{text}.{without}", 80.0)


def highest(domain: str, claims: Sequence[Claim]) -> str:
    """Of what was tuned and learnt nothing, the highest macro-F1 and what it lacks; begins with a colon."""
    tuned = [name for name in settings_of(claims, domain) if name != UNTUNED]
    scores = [(one, name) for name in tuned if (one := named(claims, "score", domain, name))]
    if not scores:
        return ""
    top, name = max(scores, key=lambda pair: pair[0].effect)
    text = f": the highest, {name}, has macro-F1 {worded(top)}, uniform guessing {plain(top.control_effect)}"
    return f"{text}{_untaught(domain, name, claims)}"


def _form(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """Where free answers are worse than the most probable label, and that is established to be better than chance."""
    parts = []
    for name in settings_of(claims, domain):
        form, among = named(claims, "form", domain, name), named(claims, "labels", domain, name)
        if form is None or among is None or not form.established or form.effect <= 0:
            continue
        if among.established and among.effect > (among.control_effect or 0):
            parts.append(
                f"{name} is right in {plain(form.control_effect)} of the images in free answers and in {worded(among)} "
                f"among the labels, {worded_gap(form)} more"
            )
    if parts:
        yield Finding(f"On {domain} part of what is missing is form, not knowledge: {'; '.join(parts)}.", 60.0)


def _cost(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    of = {name: one for name in settings_of(claims, domain) if (one := named(claims, "skill", domain, name))}
    if not of:
        return
    first = next(iter(of.values()))
    lost = [name for name, one in of.items() if one.established and one.effect < 0]
    kept = [name for name, one in of.items() if one.verdict == "practically none"]
    text = f"Of the held-out scenes the untouched model answers {wording.percent(first.control_effect or 0)} right."
    text += (
        f" Tuning on {domain} lowers that in {_and(lost)}"
        if lost
        else f" Whether tuning on {domain} costs any is not established"
    )
    text += f", and changes it by practically nothing in {_and(kept)}" if kept else ""
    after = "; ".join(f"{name} {worded_gap(one)}" for name, one in of.items())
    yield Finding(f"{text}: {after} ({seeds_of(first)}).", 50.0)


def capacity_findings(claims: Sequence[Claim]) -> list[Finding]:
    """Which projectors get furthest, and whether larger ones do: a sentence for every domain and setting."""
    found = []
    levels = of_kind(claims, "capacity")
    for where in dict.fromkeys(one.about.rpartition(", ")[0] for one in levels):
        here = {_last(one): one for one in levels if one.about.rpartition(", ")[0] == where}
        own = here.pop(OWN, None)
        if not here:
            continue
        domain, _, setting = where.rpartition(", ")
        best = max(here, key=lambda name: here[name].effect)
        worse = [
            name
            for name in here
            if (p := named(claims, "capacities", where, f"{best} against {name}")) and p.established
        ]
        text = (
            f"Of {len(here)} other projectors under {setting} on {domain}, `{best}` has the highest macro-F1, "
            f"{worded(here[best])}, uniform guessing {plain(here[best].control_effect)} ({seeds_of(here[best])})"
        )
        if len(here) > 1:
            text += f". That it is better is established against {len(worse)} of the {len(here) - 1} others"
        text += f". The model's own, which has seen many more images, gets {worded(own)}" if own is not None else ""
        for trend in of_kind(claims, "trend", where):
            verb = "" if trend.found else ", not established"
            name = trend.quantity.partition(", ")[0]
            text += f". {name[0].upper()}{name[1:]}: {worded_gap(trend)}{verb} (uncontrolled)"
        found.append(Finding(f"{text}.", 45.0))
    return found


def _last(one: Claim) -> str:
    return one.about.rpartition(", ")[2]


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
