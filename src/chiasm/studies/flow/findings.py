"""Findings of `chiasm flow` in words: every number in a sentence stands in a table of the run."""

from typing import Literal

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import ALPHA, bootstrap_means, groups_differ, holm, runs_of_true, sign_flip_max_t
from chiasm.results.findings import Finding
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import RESAMPLES, Curve, curve, in_order, matrix, of_type
from chiasm.results.theme import counted
from chiasm.results.wording import percent, worded
from chiasm.studies.flow.judgement import DIFFERENCE, CutResult, control_label, judge_cut, layers_of, noise_floor
from chiasm.studies.flow.tables import SWAPS

Windows = Literal["centred", "all", "prefix", "suffix"]


def flow_findings(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    answers: pl.DataFrame | None = None,
    noise: pl.DataFrame | None = None,
    *,
    windows: Windows = "centred",
    seed: int = 0,
) -> list[Finding]:
    """At least three findings, strongest first: what each cut does and where, how cuts relate, what was not found."""
    layers = layers_of(effects)
    floor = 0.0 if noise is None else noise_floor(noise)
    cuts = in_order(effects, "cut")
    results = [judge_cut(effects, controls, cut, noise=floor, cuts=len(cuts), seed=seed) for cut in cuts]
    found = [_cut_sentence(result, layers, controls, windows) for result in results]
    if not any(result.found for result in results):
        found.insert(0, _nothing(results))
    found += _order(effects, results, layers, windows) + _types(effects, results, windows, seed)
    if answers is not None:
        found += _answer_forms(answers, seed)
    found.append(_noise_sentence(noise, floor))
    if len(found) < 3:
        found.append(_scope(effects, results))
    return sorted(found, key=lambda finding: -finding.strength)


def _swap_effect(controls: pl.DataFrame | None, cut: str) -> str:
    """What another example's image in place of the own one does, where that was measured: the scale of such cuts."""
    rows = None if controls is None else controls.filter(pl.col("cut") == cut, pl.col("control").is_in(SWAPS))
    if rows is None or rows["example_id"].n_unique() < 2:
        return ""
    # The same at every layer, as nothing is cut.
    lost = curve(rows.filter(pl.col("layer") == pl.col("layer").min()))
    what = {"audio": "sound"}.get(kind := rows["control"][0].removesuffix("-swap"), kind)
    effect = _effect(lost, 0, signed=False)
    return f" Another example's {what}, with nothing cut, changes it by {effect}: the scale to read this by."


def _cut_sentence(result: CutResult, layers: int, controls: pl.DataFrame | None, windows: Windows) -> Finding:
    c, peak = result.curve, result.peak
    against = "against no change (there is no control)"
    if result.control == RANDOM_WEIGHTS and controls is not None:
        # A model that never learnt the answer has little probability to lose: its own change says more than a test.
        baseline = curve(controls.filter((pl.col("cut") == result.cut) & (pl.col("control") == RANDOM_WEIGHTS)))
        against = f"against no change; the random-weights baseline's own changes by {_effect(baseline, peak)} there"
    elif result.control:
        only = "" if result.tested == c.n else f", which {result.tested} of the examples have"
        against = f"beyond its control ({control_label(result.control)}{only})"
    largest = f"{_when(c, peak, peak + 1, windows)} ({_effect(c, peak)})"
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
            spans = _and([_when(c, a, b, windows) for a, b in inside])
            centres = " (window centres)" if windows in ("centred", "all") else ""
            parts.append(f"{verb} the answer's probability at {spans} of {layers}{centres}")
    text = (
        f"Cutting {result.cut} {' and '.join(parts)}; most at {largest}. Significant {against}; p ≤ {ALPHA:g}, "
        f"corrected over layers and cuts.{_swap_effect(controls, result.cut)}"
    )
    return Finding(text, float(abs(c.mean[peak])))


def _order(effects: pl.DataFrame, results: list[CutResult], layers: int, windows: Windows) -> list[Finding]:
    """Which cut hurts first and which last, by the layer of its largest loss, if resampling the examples agrees.

    Both are picked among all cuts that hurt, so every resample picks among all of them too; ties count against.
    """
    hurting = [result for result in results if result.found and result.sign[result.peak] < 0]
    if len(hurting) < 2:
        return []
    values = [matrix(effects.filter(pl.col("cut") == result.cut)) for result in hurting]
    shared = sorted(set.intersection(*(set(m.examples) for m in values)))
    places = np.array([result.curve.places[result.peak] for result in hurting])
    first, last = int(np.argmin(places)), int(np.argmax(places))
    if places[first] == places[last] or not shared:
        return []
    values = [m.of(shared) for m in values]
    deepest = np.stack(
        [np.argmin(bootstrap_means(m.values, resamples=RESAMPLES, clusters=m.inputs), axis=1) for m in values]
    )
    others = [np.delete(deepest, k, axis=0) for k in (first, last)]
    before, behind = deepest[first] < others[0].min(axis=0), deepest[last] > others[1].max(axis=0)
    agree = min(float(before.mean()), float(behind.mean()))
    early, late = (hurting[k] for k in (first, last))
    extremes = [
        f"{r.cut} most at {_when(r.curve, r.peak, r.peak + 1, windows)} ({_effect(r.curve, r.peak)})"
        for r in (early, late)
    ]
    share = f"in at least {percent(agree)} of {RESAMPLES} resamples of the {len(shared)} examples that have all cuts"
    if agree < 0.95:
        unsettled = f"Which of the {len(hurting)} cuts hurts first and which last is not settled"
        return [Finding(f"{unsettled}: {' and '.join(extremes)}, but they are first and last only {share}.", 0.2)]
    text = f"Of {len(hurting)} cuts that hurt, {extremes[0]} comes first and {extremes[1]} last, each {share}."
    return [Finding(text, 0.8 * min(abs(float(r.curve.mean[r.peak])) for r in (early, late)))]


def _types(effects: pl.DataFrame, results: list[CutResult], windows: Windows, seed: int) -> list[Finding]:
    """Whether the strongest cut matters for every question type, and whether it matters alike."""
    types = in_order(effects, "type")
    strongest = max((r for r in results if r.found), key=lambda r: abs(r.curve.mean[r.peak]), default=None)
    if strongest is None or len(types) < 2:
        return []
    rows = effects.filter(pl.col("cut") == strongest.cut)
    change = {t: matrix(of_type(rows, t), DIFFERENCE) for t in types}
    tests = {t: sign_flip_max_t(m.values, seed=seed, clusters=m.inputs) for t, m in change.items()}
    # A type with a handful of examples could not be found to differ from zero whatever they were.
    tests = {t: test for t, test in tests.items() if test.smallest * len(types) <= ALPHA}
    if len(tests) < 2:
        return []
    p = holm(np.array([float(test.p.min()) for test in tests.values()]))
    layer = int(strongest.curve.places[strongest.peak])
    at = rows.filter(pl.col("layer") == layer)
    data = {t: curve(of_type(at, t)) for t in tests}
    ranked = sorted(data, key=lambda t: abs(data[t].mean[0]))
    weak, strong = ranked[0], ranked[-1]
    differs = groups_differ([of_type(at, t).select(DIFFERENCE).to_series().to_numpy() for t in tests], seed)
    where = _when(strongest.curve, strongest.peak, strongest.peak + 1, windows)
    text = (
        f"Cutting {strongest.cut} has an effect in {int((p <= ALPHA).sum())} of {len(data)} question types (p ≤ "
        f"{ALPHA:g}, corrected over layers and types). At {where}, where it does most over all types, the means reach "
        f"from {_effect(data[weak], 0)} for {weak} to {_effect(data[strong], 0)} for {strong}; that types differ there "
        f"has p = {differs:.2g} (types permuted)."
    )
    return [Finding(text, 0.6 * float(abs(data[strong].mean[0])))]


def _answer_forms(answers: pl.DataFrame, seed: int) -> list[Finding]:
    """At which depth the lower-case and the capitalised form of the answer lead."""
    if not {"lower", "capital"} <= set(answers["form"]):
        return []
    in_percent = pl.col("prob") * 100
    rows = [answers.filter(pl.col("form") == form) for form in ("lower", "capital")]
    both = [matrix(part, in_percent) for part in rows]
    shared = sorted(set(both[0].examples) & set(both[1].examples))
    if not shared:
        return []
    lower, capital = (curve(part.filter(pl.col("example_id").is_in(shared)), in_percent) for part in rows)
    best = int(np.argmax(lower.mean)), int(np.argmax(capital.mean))
    first, second = (data.of(shared) for data in both)
    test = sign_flip_max_t(second.values - first.values, seed=seed, clusters=first.inputs)
    lead = runs_of_true((test.p <= ALPHA) & (test.mean > 0))
    takes = lead[-1][0] if lead and lead[-1][1] == len(capital.mean) else None
    leads = f"; from state {takes} on the capitalised form leads (p ≤ {ALPHA:g}, corrected over states)"
    text = (
        f"At the last position the lower-case answer is most probable at hidden state {int(lower.places[best[0]])} "
        f"({_effect(lower, best[0], signed=False)}), the capitalised one at {int(capital.places[best[1]])} "
        f"({_effect(capital, best[1], signed=False)}){leads if takes else ''}. State 0 is the embeddings."
    )
    # Beside what cuts show, or do not: below every sentence about them.
    return [Finding(text, 0.09)]


def _nothing(results: list[CutResult]) -> Finding:
    smallest = max(result.smallest for result in results)
    few = f" With so few examples no p-value could be below {smallest:.2g}: more are needed to find anything."
    text = (
        f"No cut changes the answer's probability significantly at any layer ({counted([r.curve.n for r in results])}, "
        f"p > {ALPHA:g} corrected over layers and cuts).{few if smallest > ALPHA else ''}"
    )
    return Finding(text, 1.0)


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


def _effect(c: Curve, index: int, signed: bool = True) -> str:
    """A mean with its interval and n, or why there is no interval."""
    on = "" if c.inputs == c.n else f" on {c.inputs} input{'s' if c.inputs > 1 else ''}"
    missing = "no interval from one example" if c.n == 1 else "no interval from questions on one input"
    return worded(c.at(index), c.n, unit="%", signed=signed, brackets=False, missing=missing) + on


def _when(c: Curve, start: int, stop: int, windows: Windows) -> str:
    """The layers of a stretch of windows: their centres, or how far growing windows reach."""
    first, last = int(c.places[start]), int(c.places[stop - 1])
    if windows == "prefix":
        return f"cuts of layers 0 to {first}" if first == last else f"cuts of layers 0 to {first}-{last}"
    if windows == "suffix":
        return f"cuts from layer {first} on" if first == last else f"cuts from layers {first}-{last} on"
    return f"layer {first}" if first == last else f"layers {first}-{last}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
