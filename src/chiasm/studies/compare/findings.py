"""Whether the alignment score goes with how well models answer, in words made from claims alone."""

from collections.abc import Sequence

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.correlation import MIN_POINTS
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.compare.claims import ACCURACY

ENOUGH = 8
"""With fewer models figures and sentences say that they are too few."""


def compare_findings(claims: Sequence[Claim]) -> list[Finding]:
    """One finding for each score against accuracy and other outcomes, and what so few models allow to say."""
    related, outcomes = of_kind(claims, "relation"), of_kind(claims, "outcome")
    models = max((one.n for one in (*related, *outcomes)), default=0)
    found = [_few(models, of_kind(claims, "power"))] if 0 < models < ENOUGH else []
    found += relation_findings(related, "accuracy") + relation_findings(outcomes, "other outcomes")
    found += [accuracies(of_kind(claims, ACCURACY)), *_scores(of_kind(claims, "score"))]
    return sorted(found, key=lambda finding: -finding.strength)


def _few(models: int, power: Sequence[Claim]) -> Finding:
    if models < MIN_POINTS:
        return Finding(f"n = {models} models cannot show a relation; {MIN_POINTS} give an interval.", 95.0)
    least = "".join(
        f": the least p-value that they can give is {number(one.effect, significant=2)}" for one in power[:1]
    )
    return Finding(f"n = {models} models are too few to say much{least}.", 95.0)


def relation_findings(related: Sequence[Claim], over: str) -> list[Finding]:
    """Whether scores go with an outcome; those that are not established share a sentence."""
    tested = [one for one in related if one.p is not None]
    found = [_relation(one) for one in tested if one.found]
    others = [one for one in tested if not one.found]
    if others:
        each = "; ".join(f"{_named(one)}, {claimed(one)}" for one in others)
        text = f"Not established over models (Spearman; corrected for all of them): {each}."
        found.append(Finding(text, 50.0))
    without = [one for one in related if one.quantity.endswith("no spread")]
    if without:
        each = "; ".join(_named(one) for one in without)
        found.append(Finding(f"Nothing to relate, since one of the two is the same for all models: {each}.", 10.0))
    return found


def _named(one: Claim) -> str:
    """A relation with the outcome in words."""
    score, _, outcome = one.about.rpartition(" with ")
    metric, _, task = outcome.partition(" (")
    known = ANSWER_METRICS.get(metric)
    if known is None or not task:
        return one.about
    direction = "more is better" if known.more_is_better else "less is better"
    return f"{score} with {known.title} ({task.rstrip(')')}; {direction})"


def _relation(one: Claim) -> Finding:
    how = "rises" if one.effect > 0 else "falls"
    text = (
        f"Over models the score {how} with the outcome: {_named(one)}, Spearman {claimed(one)}. It is uncontrolled: "
        "models that differ in score differ in more; those that share weights or training are no independent points."
    )
    return Finding(text, 80.0 + 5.0 * abs(one.effect))


def _scores(each: Sequence[Claim]) -> list[Finding]:
    """The scores of all models; no control stands beside them."""
    found = []
    for name in dict.fromkeys(one.about.rpartition(" in ")[0] for one in each):
        own = [one for one in each if one.about.rpartition(" in ")[0] == name]
        shown = "; ".join(f"{one.about.rpartition(' in ')[2]} {claimed(one, signed=False)}" for one in own)
        text = f"Scores, {name} (mean token), uncontrolled and each with an interval of its own: {shown}."
        found.append(Finding(text, 30.0))
    return found


def accuracies(each: Sequence[Claim]) -> Finding:
    """How well every model answers."""
    if not each:
        return Finding("The examples have no labels, so there is no accuracy; see the other measures.", 45.0)
    shown = "; ".join(f"{one.about} {claimed(one, signed=False, significant=None)}" for one in each)
    return Finding(f"Right answers, each with an interval of its own: {shown}.", 40.0)
