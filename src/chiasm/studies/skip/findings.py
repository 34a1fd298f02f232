"""What skipping costs and saves, in words, made from a run's claims: a sentence says nothing that no row holds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.wording import alone, bounds, claimed, named, number, percent, probability
from chiasm.studies.skip.decision import saves_time
from chiasm.studies.skip.tables import NONE, TRAINED_PLAIN, TRAINED_WITH_PLAN, UNTRAINED
from chiasm.studies.skip.time_findings import time_in_short, time_words, times
from chiasm.studies.skip.ways import right_answers

_POINTS: dict[str, Any] = {"significant": None, "digits": 1}
_PARTS = {"ffn": "the feed-forward", "attention": "the attention"}


def skip_findings(claims: Sequence[Claim], span: str = "image") -> list[Finding]:
    """The recommended plan, how good the plain model is, what plans lose, the search and FastV against chance, tokens
    of images against text, times, where the work matters, and what training gives back; strongest first.

    `span`: the tokens whose work is left out.
    """
    where = _where(claims, span)
    if not of_kind(claims, "recommended"):
        found = [Finding("No plan has been verified yet: the run is not finished.", 100.0), where]
    else:
        found = [
            where,
            _recommended(claims),
            _untouched(of_kind(claims, "score")),
            _losses(of_kind(claims, "loss")),
            _against_chance(claims, "search", "Random layers at about as many operations", "the search's plan", 80.0),
            _against_chance(claims, "drop", "As many tokens dropped at random", "dropping by attention (FastV)", 50.0),
            _logprobs(of_kind(claims, "logprob")),
            _modalities(of_kind(claims, "modality"), of_kind(claims, "modality-span")),
            times(claims),
            _beaten(of_kind(claims, "beaten")),
            _recovery(claims),
        ]
    return sorted((one for one in found if one is not None), key=lambda finding: -finding.strength)


def points(loss: float) -> str:
    """A share of right answers in points of a hundred."""
    value = round(100 * loss, 1) + 0.0  # no minus before nought
    return f"{value:g} point{'' if abs(value) == 1 else 's'}"


def lost(claim: Claim) -> str:
    """What a plan does to right answers, in the word that its interval allows: a negative loss is a gain."""
    if claim.low is None or claim.high is None:
        return f"what it loses is not known ({_brackets(claim)})"
    if claim.low > 0:
        return f"it loses {_amount(claim.effect)} ({_brackets(claim)})"
    if claim.high < 0:
        return f"it gains {_amount(-claim.effect)} ({_brackets(_flipped(claim))})"
    return f"whether it loses right answers is not established: {right_answers(claim)}"


def _within(loss: Claim) -> str:
    """What a plan loses that is established to keep within the loss allowed."""
    if loss.low is not None and loss.high is not None and loss.low <= 0 <= loss.high:
        return f"under it there are {right_answers(loss)}"
    return lost(loss)


def _recommended(claims: Sequence[Claim]) -> Finding | None:
    chosen = of_kind(claims, "recommended")
    if not chosen:
        return None
    one, kept = chosen[0], of_kind(claims, "kept")
    allowed = _allowed(one)
    plain = plain_is_poor(of_kind(claims, "score"))
    if one.about != NONE:
        [loss] = of_kind(claims, "loss", one.about)
        text = (
            f"`{one.about}` is recommended: of the plans that are established to keep within a loss of {allowed} of "
            f"right answers and to save time it takes the fewest operations, {_share(claims, one.about)} of the "
            f"plain model's. It leaves out {one.where}; {_within(loss)}. {time_words(claims, one.about)} Bounds "
            f"hold for all {len(kept)} plans that could have been chosen.{plain}"
        )
        return Finding(text, 100.0)
    if not kept:
        return Finding(f"No plan is recommended: none leaves out operations.{plain}", 100.0)
    held = [claim for claim in kept if claim.established]
    if not held:
        operations = {one.about: one.effect for one in of_kind(claims, "operations")}
        nearest = min(kept, key=lambda one: (one.high is None, one.high, operations.get(one.about, 100.0)))
        [loss] = of_kind(claims, "loss", nearest.about)
        text = (
            f"No plan is recommended: of {len(kept)} that leave out operations none is established to keep within a "
            f"loss of {allowed} of right answers. Under `{nearest.about}` ({_share(claims, nearest.about)} of the "
            f"plain model's operations), which comes nearest to that, {lost(loss)}."
        )
        # Few operations are not yet a short time.
        if timed := time_in_short(claims, nearest.about):
            text += f" {timed}"
        text += _more_examples(of_kind(claims, "needed"), of_kind(claims, "needed-limit"))
        if not any(saves_time(claims, claim.about) for claim in kept):
            text += " It would also have to be established that a plan saves time, which none is so far."
        return Finding(text + plain, 100.0)
    text = (
        f"No plan is recommended: {len(held)} of {len(kept)} plans that leave out operations are established to keep "
        f"within a loss of {allowed} of right answers ({named(held)}), and none of these is established to save "
        f"time. "
    )
    share = {claim.about: claim.effect for claim in of_kind(claims, "operations")}
    fewest = min(held, key=lambda claim: share.get(claim.about, 100.0))
    text += f"`{fewest.about}` takes the fewest operations of these, {_share(claims, fewest.about)}. "
    text += time_words(claims, fewest.about) or "No times were taken."
    times = [one for one in of_kind(claims, "time") if one.about == fewest.about]
    if any(one.established and one.effect < 0 for one in times):
        text += " What is slower for one prompt is not counted as saving."
    # Narrower intervals would only confirm a time that lies above 0 as a whole.
    if not times or any(one.verdict == "not established" and not (one.low or 0.0) > 0 for one in times):
        text += " More --repeats, on a quieter machine, narrow the intervals of times that are not established."
    return Finding(f"{text}{plain}", 100.0)


def _more_examples(needed: Sequence[Claim], limits: Sequence[Claim]) -> str:
    """How many examples it takes at least, where there are too few to recommend even a plan that changes no answer."""
    if not needed or (needed[0].inputs or 0) >= needed[0].effect:
        return ""
    ask = f"--limit {limits[0].effect:.0f} or more" if limits else "more examples"
    return (
        f" To show it of a plan that changes no answer takes {needed[0].effect:.0f} inputs, and {needed[0].inputs} "
        f"judged here: ask for {ask}, or allow more with --max-loss."
    )


def _allowed(claim: Claim) -> str:
    return points((claim.control_effect or 0.0) / 100)


def plain_is_poor(scores: Sequence[Claim]) -> str:
    """A warning where there is little to lose; begins with a space."""
    score = next(iter(scores), None)
    if score is None or score.established:
        return ""
    return (
        f" The plain model itself is right in {_level(score)}, which is not established to be more than always the "
        f"most frequent answer ({percent((score.control_effect or 0.0) / 100)}): there is little that could be lost."
    )


def _untouched(scores: Sequence[Claim]) -> Finding | None:
    """How good the plain model is, beside the most frequent answer; where it is no better, `plain_is_poor` says so."""
    if not scores or not scores[0].established:
        return None
    text = (
        f"The plain model is right in {_level(scores[0])}; always giving the most frequent answer of each question "
        f"type would be right in {percent((scores[0].control_effect or 0.0) / 100)}."
    )
    return Finding(text, 78.0)


def _losses(losses: Sequence[Claim]) -> Finding | None:
    """All plans by what is established about the right answers they lose."""
    if not losses:
        return None
    lose, gain, open_ = [], [], []
    for one in losses:
        if one.low is not None and one.low > 0:
            lose.append(one)
        elif one.high is not None and one.high < 0:
            gain.append(one)
        else:
            open_.append(one)
    parts = []
    if lose:
        parts.append("Right answers are lost under " + _listed(lose))
    if gain:
        parts.append("Right answers are gained under " + _listed([_flipped(one) for one in gain]))
    if open_:
        parts.append(f"Whether right answers are lost is not established under {named(open_)}: {_range(open_)}")
    return Finding(". ".join(parts) + f". Intervals hold for all {len(losses)} plans at once.", 60.0)


def _range(of: Sequence[Claim]) -> str:
    """Of several claims the smallest and largest estimate, and how far any interval reaches; of one, all of it."""
    if len(of) == 1:
        return claimed(of[0], **(_POINTS if of[0].unit == "points" else {}))
    how: dict[str, Any] = {"signed": True} | (_POINTS if of[0].unit == "points" else {"significant": 3})
    low, high = (side(one.effect for one in of) for side in (min, max))
    text = f"estimates of the loss from {bounds(low, high, unit=of[0].unit, **how)}"
    lows, highs = ([x for one in of if (x := getattr(one, side)) is not None] for side in ("low", "high"))
    if lows and highs:
        text += f", intervals from {bounds(min(lows), max(highs), **how)}"
    return f"{text} (n = {of[0].n})"


def _logprobs(logprobs: Sequence[Claim]) -> Finding | None:
    """All plans by the log-probability of the untouched answer."""
    if not logprobs:
        return None
    by = {name: [one for one in logprobs if one.verdict == name] for name in ("established", "practically none")}
    rest = [one for one in logprobs if not one.established and one.verdict != "practically none"]
    lose, gain = ([one for one in by["established"] if sign * one.effect > 0] for sign in (1, -1))
    parts = []
    if lose:
        parts.append("The plain model's answer loses log-probability under " + _listed(lose))
    if gain:
        parts.append("It gains log-probability under " + _listed(gain))
    if by["practically none"]:
        parts.append(f"Practically none is lost under {named(by['practically none'])} (n = {logprobs[0].n})")
    if rest:
        parts.append(f"Whether any worth naming is lost is not established under {named(rest)}: {_range(rest)}")
    return Finding(f"{'. '.join(parts)}. Each is compared with the plain model.", 45.0)


def _against_chance(claims: Sequence[Claim], kind: str, control: str, plan: str, strength: float) -> Finding | None:
    pairs = of_kind(claims, kind)
    if not pairs:
        return None
    [draws] = of_kind(claims, f"{kind}-draws")
    worse = [one for one in pairs if one.established and one.effect > 0]
    better = [one for one in pairs if one.established and one.effect < 0]
    same = [one for one in pairs if one.verdict == "practically none"]
    counts = (
        f"{control} lose more of the answer's log-probability than {plan} in {len(worse)} of these {len(pairs)} draws, "
        f"less in {len(better)}, practically as much in {len(same)}"
    )
    counts += "." if len(worse + better + same) == len(pairs) else "; elsewhere it is not established."
    widest = max(worse + better or pairs, key=lambda one: abs(one.effect))
    text = f"{counts} The largest difference is that between `{widest.where}` and `{widest.about}`, {claimed(widest)}."
    if draws.n < MIN_INPUTS:
        text += f" {draws.n} draws are too few to say anything of other draws."
        return Finding(text, strength)
    text += (
        f" Of draws in general an estimated {number(draws.effect, digits=0)} % lose so much more that it shows on as "
        f"many examples ({_interval(draws, digits=0)}, n = {draws.n} draws)."
    )
    if not draws.established:
        text += f" That {plan} loses less than most draws is not established."
    return Finding(text, strength)


def _modalities(differ: Sequence[Claim], arms: Sequence[Claim]) -> Finding | None:
    """Perceptual against as many text tokens: feed-forward left out in the same layers (2405.16700, figure 11)."""
    if not differ:
        return None
    parts = []
    for one in differ:
        span = one.about.rpartition(" ")[2]
        own, text = (
            next(arm for arm in arms if arm.about == name and arm.where == one.where) for name in (span, "text")
        )
        layers = "half of the layers" if one.where == "half" else "all layers"
        where = f"Left out in {layers}, it"
        if one.established:
            verb = f"costs {'less' if one.effect > 0 else 'more'} for {span} than for text tokens"
        elif one.verdict == "practically none":
            verb = f"costs practically as much for {span} as for text tokens"
        else:
            where, verb = f"Left out in {layers},", f"whether it costs less for {span} tokens is not established"
        parts.append(
            f"{where} {verb}: text less {span} {claimed(one)}. Alone, {span} tokens cost {alone(own)} and text tokens "
            f"{alone(text)}."
        )
    text = (
        "Feed-forward left out for as many tokens of both kinds, of text never the last one of the prompt, in "
        f"log-probability lost. {' '.join(parts)}"
    )
    return Finding(text, 75.0)


def _beaten(beaten: Sequence[Claim]) -> Finding | None:
    """Plans that another beats in operations and in log-probability."""
    held = [one for one in beaten if one.established and one.effect > 0]
    if not held:
        return None
    parts = [f"`{one.about}` by `{one.control}` ({claimed(one)})" for one in held]
    text = (
        f"Established to lose more log-probability than a plan that takes no more operations: {', '.join(parts)}. "
        "Of the other plans this is not established."
    )
    return Finding(text, 35.0)


def _where(claims: Sequence[Claim], span: str) -> Finding:
    parts = []
    beyond = {(one.about, one.where): one for one in of_kind(claims, "contribution-beyond")}
    for part, name in _PARTS.items():
        own = of_kind(claims, "contribution", part)
        if not own:
            continue
        found = [one for one in own if one.found]
        nothing = [one for one in own if one.verdict == "practically none"]
        top = max(found or own, key=lambda one: one.effect)
        largest = f"{claimed(top, signed=False)}{_beside(top, beyond.get((top.about, top.where)))}"
        said = f"Leaving out {name} of {span} tokens"
        if found:
            said += f" changes the answer in {_layers([top])}: {largest}."
            also = [one for one in found if one is not top]
            said += f" In {_layers(also)} it does so by less." if also else ""
            said += f" In {_layers(nothing)} it changes it practically not at all." if nothing else ""
        elif len(nothing) == len(own):
            said += " changes the answer practically not at all in any layer."
            said += f" The largest mean, in {_layers([top])}, is {largest}."
        else:
            said += " has no established effect on the answer in any layer."
            said += f" The largest mean, in {_layers([top])}, is {largest}."
            said += f" In {_layers(nothing)} it changes it practically not at all." if nothing else ""
        parts.append(said)
    return Finding(f"{' '.join(parts)} One part of one layer at a time; KL(untouched || left out).", 70.0)


def _beside(one: Claim, beyond: Claim | None) -> str:
    if one.control is None or beyond is None:
        return "; uncontrolled: no model with random weights stands beside it"
    level = number(one.control_effect or 0.0, unit=one.unit, significant=2)
    return f"; with random weights {level}, a difference of {claimed(beyond)}"


def _layers(of: Sequence[Claim]) -> str:
    at = sorted(int(one.where) for one in of)
    runs = runs_of_true(np.isin(np.arange(at[-1] + 1), at))
    named = (str(first) if stop == first + 1 else f"{first}-{stop - 1}" for first, stop in runs)
    return f"layer{'' if len(at) == 1 else 's'} {', '.join(named)}"


def _recovery(claims: Sequence[Claim]) -> Finding | None:
    """What training with the plan gives back, beside as much training without it."""
    found = of_kind(claims, "recovery")
    if not found:
        return None
    one, beyond = found[0], of_kind(claims, "recovery-beyond")
    level = {(score.about, score.where): score for score in of_kind(claims, "recovery-score")}

    def cell(trained: str, where: str) -> str:
        return _level(level[f"trained {trained}", where])

    plain = "without the plan"
    gains = one.low is not None and one.low > 0
    verb = "gives back right answers" if gains else "is not established to give back right answers"
    text = (
        f"Under `{one.about}` the untrained model is right in {cell(UNTRAINED, one.about)} (untouched "
        f"{cell(UNTRAINED, plain)}). Training with the plan in effect {verb}: {cell(TRAINED_WITH_PLAN, one.about)}, "
        f"{claimed(one)}"
    )
    if not beyond:
        return Finding(f"{text}; uncontrolled: as much training without the plan was not run.", 90.0)
    more = beyond[0].low is not None and beyond[0].low > 0
    compared = "more than" if more else "not established to be more than"
    text += (
        f"; that is {compared} as much training without the plan, which leaves {cell(TRAINED_PLAIN, one.about)} "
        f"under it: {claimed(beyond[0])}. Every training ran once: other seeds may differ."
    )
    return Finding(text, 90.0)


def _share(claims: Sequence[Claim], plan: str) -> str:
    shares = of_kind(claims, "operations", plan)
    return percent(shares[0].effect / 100) if shares else "an unknown share"


def _listed(of: Sequence[Claim]) -> str:
    how: dict[str, Any] = {"significant": None, "digits": 1, "signed": False} if of[0].unit == "points" else {}
    return ", ".join(f"`{one.about}` ({claimed(one, **how)})" for one in of)


def _flipped(claim: Claim) -> Claim:
    """The same as a gain."""
    low, high = (None if bound is None else -bound for bound in (claim.high, claim.low))
    return replace(claim, effect=-claim.effect, low=low, high=high)


def _amount(value: float) -> str:
    return points(value / 100)


def _level(score: Claim) -> str:
    return f"{number(score.effect)} % ({_interval(score)}, n = {score.n})"


def _interval(one: Claim, digits: int = 1) -> str:
    interval = bounds(one.low, one.high, missing="", digits=digits)
    return f"95 % interval {interval}" if interval else "no interval: too few inputs"


def _brackets(one: Claim) -> str:
    p = "" if one.p is None else f", {probability(one.p)}"
    on = "" if one.inputs in (None, one.n) else f" on {one.inputs} inputs"
    return f"{_interval(one)}{p}, n = {one.n}{on}"
