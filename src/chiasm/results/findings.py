"""Findings in words, computed from tables: every number in a sentence stands in a table of the run."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from chiasm.core.statistics import (
    Estimate,
    bootstrap_means,
    holm,
    proportion_interval,
    runs_of_true,
    sign_flip_max_t,
)
from chiasm.results.judgement import ALPHA, DIFFERENCE, CutResult, judge_cut
from chiasm.results.schemas import IMAGE_SWAP
from chiasm.results.series import (
    RESAMPLES,
    Curve,
    control_label,
    curve,
    in_order,
    layers_of,
    majority,
    matrix,
    noise_floor,
    of_type,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or two. `strength` orders findings: 0 says nothing was found, more is more."""

    text: str
    strength: float


def flow_findings(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    answers: pl.DataFrame | None = None,
    noise: pl.DataFrame | None = None,
    *,
    seed: int = 0,
) -> list[Finding]:
    """At least three findings, strongest first: what each cut does and where, how cuts relate, what was not found."""
    layers = layers_of(effects)
    floor = 0.0 if noise is None else noise_floor(noise)
    cuts = in_order(effects, "cut")
    results = [judge_cut(effects, controls, cut, noise=floor, cuts=len(cuts), seed=seed) for cut in cuts]
    found = [_cut_sentence(result, layers, _at_stake(controls, result.cut)) for result in results]
    if not any(result.found for result in results):
        found.insert(0, _nothing(results))
    found += _order(effects, results, layers) + _types(effects, results)
    if answers is not None:
        found += _answer_forms(answers)
    found.append(_noise_sentence(noise, floor))
    if len(found) < 3:
        found.append(_scope(effects, results))
    return sorted(found, key=lambda finding: -finding.strength)


def _at_stake(controls: pl.DataFrame | None, cut: str) -> str:
    """What another example's image in place of the own one does, where that was measured: the scale of image cuts."""
    if controls is None:
        return ""
    rows = controls.filter((pl.col("cut") == cut) & (pl.col("control") == IMAGE_SWAP))
    if rows["example_id"].n_unique() < 2:
        return ""
    # The same at every layer, as nothing is cut.
    rows = rows.filter(pl.col("layer") == pl.col("layer").min())
    lost = curve(rows)
    told = f"{lost.mean[0]:.1f} %, 95 % interval {lost.low[0]:.1f} to {lost.high[0]:.1f}, n = {lost.n}"
    return f" Another example's image, with nothing cut, changes it by {told}: that much is at stake."


def _cut_sentence(result: CutResult, layers: int, at_stake: str) -> Finding:
    c, peak = result.curve, result.peak
    against = "against no change (there is no control)"
    if result.control:
        only = "" if result.tested == c.n else f", which {result.tested} of the examples have"
        against = f"beyond its control ({control_label(result.control)}{only})"
    largest = f"layer {_layer(c, peak)} ({_percent(c, peak)}, n = {c.n})"
    if not result.found:
        text = (
            f"Cutting {result.cut} changes the answer's probability at no layer significantly {against}; the "
            f"largest mean change is at {largest}."
        )
        return Finding(text, 0.1)
    parts = []
    for direction, verb in ((-1, "lowers"), (1, "raises")):
        inside = [(a, b) for a, b in result.ranges if result.sign[a] == direction]
        if inside:
            spans = _and([_span(c, a, b) for a, b in inside])
            parts.append(f"{verb} the answer's probability at {spans} of {layers} (window centres)")
    text = (
        f"Cutting {result.cut} {' and '.join(parts)}, significantly {against}; most at {largest}. "
        f"p ≤ {ALPHA:g}, corrected over layers and cuts.{at_stake}"
    )
    return Finding(text, float(abs(c.mean[peak])))


def _order(effects: pl.DataFrame, results: list[CutResult], layers: int) -> list[Finding]:
    """Which cut hurts first and which last, by the layer of its largest loss, if resampling the examples agrees."""
    hurting = [result for result in results if result.found and result.sign[result.peak] < 0]
    if len(hurting) < 2:
        return []
    first, last = (pick(hurting, key=lambda r: r.curve.places[r.peak]) for pick in (min, max))
    both = [matrix(effects.filter(pl.col("cut") == result.cut)) for result in (first, last)]
    shared = sorted(set(both[0].examples) & set(both[1].examples))
    if first.peak == last.peak or not shared:
        return []
    both = [m.of(shared) for m in both]
    deepest = [np.argmin(bootstrap_means(m.values, resamples=RESAMPLES, clusters=m.inputs), axis=1) for m in both]
    agree = float(np.mean(deepest[0] < deepest[1]))
    peaks = f"layers {_layer(first.curve, first.peak)} and {_layer(last.curve, last.peak)} of {layers}"
    share = f"{100 * agree:.0f} % of {RESAMPLES} resamples of the {len(shared)} examples"
    means = f"{_percent(first.curve, first.peak)}, against {_percent(last.curve, last.peak)}"
    if agree < 0.95:
        text = (
            f"Whether {first.cut} hurts before {last.cut} is not settled: {peaks} hurt most, in this order in {share}."
        )
        return [Finding(text, 0.2)]
    text = f"{first.cut} hurts earliest and {last.cut} latest: most at {peaks} ({means}), in this order in {share}."
    return [Finding(text, 0.8 * min(abs(float(r.curve.mean[r.peak])) for r in (first, last)))]


def _types(effects: pl.DataFrame, results: list[CutResult]) -> list[Finding]:
    """Whether the strongest cut matters alike for all question types, at its layer of largest effect."""
    types = in_order(effects, "type")
    strongest = max((r for r in results if r.found), key=lambda r: abs(r.curve.mean[r.peak]), default=None)
    if strongest is None or len(types) < 2:
        return []
    layer = int(strongest.curve.places[strongest.peak])
    rows = effects.filter((pl.col("cut") == strongest.cut) & (pl.col("layer") == layer))
    change = {t: matrix(of_type(rows, t), DIFFERENCE) for t in types}
    tests = {t: sign_flip_max_t(m.values, clusters=m.inputs) for t, m in change.items()}
    # A type with a handful of examples could not be found to differ from zero whatever they were.
    tests = {t: test for t, test in tests.items() if test.smallest * len(types) <= ALPHA}
    if len(tests) < 2:
        return []
    data = {t: curve(of_type(rows, t)) for t in tests}
    p = holm(np.array([float(test.p[0]) for test in tests.values()]))
    at = f"At layer {layer}, cutting {strongest.cut}"
    ranked = sorted(data, key=lambda t: abs(data[t].mean[0]))
    weak, strong = ranked[0], ranked[-1]
    count = int((p <= ALPHA).sum())
    text = (
        f"{at} has an effect in {count} of {len(data)} question types (p ≤ {ALPHA:g}, Holm); it is largest for "
        f"{strong} ({_percent(data[strong], 0)}, n = {data[strong].n}) and smallest for {weak} "
        f"({_percent(data[weak], 0)}, n = {data[weak].n})."
    )
    return [Finding(text, 0.6 * float(abs(data[strong].mean[0])))]


def _answer_forms(answers: pl.DataFrame) -> list[Finding]:
    """At which depth the lower-case and the capitalised form of the answer lead."""
    if not {"lower", "capital"} <= set(answers["form"]):
        return []
    percent = pl.col("prob") * 100
    lower, capital = (curve(answers.filter(pl.col("form") == form), percent) for form in ("lower", "capital"))
    best = int(np.argmax(lower.mean)), int(np.argmax(capital.mean))
    lead = runs_of_true(capital.mean > lower.mean)
    takes = lead[-1][0] if lead and lead[-1][1] == len(capital.mean) else None
    overtakes = "" if takes in (None, 0) else f"; the capitalised form leads from state {takes} on"
    text = (
        f"At the last position the lower-case answer is most probable at hidden state {int(lower.places[best[0]])} "
        f"({_percent(lower, best[0], signed=False)}), the capitalised one at {int(capital.places[best[1]])} "
        f"({_percent(capital, best[1], signed=False)}){overtakes} (n = {lower.n}; state 0 is the embeddings)."
    )
    return [Finding(text, 0.3 * float(max(lower.mean.max(), capital.mean.max())))]


def _nothing(results: list[CutResult]) -> Finding:
    smallest = max(result.smallest for result in results)
    few = (
        f" With so few examples no p-value could be below {smallest:.2g}: more are needed to find anything."
        if smallest > ALPHA
        else ""
    )
    return Finding(
        "No cut changes the answer's probability significantly at any layer "
        f"(n = {min(r.curve.n for r in results)}, p > {ALPHA:g} corrected over layers and cuts).{few}",
        1.0,
    )


def _noise_sentence(noise: pl.DataFrame | None, floor: float) -> Finding:
    if noise is None or not noise.height:
        return Finding("The noise floor was not measured in this run.", 0.0)
    n = noise["example_id"].n_unique()
    if floor == 0:
        return Finding(f"Two runs without any cut agree exactly: the noise floor is 0 % (n = {n}).", 0.05)
    text = f"Arithmetic alone changes the answer's probability by up to {floor:.2g} % (95th percentile, n = {n})"
    return Finding(f"{text}; smaller effects are not named.", 0.05)


def _scope(effects: pl.DataFrame, results: list[CutResult]) -> Finding:
    width = int((effects["stop"] - effects["start"]).max() or 0)
    controlled = sum(result.control is not None for result in results)
    text = (
        f"{len(results)} cuts were swept over {layers_of(effects)} layers in windows of {width}, "
        f"{controlled} of them beside a control."
    )
    return Finding(text, 0.02)


def eval_findings(eval: pl.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Three findings on accuracy: overall against guessing, the best type, the worst type."""
    right = proportion_interval(int(eval["correct"].sum()), eval.height)
    guess = majority(eval)
    beats = "above" if right.low > guess else "not significantly above"
    text = (
        f"{_share(right)} of {eval.height} questions are answered correctly, {beats} the {100 * guess:.0f} % of always "
    )
    found = [Finding(f"{text}giving the most frequent answer of the type.", 100.0)]
    by_type = {
        t: proportion_interval(int(of_type(eval, t)["correct"].sum()), of_type(eval, t).height)
        for t in in_order(eval, "type")
    }
    ranked = sorted(by_type, key=lambda t: float(by_type[t].mean))
    for strength, word, name in ((50.0, "best", ranked[-1]), (49.0, "worst", ranked[0])):
        rows = of_type(eval, name)
        text = (
            f"The model is {word} at {name}: {_share(by_type[name])} of {rows.height} right, where the most frequent "
        )
        found.append(Finding(f"{text}answer would reach {100 * majority(rows):.0f} %.", strength))
    return found


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f} % (95 % interval {100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _percent(c: Curve, index: int, signed: bool = True) -> str:
    sign = "+" if signed else ""
    mean = f"{c.mean[index]:{sign}.1f} %"
    if c.n == 1:
        return f"{mean}, no interval from one example"
    return f"{mean}, 95 % interval {c.low[index]:{sign}.1f} to {c.high[index]:{sign}.1f}"


def _layer(c: Curve, index: int) -> int:
    return int(c.places[index])


def _span(c: Curve, start: int, stop: int) -> str:
    first, last = _layer(c, start), _layer(c, stop - 1)
    return f"layer {first}" if first == last else f"layers {first}-{last}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
