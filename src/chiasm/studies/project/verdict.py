"""What the projector does to what can be read, where that is, and what to do: sentences from claims alone."""

from collections.abc import Iterator, Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.studies.project.choice import Choice, choice, learnt, named
from chiasm.studies.project.findings import domains_of, highest, plain, seeds_of, worded, worded_gap
from chiasm.studies.project.scores import LINE, MLP, UNTUNED
from chiasm.studies.project.tables import RANDOM_PROJECTOR, SHUFFLED

_NAMES = {LINE: "a linear probe", MLP: "the paper's MLP", "mlp-code": "the released code's MLP"}
_CONTROLS = {SHUFFLED: "shuffled labels", RANDOM_PROJECTOR: "a projector with its weights in random order"}
PRIMARY = "ft-proj"


def verdict(claims: Sequence[Claim], smallest: float) -> list[Finding]:
    """Per domain: is the projector's output richer after tuning, what the projector does, where classes can be read."""
    found: list[Finding] = []
    for domain in domains_of(claims):
        found += [
            *_richer(domain, claims),
            *_projector(domain, claims),
            *_settings(domain, claims),
            *_layers(domain, claims),
            *_advice(domain, claims, smallest),
        ]
    return found


def of_setting(claims: Sequence[Claim], kind: str, domain: str, setting: str) -> list[Claim]:
    """The claims of a kind about one setting in one domain, whatever the probe."""
    start = f"{domain}, {setting}, "
    return [one for one in of_kind(claims, kind) if one.about.startswith(start)]


def _probe(claim: Claim) -> str:
    return _NAMES.get(_last(claim), _last(claim))


def _last(claim: Claim) -> str:
    return claim.about.rpartition(", ")[2]


def _richer(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """The paper's question, answered by its own probe and by a linear one."""
    each = of_setting(claims, "richness", domain, PRIMARY)
    if not each:
        return
    text = f"Does ft-proj make the projector's output richer in {domain}? "
    score = named(claims, "score", domain, PRIMARY)
    if score is not None and not learnt(claims, domain, PRIMARY):
        text += "No conclusion: it is not shown to have learnt anything here, "
        text += f"macro-F1 {worded(score)}, uniform guessing {plain(score.control_effect)} ({seeds_of(score)}). What "
        yield Finding(f"{text}probes read all the same is in the table of changes.", 98.0)
        return
    if any(one.effect <= 0 or not one.established for one in of_setting(claims, "learned", domain, UNTUNED)):
        text += f"{answer(each)}; the untouched output is not established to be read above that of permuted weights"
    else:
        text += answer(each)
    text += f" ({seeds_of(each[0])})."
    for one in each:
        text += f" What {_probe(one)} reads changes by {worded_gap(one)} macro-F1"
        less = named(claims, "richness-control", domain, PRIMARY, _last(one))
        if one.control is None:
            text += " (uncontrolled)."
        elif less is None:
            text += f"; under shuffled labels by {plain(one.control_effect)}."
        else:
            text += f"; less the change under shuffled labels ({plain(one.control_effect)}) that is {worded_gap(less)}."
    yield Finding(f"{text}{_controls(domain, claims)}", 98.0)


def answer(each: Sequence[Claim]) -> str:
    """`each`: the changes, by probe."""
    signs = {_probe(one): (1 if one.effect > 0 else -1) if one.found else 0 for one in each}
    unsure = ", uncontrolled" if any(one.verdict == "uncontrolled" for one in each) else ""
    match sorted(set(signs.values())):
        case [1]:
            return f"Yes{unsure}"
        case [-1]:
            return f"No, poorer{unsure}"
        case [0]:
            if all(one.verdict == "practically none" for one in each):
                return "Practically unchanged"
            return "No change is established"
        case [-1, *_, 1]:
            return f"It depends on the probe{unsure}"
    probe, sign = next((probe, sign) for probe, sign in signs.items() if sign)
    return f"It is {'richer' if sign > 0 else 'poorer'} for {probe} alone{unsure}"


def _controls(domain: str, claims: Sequence[Claim]) -> str:
    """What the untouched projector's output is read above: without that there is nothing to grow richer or poorer."""
    parts = []
    for one in (*of_setting(claims, "read", domain, UNTUNED), *of_setting(claims, "learned", domain, UNTUNED)):
        if one.where != "post" or one.control is None:
            continue
        control, gap = _CONTROLS[one.control], worded_gap(one)
        between = f"lies above {control} by {gap}" if one.effect >= 0 else f"less {control} is {gap}"
        parts.append(f"Untouched, {_probe(one)} {between}, {_word(one)}.")
    return f" {' '.join(parts)}" if parts else " No control stands beside these probes."


def _word(one: Claim) -> str:
    return one.verdict if one.effect > 0 or not one.established else "established to be below"


def _projector(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """What the untouched projector does to what a linear probe reads, beside one that has learned nothing."""
    gap = named(claims, "projector", domain, UNTUNED, LINE)
    if gap is None:
        return
    verbs = {"practically none": "changes by practically nothing", "not established": "is not established to change"}
    verb = verbs.get(gap.verdict, "raises" if gap.effect > 0 else "lowers")
    text = f"On {domain} the untouched projector {verb} what a linear probe reads ({seeds_of(gap)}): behind it less "
    text += f"before it {worded_gap(gap)} macro-F1"
    if gap.control is None:
        text += "; uncontrolled, as no projector with its weights in random order was probed"
    else:
        text += f". One with its weights in random order changes it by {plain(gap.control_effect)}"
    learned = named(claims, "learned", domain, UNTUNED, LINE)
    if learned is not None:
        text += f". The learned one less that one is {worded_gap(learned)}, {_word(learned)}"
    for other in of_setting(claims, "learned", domain, UNTUNED):
        if other is not learned and other.established:
            text += f". What {_probe(other)} reads of the two differs by {worded_gap(other)}, {_word(other)}"
    yield Finding(f"{text}.", 75.0)


def _settings(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """What each setting that learnt did to what a linear probe reads of the projector's output."""
    prefix = f"{domain}, "
    parts, seeds = [], ""
    for one in of_kind(claims, "richness"):
        if not one.about.startswith(prefix) or not one.about.endswith(f", {LINE}"):
            continue
        setting = one.about.removeprefix(prefix).removesuffix(f", {LINE}")
        if setting != PRIMARY and learnt(claims, domain, setting):
            beside = "uncontrolled" if one.control is None else f"shuffled labels {plain(one.control_effect)}"
            word = "" if one.verdict == "uncontrolled" else f", {one.verdict}"
            parts.append(f"{setting} {worded_gap(one)} ({beside}){word}")
            seeds = seeds_of(one)
    if parts:
        text = f"What a linear probe reads of the projector's output in {domain}, after tuning less before ({seeds}): "
        yield Finding(f"{text}{'; '.join(parts)}.", 65.0)


def _layers(domain: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """In which states the class can be read above shuffled labels: untouched, and where answers are best."""
    parts, control = [], True
    prefix = f"{domain}, "
    every = [one for one in of_kind(claims, "state") if one.about.startswith(prefix)]
    for setting in dict.fromkeys(one.about.removeprefix(prefix).rpartition(", ")[0] for one in every):
        shown = []
        for span, name in (("image", "image tokens"), ("last", "the last token")):
            of = [one for one in of_setting(every, "state", domain, setting) if one.where.endswith(f".{span}")]
            if not of:
                continue
            control = control and all(one.control is not None for one in of)
            there = [one.found and one.effect > 0 for one in of]
            top = max(of, key=lambda one: one.effect)
            where = _states(of, there) if any(there) else "no state"
            shown.append(f"{name}, in {where}; the largest estimate, in state {_state(top)}, is {worded_gap(top)}.")
        parts.append(f"{'Untouched' if setting == UNTUNED else f'After {setting}'}, of {' Of '.join(shown)}")
    if parts:
        above = "above shuffled labels" if control else "above uniform guessing, uncontrolled"
        text = (
            f"Where a linear probe reads {domain} in the decoder, {above} ({seeds_of(every[0])}). {' '.join(parts)} "
            "Intervals hold for all states at once; one state was not tested against another."
        )
        yield Finding(text, 70.0)


def _states(of: Sequence[Claim], there: Sequence[bool]) -> str:
    stretches = [(_state(of[a]), _state(of[b - 1])) for a, b in runs_of_true(there)]
    shown = [a if a == b else f"{a}-{b}" for a, b in stretches]
    return f"state{'' if len(shown) == 1 and '-' not in shown[0] else 's'} {', '.join(shown)}"


def _state(one: Claim) -> str:
    return one.where.split(".")[1]


def _advice(domain: str, claims: Sequence[Claim], smallest: float) -> Iterator[Finding]:
    """Which setting to take, what that costs, and what is left in the model's states."""
    if not any(one.about.startswith(f"{domain}, ") for one in of_kind(claims, "gain")):
        return
    best = choice(claims, domain, smallest)
    if best is None:
        text = (
            f"What to do in {domain}: no setting is recommended, as none is established to answer better than uniform "
            f"guessing and than the untouched model{highest(domain, claims)}."
        )
        yield Finding(f"{text}{_left(domain, UNTUNED, claims)}", 99.0)
        return
    score = named(claims, "score", domain, best.chosen)
    assert score is not None
    text = f"What to do in {domain}: tune by {best.chosen} ({seeds_of(score)}). It has macro-F1 {worded(score)}, "
    text += f"uniform guessing {plain(score.control_effect)}.{_instead(best, smallest)}"
    text += f"{_skill_lost(domain, best.chosen, claims)}{_left(domain, best.chosen, claims)}"
    yield Finding(text, 99.0)


def _instead(best: Choice, smallest: float) -> str:
    if best.between is None:
        return ""
    return (
        f" {best.best} is higher by {worded_gap(best.between)} and changes more; by the bound of that interval "
        f"less than {plain(smallest)} is lost."
    )


def _skill_lost(domain: str, chosen: str, claims: Sequence[Claim]) -> str:
    lost = named(claims, "skill", domain, chosen)
    if lost is None or lost.verdict == "practically none":
        return ""
    if lost.established and lost.effect < 0:
        return f" It costs general skill: {worded_gap(lost)} of {plain(lost.control_effect)} of held-out scenes."
    return f" Whether it costs general skill is not established: {worded_gap(lost)} of held-out scenes."


def _left(domain: str, setting: str, claims: Sequence[Claim]) -> str:
    """What a linear probe reads of the tower, and of the last token, that the model does not say."""
    held = of_setting(claims, "held", domain, setting)
    if not held:
        return " What its states hold was not probed."
    tower = [one for one in held if not one.where.startswith("layer.")]
    inside = next((one for one in held if one.where.startswith("layer.")), None)
    more = [one for one in tower if one.found and one.effect > 0]
    whose = "the untouched model" if setting == UNTUNED else setting
    if not more:
        shown = "; ".join(f"{one.where} {worded_gap(one)}" for one in tower)
        return (
            f" Whether a linear probe reads more of the tower's states than {whose} says is not established: {shown}."
        )
    top = max(more, key=lambda one: one.effect)
    unsure = ", uncontrolled" if top.verdict == "uncontrolled" else ""
    text = f" A linear probe on the tower's states ({top.where}) reads {worded_gap(top)} macro-F1 more than {whose} "
    text += f"answers ({plain(top.control_effect)}{unsure})."
    if inside is not None:
        text += f" Of the last token in the last state the difference is {worded_gap(inside)}, {inside.verdict}"
        reaches = inside.established and inside.effect > 0
        text += ": part of it reaches the last token and not the answer." if reaches else "."
    return f"{text}{_labels_alone(domain, setting, top, claims)}"


def _labels_alone(domain: str, setting: str, top: Claim, claims: Sequence[Claim]) -> str:
    """A probe on one site beside the model where it, too, may only name a label, and what either was trained on."""
    forced = [one for one in of_setting(claims, "held-labels", domain, setting) if one.where == top.where]
    trained = next(iter(of_kind(claims, "trained", domain)), None)
    if not forced:
        return ""
    one, model = forced[0], "the untouched model" if setting == UNTUNED else setting
    text = f" What the probe on {top.where} reads less the most probable label of {model} is {worded_gap(one)}, "
    text += one.verdict
    if trained is not None:
        same = "the model on none of them" if setting == UNTUNED else "the model on the same"
        text += f"; the probe was trained on {trained.effect:.0f} images of {domain}, {same}"
    if setting != UNTUNED and one.established and one.effect > 0:
        return f"{text}. For labels alone, that probe is the better model."
    return f"{text}."
