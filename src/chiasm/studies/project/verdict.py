"""What the projector does to what can be read, where that is, and what to do: the sentences behind the probes.

Every number stands in a table of the run; pairs are compared image by image.
"""

from collections.abc import Iterator

import polars as pl

from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.results.findings import Finding
from chiasm.results.series import in_order
from chiasm.results.wording import estimate, percent
from chiasm.studies.project.findings import (
    Skill,
    best_setting,
    reference_mean,
    seed_range,
    skills,
    worded,
    worded_gap,
)
from chiasm.studies.project.scores import (
    LINE,
    MLP,
    UNTUNED,
    ProbeAnswers,
    ProbeSite,
    Runs,
    difference,
    macro_f1,
    runs_of,
    sign_of,
)
from chiasm.studies.project.tables import BEFORE, NEIGHBOURS, OWN, RANDOM, RANDOM_PROJECTOR, RANK, SHUFFLED

_NEAR = 0.9  # of the highest: where the last token counts as carrying a class
_NAMES = {LINE: "a line", MLP: "the paper's MLP", "mlp-code": "the released code's MLP"}
# From what leaves most as it is to what leaves least.
_LIGHTEST = ("ft-proj", "ft-proj-lowlr", "ft-proj-released", "ft-lora", "ft-e2e", "ft-tower")


def verdict(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    references: pl.DataFrame | None,
    probed: pl.DataFrame,
    representations: pl.DataFrame,
) -> list[Finding]:
    """Per domain: is the projector's output richer after tuning, what the projector does, where classes can be read."""
    found: list[Finding] = []
    for domain in in_order(tuning, "domain"):
        of, own = ProbeAnswers.of(probed, domain), tuning.filter(domain=domain, projector=OWN)
        shape = representations.filter(domain=domain, projector=OWN)
        if not of.rows.height:
            continue
        chance = reference_mean(references, domain, RANDOM) or 0.0
        found += [
            *_richer(domain, of, own),
            *_projector(domain, of, shape),
            *_settings(domain, of, own, shape),
            *_layers(domain, of, own),
            *_advice(domain, of, own, predictions.filter(domain=domain, projector=OWN), chance),
        ]
    return found


def _richer(domain: str, of: ProbeAnswers, own: pl.DataFrame) -> Iterator[Finding]:
    """The paper's question, answered by its own probe and by a line."""
    names = [probe for probe in (MLP, LINE) if probe in of.probes] or of.probes[:1]
    signs, parts, n = {}, [], 0
    for probe in names:
        sites = ProbeSite("ft-proj", POST, probe), ProbeSite(UNTUNED, POST, probe)
        gap, after, before = of.gap(*sites), of.score(sites[0]), of.score(sites[1])
        if gap is None or after is None or before is None:
            continue
        signs[probe], n = sign_of(gap), gap.n
        change = f"{after.mean:.3f} after and {before.mean:.3f} before ({worded_gap(gap, brackets=False)})"
        parts.append(f"{_NAMES[probe]} reads macro-F1 {change}")
    if not signs:
        return
    seeds = own.filter(setting="ft-proj").height
    text = f"Does FT-Proj make the projector's output richer in {domain}? {_answer(signs)}: {'; '.join(parts)}; "
    text += f"n = {n} images, {seeds} {'seed' if seeds == 1 else 'seeds'}"
    floor = of.score(ProbeSite("ft-proj", POST, names[0], SHUFFLED))
    text += f"; learned from shuffled labels: {floor.mean:.3f}" if floor is not None else ""
    yield Finding(f"{text}.", 98.0)


def _answer(signs: dict[str, int]) -> str:
    """`signs`: of the change, by probe."""
    match sorted(set(signs.values())):
        case [1]:
            return "Yes"
        case [-1]:
            return "No, poorer"
        case [0]:
            return "No change is sure"
        case [-1, *_, 1]:
            return "It depends on the probe"
    probe, sign = next((probe, sign) for probe, sign in signs.items() if sign)
    return f"It is {'richer' if sign > 0 else 'poorer'} for {_NAMES[probe]} alone"


def _projector(domain: str, of: ProbeAnswers, shape: pl.DataFrame) -> Iterator[Finding]:
    """What the untouched projector does to what a line reads, beside one that has learned nothing."""
    gap = of.gap(ProbeSite(UNTUNED, POST), ProbeSite(UNTUNED, PRE))
    before, after = of.score(ProbeSite(UNTUNED, PRE)), of.score(ProbeSite(UNTUNED, POST))
    if gap is None or before is None or after is None:
        return
    verb = {1: "gains", 0: "neither surely gains nor loses", -1: "loses"}[sign_of(gap)]
    text = f"On {domain} the untouched projector {verb} what a line can read: {before.mean:.3f} before it, "
    text += f"{after.mean:.3f} behind ({worded_gap(gap, brackets=False)}, n = {gap.n})"
    random = ProbeSite(UNTUNED, POST, LINE, RANDOM_PROJECTOR)
    learned, score = of.gap(ProbeSite(UNTUNED, POST), random), of.score(random)
    if learned is not None and score is not None:
        what = {1: "adds to that", 0: "makes no sure difference to that", -1: "costs some of that"}[sign_of(learned)]
        text += (
            f"; behind a projector with its weights in random order {score.mean:.3f}, so what it has learned {what} "
            f"({worded_gap(learned, brackets=False)})"
        )
    kept = _mean(shape.filter(setting=UNTUNED, where=POST, against=PRE, quantity=NEIGHBOURS))
    ranks = [_mean(shape.filter(setting=UNTUNED, where=where, quantity=RANK)) for where in (PRE, POST)]
    if kept is not None and None not in ranks:
        text += (
            f". It keeps {percent(kept)} of an image's nearest neighbours; effective rank {ranks[0]:.1f} before, "
            f"{ranks[1]:.1f} behind"
        )
    yield Finding(f"{text}.", 75.0)


def _settings(domain: str, of: ProbeAnswers, own: pl.DataFrame, shape: pl.DataFrame) -> Iterator[Finding]:
    """How far each setting moved the projector, and what that did to its output."""
    parts, n = [], 0
    for name in in_order(own, "setting"):
        gap = of.gap(ProbeSite(name, POST), ProbeSite(UNTUNED, POST)) if name != UNTUNED else None
        if gap is None:
            continue
        moved = own.filter(setting=name)["projector_drift"].mean()
        rank = _mean(shape.filter(setting=name, where=POST, quantity=RANK))
        kept = _mean(shape.filter(setting=name, where=POST, against=BEFORE, quantity=NEIGHBOURS))
        beside = "" if kept is None else f", {percent(kept)} of neighbours kept"
        beside += "" if rank is None else f", effective rank {rank:.1f}"
        parts.append(f"{name} {worded_gap(gap, brackets=False)} (weights moved by {moved:.2f} of their size{beside})")
        n = gap.n
    if parts:
        text = f"What a line reads of the projector's output in {domain}, against before tuning: {'; '.join(parts)}"
        yield Finding(f"{text}; n = {n}.", 65.0)


def _layers(domain: str, of: ProbeAnswers, own: pl.DataFrame) -> Iterator[Finding]:
    """Where the class can be read, in image tokens and at the last token, before tuning and where answers are best."""
    states = of.states
    if len(states) < 2 or LINE not in of.probes:
        return
    parts, n = [], 0
    for name in dict.fromkeys((UNTUNED, best_setting(own))):
        image, last = (
            {k: score for k in states if (score := of.score(ProbeSite(name, f"layer.{k}.{span}"))) is not None}
            for span in ("image", "last")
        )
        if len(image) < len(states) or len(last) < len(states):
            continue
        top = max(states, key=lambda k: float(last[k].mean))
        best, end, n = last[top], states[-1], last[top].n
        first = next(k for k in states if last[k].mean >= _NEAR * best.mean)
        parts.append(
            f"{'untouched' if name == UNTUNED else f'after {name}'}, image tokens give {image[states[0]].mean:.3f} "
            f"where they enter and {image[end].mean:.3f} at state {end}, the last token at most {worded(best)} at "
            f"state {top}, and nine tenths of that from state {first} on"
        )
    if parts:
        text = f"Where a line reads {domain} in the decoder (macro-F1, n = {n}): {'; '.join(parts)}."
        yield Finding(text, 70.0)


def _advice(
    domain: str, of: ProbeAnswers, own: pl.DataFrame, predictions: pl.DataFrame, chance: float
) -> Iterator[Finding]:
    """Which setting to take, what is left in the model's states, and where to look for more.

    The setting: of those that are not surely worse than the best (paired over images), the one that changes least;
    none where the best is neither surely above the untouched model nor above `chance` (macro-F1 of uniform answers).
    """
    found = {name: runs_of(predictions.filter(setting=name)) for name in in_order(own, "setting")}
    runs = {name: run for name, run in found.items() if run is not None}
    tuned = {name: macro_f1(*run) for name, run in runs.items() if name != UNTUNED}
    if not tuned or UNTUNED not in runs:
        return
    best = max(tuned, key=lambda name: float(tuned[name].mean))
    bought = difference(runs[best], runs[UNTUNED])
    if sign_of(bought) < 1 or tuned[best].low <= chance:
        what = "the untouched model" if sign_of(bought) < 1 else f"chance ({chance:.3f})"
        text = f"What to do in {domain}: no setting answers surely better than {what}; {best} reaches macro-F1 "
        text += f"{worded(tuned[best])}, {worded_gap(bought)} against the untouched model, n = {bought.n}. "
        yield Finding(f"{text}{_left(of, best, runs[best])}", 99.0)
        return
    equal = [name for name in tuned if sign_of(difference(runs[name], runs[best])) >= 0]
    chosen = min(equal, key=lambda name: _LIGHTEST.index(name) if name in _LIGHTEST else len(_LIGHTEST))
    score = tuned[chosen]
    text = f"What to do in {domain}: tune by {chosen}, macro-F1 {worded(score, score.n)}, {seed_range(own, chosen)}"
    if chosen != best:
        more = worded_gap(difference(runs[best], runs[chosen]), brackets=False)
        text += f"; {best} is higher, not surely ({more}), and changes more"
    text += f". {_skill_lost(own, chosen)}{_left(of, chosen, runs[chosen])}"
    yield Finding(text, 99.0)


def _left(of: ProbeAnswers, setting: str, answered: Runs) -> str:
    """What a line reads of the tower, and of the last token, that the model does not say."""
    shown = {where: of.score(ProbeSite(setting, where)) for where in (CLS, PRE)}
    seen = {where: score for where, score in shown.items() if score is not None}
    if not seen:
        return "What its states hold was not probed."
    where = max(seen, key=lambda name: float(seen[name].mean))
    tower, states = of.runs(ProbeSite(setting, where)), of.states
    assert tower is not None
    more = difference(tower, answered)
    if sign_of(more) < 1:
        return f"It says about what a line reads of its tower ({worded(seen[where])}): more needs a better tower."
    text = f"A line on its tower's states ({where}) reads {worded(seen[where])}, {worded_gap(more)} against the "
    text += "answers: "
    inside = of.runs(ProbeSite(setting, f"layer.{states[-1]}.last")) if states else None
    if inside is None:
        return f"{text}for labels alone, that is the better model."
    held = difference(inside, answered)
    if sign_of(held) > 0:
        text += (
            f"part of it reaches the last token and not the answer ({worded_gap(held, brackets=False)}), so more steps "
            "or a higher rate for the decoder come before another projector"
        )
    else:
        text += "it does not reach the last token, so the way through the decoder is what to tune, or to tune longer"
    return f"{text}; for labels alone, that line is the better model."


def _skill_lost(own: pl.DataFrame, chosen: str) -> str:
    """What the chosen setting surely costs in general skill, and which one costs least."""
    left = skills(own)
    if chosen not in left or left[chosen].share.high >= left[UNTUNED].share.low:
        return ""
    before, after = left.pop(UNTUNED), left[chosen]
    most = min(left, key=lambda name: (-left[name].mean, name))
    beside = f"; {most} keeps most, {_skill(left[most])}" if most != chosen else ""
    return (
        f"It costs general skill: {_skill(before)} of {before.share.n} scenes right before, "
        f"{_skill(after)} after{beside}. "
    )


def _skill(of: Skill) -> str:
    return estimate(of.mean, float(of.share.low), float(of.share.high), unit="%", digits=0, scale=100.0)


def _mean(rows: pl.DataFrame) -> float | None:
    """The mean over seeds."""
    return float(rows["mean"].mean()) if rows.height else None  # type: ignore[arg-type]
