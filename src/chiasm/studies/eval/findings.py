"""What an evaluation found, in words, made from its claims: a sentence says nothing that no row of `claims` holds."""

from collections.abc import Sequence
from typing import Any

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.claims import Claim, of_kind
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, metric_format, number, percent
from chiasm.studies.eval.claims import ALL

_ONE_INPUT = "no interval from questions on one input"


def eval_findings(claims: Sequence[Claim]) -> list[Finding]:
    """Right answers over all, against guessing and against not seeing; then by type."""
    found = [_overall(right, _one(claims, "gain")) for right in of_kind(claims, "right", ALL)[:1]]
    found += [_seen(seen, _one(claims, "unseen")) for seen in of_kind(claims, "seen", ALL)[:1]]
    found += [_types(claims, types) for types in of_kind(claims, "types")]
    return found


def metric_findings(claims: Sequence[Claim]) -> list[Finding]:
    """One finding per measure over all examples, in the order of the table, beside what a blind model reaches.

    Measures that only describe (lengths, the share of yes) stand beside those that they explain.
    """
    seen = {one.about: one for one in of_kind(claims, "measure-seen")}
    context = {one.about: one for one in of_kind(claims, "context")}
    found = []
    for place, one in enumerate(of_kind(claims, "measure")):
        title = one.quantity[0].upper() + one.quantity[1:]
        parts = [f"{title} {_level(one)}"]
        beside = seen.get(one.about)
        if beside is not None:
            blank = number(beside.control_effect or 0.0, **_written(one.about))
            parts.append(f"with the image blanked {blank}, {_judged(beside)}")
        elif one.control is None:
            parts.append("uncontrolled, as no blind control stands beside it")
        more = _context(one.about, context)
        found.append(Finding("; ".join([*parts, *([more] if more else [])]) + ".", 90.0 - place))
    return found


def _overall(right: Claim, gain: Claim) -> Finding:
    guess = f"the {percent((gain.control_effect or 0.0) / 100, 1)} of {gain.control} of the type"
    share, _, interval = _level(right).partition(" (")
    text = f"{share} of questions are answered correctly ({interval}"
    match gain.verdict:
        case "established":
            text += f", above {guess}: {_points(gain)}."
        case "practically none":
            text += f", practically the same as {guess}: {_points(gain)}."
        case _:
            text += f", not established to be above {guess}: {_points(gain)}."
    return Finding(text, 100.0)


def _seen(seen: Claim, unseen: Claim) -> Finding:
    blank = f"with every image blanked {_level(unseen)} are right"
    match seen.verdict:
        case "established" if seen.effect > 0:
            text = f"Seeing the image adds {_points(seen)}: {blank}."
        case "established":
            text = f"Seeing the image costs right answers, {_points(seen)}: {blank}."
        case "practically none":
            text = f"Seeing the image changes practically nothing, {_points(seen)}: {blank}."
        case _:
            text = f"That seeing the image adds right answers is not established, {_points(seen)}: {blank}."
    return Finding(text, 99.0)


def _types(claims: Sequence[Claim], types: Claim) -> Finding:
    """Type by type against guessing, and the best against the worst."""
    gains = of_kind(claims, "type-gain")
    above = [one.about for one in gains if one.established and one.effect > 0]
    others = [one.about for one in gains if one.about not in above]
    text = (
        f"More are right than {gains[0].control} would get in {len(above) or 'none'} of {len(gains)} question types "
        f"(corrected over types){f'; not established in {_and(others)}' if others and above else ''}. "
    )
    best, worst = types.about.split(" against ")
    levels = {one.about: one for one in of_kind(claims, "type-right")}
    if levels[best].effect == levels[worst].effect:
        share = number(levels[best].effect, unit="%")
        text += f"All types have the same share of right answers, {share}: two of them differ by {_points(types)}."
        return Finding(text, 50.0)
    shares = f"{best} ({number(levels[best].effect, unit='%')}) and {worst} ({number(levels[worst].effect, unit='%')})"
    match types.verdict:
        case "established":
            text += f"Types differ: {shares}, the best and the worst, by {_points(types)}."
        case "practically none":
            text += f"Types are practically alike: {shares}, the best and the worst, differ by {_points(types)}."
        case _:
            text += f"That types differ is not established: the best and the worst, {shares}, by {_points(types)}."
    return Finding(text, 50.0)


def _one(claims: Sequence[Claim], kind: str) -> Claim:
    return of_kind(claims, kind, ALL)[0]


def _points(one: Claim) -> str:
    return claimed(one, significant=None)


def _judged(beside: Claim) -> str:
    """What seeing the image does to a measure."""
    options: dict[str, Any] = {"significant": None} | ({} if beside.unit == "points" else {"digits": 2})
    difference = claimed(beside, **options)
    match beside.verdict:
        case "established":
            return f"a difference of {difference}"
        case "practically none":
            return f"practically the same: {difference}"
        case _:
            return f"a difference that is not established: {difference}"


def _level(one: Claim) -> str:
    """`95.0 % (95 % interval 91.4 to 97.1, n = 240 on 60 inputs)`."""
    written = _written(one.about if one.kind == "measure" else "accuracy")
    if one.low is None or one.high is None:
        missing = _ONE_INPUT if one.inputs == 1 else "too few for an interval"
        return f"{number(one.effect, **written)} ({missing}, n = {one.n})"
    return claimed(one, signed=False, significant=None, **{k: v for k, v in written.items() if k != "unit"})


def _written(name: str) -> dict[str, Any]:
    """How values of a measure are written; a claim of a share is in % already."""
    return {key: value for key, value in metric_format(ANSWER_METRICS[name]).items() if key != "scale"}


def _context(name: str, context: dict[str, Claim]) -> str:
    """What the number has to be read beside: always saying yes, or how many words the texts have."""
    if name == "pope_f1" and "always yes" in context:
        parts = [f"always yes would reach {number(context['always yes'].effect, unit='%')}"]
        if "pope_yes_share" in context:
            parts.append(f"{number(context['pope_yes_share'].effect, unit='%')} of answers are yes")
        unclear = context.get("pope_unclear")
        if unclear is not None and unclear.effect > 0:
            share = number(unclear.effect, unit="%")
            parts.append(f"{share} say neither yes nor no (wrong where they hedge, else taken for yes)")
        return ", ".join(parts)
    if name in ("chair_i", "chair_s", "cider_d") and "caption_words" in context:
        return f"at {number(context['caption_words'].effect)} words a text"
    return ""


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
