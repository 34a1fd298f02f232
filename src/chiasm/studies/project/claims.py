"""What a project run says: what each setting learnt, what that cost, and what probes read of the model's states.

Intervals are over images and seeds (`chiasm.core.statistics.crossed`) and hold for all claims of one kind at once, over
settings and domains, so that any may be picked. All are about the model's own projector but those about others.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.crossed import Crossed, family, share_parts, unpaired_interval
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.project.capacity_claims import capacity_claims
from chiasm.studies.project.choice import NEARLY_ALL, by_change
from chiasm.studies.project.judging import (
    FREE,
    GUESSING,
    MACRO,
    MACRO_LESS,
    Gap,
    Level,
    class_count,
    gap_claims,
    guessed,
    level_claims,
    over_seeds,
)
from chiasm.studies.project.probe_claims import probe_claims, trained_on
from chiasm.studies.project.scores import UNTUNED, Runs, paired
from chiasm.studies.project.tables import OWN, RANDOM, SMALLEST


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm project`, from its tables alone: `tuning`, `predictions`, and of `skills`, `references`,
    `probed`, `richness`, `aligned` and `examples` what there is.

    `smallest`: of macro-F1, and of shares. Chance is the exact expectation of uniform guessing for these labels.
    """
    least = SMALLEST if smallest is None else smallest
    examples = tables.get("examples")
    tuning, predictions = tables["tuning"], with_inputs(tables["predictions"], examples)
    own = predictions.filter(projector=OWN)
    scenes = tables.get("skills")
    scenes = None if scenes is None else scenes.filter(projector=OWN)
    found = _answers(own, least) + _costs(tuning.filter(projector=OWN), scenes, least)
    references, probed, aligned = (tables.get(name) for name in ("references", "probed", "aligned"))
    if references is not None:
        found += _references(references, own, least)
    if probed is not None:
        found += probe_claims(with_inputs(probed.filter(projector=OWN), examples), own, found, least)
    richness = tables.get("richness")
    if richness is not None and "train_n" in richness.columns:
        found += trained_on(richness.filter(projector=OWN))
    if aligned is not None:
        found += capacity_claims(aligned, predictions, least, seed)
    return found + _diverged(tuning)


def _answers(own: pl.DataFrame, least: float) -> list[Claim]:
    """Of every setting: free answers against guessing, their share that names no class, the most probable label; and
    settings against the untouched model and each other.
    """
    scores, among, invalid, gains, pairs, form = [], [], [], [], [], []
    for domain in in_order(own, "domain"):
        rows = own.filter(domain=domain)
        classes = class_count(rows, "parsed", "constrained")
        runs = {name: run for name in in_order(rows, "setting") if (run := Runs.of(rows.filter(setting=name)))}
        picked = {name: run for name in runs if (run := Runs.of(rows.filter(setting=name), "constrained"))}
        named_none = {name: _invalid(run) for name, run in runs.items()}
        for name, run in runs.items():
            about = f"{domain}, {name}"
            scores.append(Level("score", about, MACRO, run.macro_f1, GUESSING, guessed(run, classes)))
            chosen = picked[name].accuracy
            among.append(Level("labels", about, "accuracy among the labels", chosen, GUESSING, 1 / classes))
            invalid.append(
                Level("invalid", about, "share of answers that name no class", named_none[name], GUESSING, 0.0)
            )
            gap = paired(picked[name], run, "accuracy")
            form.append(
                Gap("form", about, f"accuracy among the labels less that of {FREE}", gap, FREE, run.accuracy.mean)
            )
            if name != UNTUNED and UNTUNED in runs:
                base = runs[UNTUNED]
                gains.append(Gap("gain", about, MACRO_LESS, paired(run, base), UNTUNED, base.macro_f1.mean))
        for lighter, heavier in combinations(by_change([name for name in runs if name != UNTUNED]), 2):
            # Named so that a sentence finds the higher one first.
            one, other = sorted((lighter, heavier), key=lambda name: -runs[name].macro_f1.mean)
            about = f"{domain}, {one} against {other}"
            pairs.append(
                Gap("pair", about, MACRO_LESS, paired(runs[one], runs[other]), other, runs[other].macro_f1.mean)
            )
    silent = [one.about for one in invalid if one.score.mean >= NEARLY_ALL]
    found = level_claims(scores, least) + level_claims(among, least) + level_claims(invalid, least)
    between = gap_claims(gains, least) + gap_claims(pairs, least)
    return found + [_distinguished(one, silent) for one in between] + gap_claims(form, least)


def _distinguished(gap: Claim, silent: Collection[str]) -> Claim:
    """A difference of two settings of which neither names a class: that they score alike says nothing of them."""
    domain, _, names = gap.about.partition(", ")
    both = {f"{domain}, {name}" for name in (*names.split(" against ")[:1], gap.control)}
    return replace(gap, verdict="not established") if both <= set(silent) else gap


def _invalid(runs: Runs) -> Crossed:
    none = np.array([[answer is None for answer in run] for run in runs.answers.values()], dtype=np.float64)
    return share_parts(none.T, runs.inputs)


def _costs(own: pl.DataFrame, scenes: pl.DataFrame | None, least: float) -> list[Claim]:
    """What tuning did to answers that have nothing to do with the domain: scenes right after less before.

    Every setting is asked about the same `scenes`, so the two are paired by scene and seed. Runs of before this table
    was kept say only how many were right: there the two are taken as independent, which makes intervals wide.
    """
    what = "difference in the share of held-out scenes that are right"
    if scenes is None or not scenes.height:
        return _unpaired_costs(own, what, least)
    gaps = []
    for domain in in_order(scenes, "domain"):
        rows = scenes.filter(domain=domain)
        runs = {name: run for name in in_order(rows, "setting") if (run := _scene_runs(rows.filter(setting=name)))}
        before = runs.pop(UNTUNED, None)
        if before is not None:
            gaps += [
                Gap(
                    "skill",
                    f"{domain}, {name}",
                    what,
                    paired(after, before, "accuracy"),
                    UNTUNED,
                    before.accuracy.mean,
                )
                for name, after in runs.items()
            ]
    return gap_claims(gaps, least)


def _scene_runs(rows: pl.DataFrame) -> Runs | None:
    """Scenes as answers to be scored: what is right names the label."""
    named = rows.with_columns(label=pl.lit("right"), given=pl.when("correct").then(pl.lit("right")))
    return Runs.of(named, "given")


def _unpaired_costs(own: pl.DataFrame, what: str, least: float) -> list[Claim]:
    found: list[tuple[str, Crossed, Crossed]] = []
    known_skill = own.filter(pl.col("skill").is_not_null() & (pl.col("skill_n") > 0))
    for domain in in_order(known_skill, "domain"):
        rows = known_skill.filter(domain=domain)
        skills = {name: _shares(rows.filter(setting=name)) for name in in_order(rows, "setting")}
        if UNTUNED in skills:
            before = skills.pop(UNTUNED)
            found += [(f"{domain}, {name}", after, before) for name, after in skills.items()]
    of = family([after for _, after, _ in found])
    made = []
    for about, after, before in found:
        at = unpaired_interval(after, before, of=of)
        p, inputs = known(at.p), after.inputs
        made.append(
            Claim(
                kind="skill",
                about=about,
                quantity=over_seeds(what, after.seeds),
                unit="1",
                effect=at.mean,
                low=known(at.low),
                high=known(at.high),
                p=p,
                control=UNTUNED,
                control_effect=before.mean,
                n=after.n * after.seeds,
                inputs=inputs,
                verdict=judged(at.mean, at.low, at.high, smallest=least, p=p, inputs=inputs),
            )
        )
    return made


def _shares(rows: pl.DataFrame) -> Crossed:
    """A share that is known by seed but not by scene: the same scenes are asked, so seeds count as no more scenes."""
    values, n = rows["skill"].to_numpy(), int(rows["skill_n"][0])
    right = np.arange(n) < round(float(values.mean()) * n)
    spread = ((right - right.mean()) / n)[:, None]
    return Crossed(values, np.repeat(spread, len(values), axis=1))


def _references(references: pl.DataFrame, own: pl.DataFrame, least: float) -> list[Claim]:
    """What answers without a language model, with the intervals of the table, widened by what seeds vary."""
    found = []
    for domain, name in references.select("domain", "reference").unique(maintain_order=True).iter_rows():
        rows = references.filter(domain=domain, reference=name)
        asked = own.filter(domain=domain)
        runs = Runs.of(asked.filter(setting=in_order(asked, "setting")[0])) if asked.height else None
        if name == RANDOM or runs is None:
            continue
        chance = guessed(runs, class_count(asked, "parsed", "constrained"))
        mean, low, high = _combined(rows)
        verdict = judged(mean - chance, low - chance, high - chance, smallest=least, inputs=runs.macro_f1.inputs)
        found.append(
            Claim(
                kind="reference",
                about=f"{domain}, {name}",
                quantity=over_seeds("macro-F1 without a language model", rows.height),
                unit="1",
                effect=mean,
                low=known(low),
                high=known(high),
                control=GUESSING,
                control_effect=chance,
                n=int(rows["n"][0]) * rows.height,
                inputs=runs.macro_f1.inputs,
                verdict=verdict,
            )
        )
    return found


def _combined(rows: pl.DataFrame) -> tuple[float, float, float]:
    """The mean over seeds, and bounds in which the squares of both intervals, over images and over seeds, add up."""
    from scipy.stats import t as student  # slow to import

    values = rows["macro_f1"].to_numpy()
    mean, seeds = float(values.mean()), len(values)
    low, high = (mean if (b := rows[f"macro_f1_{side}"].mean()) is None else float(b) for side in ("low", "high"))  # type: ignore[arg-type]
    if seeds == 1:
        return mean, low, high
    beside = float(student.ppf(0.975, seeds - 1) * values.std(ddof=1) / np.sqrt(seeds))
    return mean, max(0.0, mean - np.hypot(mean - low, beside)), min(1.0, mean + np.hypot(high - mean, beside))


def _diverged(tuning: pl.DataFrame) -> list[Claim]:
    broken = tuning.filter(pl.col("diverged").is_not_null())
    return [
        Claim(
            kind="diverged",
            about=f"{row['domain']}, {row['setting']}, seed {row['seed']}, projector {row['projector']}",
            quantity="step at which the loss was no number",
            unit="steps",
            effect=float(row["diverged"]),
            n=1,
            verdict="uncontrolled",
        )
        for row in broken.iter_rows(named=True)
    ]
