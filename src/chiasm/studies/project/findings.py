"""What tuning bought, and what other projectors did, in words: every number stands in a table of the run."""

from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.correlation import correlate
from chiasm.core.statistics.intervals import Estimate, mean_interval, proportion_interval
from chiasm.results import wording
from chiasm.results.findings import Finding
from chiasm.results.series import in_order
from chiasm.studies.project.scores import UNTUNED, answers_of, difference, score_of
from chiasm.studies.project.tables import IMAGE_LINEAR, IMAGE_MLP, OWN, RANDOM, TOWER

_FORM = 0.05  # of accuracy: by how much free answers lie below the most probable label where their form is to blame
_WITHOUT_DECODER = (
    (RANDOM, "chance"),
    (TOWER, "the tower's zero-shot"),
    (IMAGE_LINEAR, "a line on CLS"),
    (IMAGE_MLP, "an MLP on CLS"),
)


def worded(score: Estimate, n: int | None = None) -> str:
    """A macro-F1 with its interval."""
    return wording.worded(score, n, digits=3)


def worded_gap(gap: Estimate, *, brackets: bool = True) -> str:
    """A difference of two with its interval; without `brackets` where it stands in some."""
    return wording.worded(gap, digits=3, signed=True, brackets=brackets)


def tuning_findings(tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None) -> list[Finding]:
    """Per domain: the best setting, whether the paper's ordering holds, format against knowledge, what it cost."""
    found = [_ordering(tuning, predictions)]
    own = tuning.filter(projector=OWN)
    for domain in in_order(own, "domain"):
        part = own.filter(domain=domain)
        found += _best(domain, part, predictions, references)
        found += _form(domain, part, predictions) + _cost(domain, part)
    broken = tuning.filter(pl.col("diverged").is_not_null())
    if broken.height:
        names = ", ".join(f"{r['setting']} (seed {r['seed']}, {r['domain']})" for r in broken.iter_rows(named=True))
        found.append(Finding(f"The loss was no number any more in {names}: the last good state was scored.", 90.0))
    return sorted(found, key=lambda finding: -finding.strength)


class Pair(NamedTuple):
    """Macro-F1 of one setting less that of another on a domain."""

    domain: str
    better: str
    worse: str
    gap: Estimate


def ordering(tuning: pl.DataFrame, predictions: pl.DataFrame) -> list[Pair]:
    """Whether FT-E2E > FT-Proj > zero-shot in macro-F1, pair by pair, with paired intervals over images."""
    found = []
    for domain in in_order(tuning, "domain"):
        for better, worse in (("ft-e2e", "ft-proj"), ("ft-proj", UNTUNED)):
            one, other = (answers_of(predictions, domain, name) for name in (better, worse))
            if one is not None and other is not None:
                found.append(Pair(domain, better, worse, difference(one, other)))
    return found


def _ordering(tuning: pl.DataFrame, predictions: pl.DataFrame) -> Finding:
    pairs = ordering(tuning, predictions)
    if not pairs:
        return Finding("The paper's ordering was not tested: it needs zero-shot, ft-proj and ft-e2e.", 1.0)
    holds = all(pair.gap.low > 0 for pair in pairs)
    verdict = "holds" if holds else "does not hold in every pair, or not surely"
    parts = "; ".join(f"{p.better} - {p.worse} = {worded_gap(p.gap)} macro-F1 on {p.domain}" for p in pairs)
    return Finding(f"The paper's ordering FT-E2E > FT-Proj > zero-shot {verdict}: {parts}.", 100.0)


def seed_range(tuning: pl.DataFrame, setting: str) -> str:
    """How many seeds, and between which macro-F1 they lie: intervals are over images and do not say it."""
    found = tuning.filter(setting=setting)["macro_f1"].to_list()
    return "1 seed" if len(found) == 1 else f"{len(found)} seeds: {wording.bounds(min(found), max(found), digits=3)}"


def best_setting(tuning: pl.DataFrame) -> str:
    """The setting whose macro-F1 is highest, meaned over seeds."""
    means = tuning.group_by("setting", maintain_order=True).agg(pl.col("macro_f1").mean()).sort("macro_f1")
    return means["setting"][-1]


def reference_mean(references: pl.DataFrame | None, domain: str, reference: str) -> float | None:
    """Macro-F1 of what needs no language model, over seeds; None where it was not measured."""
    rows = None if references is None else references.filter(domain=domain, reference=reference)["macro_f1"]
    return None if rows is None or not len(rows) else float(rows.mean())  # type: ignore[arg-type]


def _best(domain: str, part: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None) -> list[Finding]:
    name = best_setting(part)
    score, base = score_of(predictions, domain, name), score_of(predictions, domain, UNTUNED)
    if score is None:
        return []
    if float(score.mean) == 0:
        text = f"On {domain} no setting names one image right in a free answer (n = {score.n} images)."
        return [Finding(text, 80.0)]
    text = f"On {domain}, {name} answers best: macro-F1 {worded(score, score.n)}, {seed_range(part, name)}"
    text += f"; {base.mean:.3f} untuned" if base is not None and name != UNTUNED else ""
    known = [(title, reference_mean(references, domain, key)) for key, title in _WITHOUT_DECODER]
    beside = ", ".join(f"{title} {value:.3f}" for title, value in known if value is not None)
    text += f"; without a language model: {beside}" if beside else ""
    return [Finding(f"{text}.", 80.0)]


def _form(domain: str, part: pl.DataFrame, predictions: pl.DataFrame) -> list[Finding]:
    """Where free answers are worse than the most probable label, and that is surely better than chance."""
    means = part.group_by("setting", maintain_order=True).agg(
        pl.col("accuracy", "constrained_accuracy", "invalid_rate").mean(), pl.col("n").first()
    )
    gap = means.filter(pl.col("constrained_accuracy") - pl.col("accuracy") > _FORM)
    gap = gap.filter(pl.col("setting").is_in(_above_chance(predictions.filter(domain=domain, projector=OWN))))
    if not gap.height:
        return []
    parts = ", ".join(
        f"{r['setting']} ({r['accuracy']:.2f} free, {r['constrained_accuracy']:.2f} among the labels, "
        f"{wording.percent(r['invalid_rate'])} invalid)"
        for r in gap.iter_rows(named=True)
    )
    text = f"On {domain} part of what is missing is form, not knowledge: {parts}; n = {gap['n'][0]}."
    return [Finding(text, 60.0)]


def _above_chance(predictions: pl.DataFrame) -> list[str]:
    """The settings whose most probable label is right surely more often than a uniform draw among the labels."""
    chance = 1 / max(1, predictions["label"].n_unique())
    right = predictions.with_columns(right=(pl.col("constrained") == pl.col("label")).cast(pl.Float64))
    each = right.group_by("setting", "example_id", maintain_order=True).agg(pl.col("right").mean())
    names = in_order(each, "setting")
    return [n for n in names if float(mean_interval(each.filter(setting=n)["right"].to_numpy()).low) > chance]


class Skill(NamedTuple):
    """The share of held-out scenes answered rightly in a setting: over seeds, and with the interval of one seed.

    The same scenes are asked under every seed.
    """

    mean: float
    share: Estimate


def skills(tuning: pl.DataFrame) -> dict[str, Skill]:
    """The general skill left in every setting; empty without the untouched model's. `tuning`: of one domain."""
    known = tuning.filter(pl.col("skill").is_not_null() & (pl.col("skill_n") > 0))
    means = known.group_by("setting", maintain_order=True).agg(pl.col("skill").mean())
    if UNTUNED not in means["setting"]:
        return {}
    n = int(known["skill_n"][0])
    return {name: Skill(skill, proportion_interval(round(skill * n), n)) for name, skill in means.iter_rows()}


def _cost(domain: str, part: pl.DataFrame) -> list[Finding]:
    shares = {name: skill.share for name, skill in skills(part).items()}
    if len(shares) < 2:
        return []
    whole = shares.pop(UNTUNED)
    sure = [name for name, share in shares.items() if share.high < whole.low]
    text = f"Tuning on {domain} costs general skill in {', '.join(sure)}"
    text = text if sure else f"Tuning on {domain} shows no sure cost in general skill"
    after = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
    text += f": {_percent(whole)} of {whole.n} held-out scenes right before, then {after}."
    return [Finding(text, 50.0)]


def _percent(share: Estimate) -> str:
    return wording.share(share, digits=0)


class Capacity(NamedTuple):
    """One projector under one setting. `parameters`: that it learns; `score`: macro-F1 of free answers."""

    projector: str
    parameters: int
    tokens: int
    score: Estimate


def capacities(aligned: pl.DataFrame, predictions: pl.DataFrame, domain: str, setting: str) -> list[Capacity]:
    """Every projector that was tuned in this setting on this domain, the smallest first."""
    found = []
    for name in in_order(aligned, "projector"):
        score = score_of(predictions, domain, setting, name)
        if score is not None:
            own = aligned.filter(projector=name)
            found.append(Capacity(name, own["parameters"][0], own["tokens"][0], score))
    return sorted(found, key=lambda one: (one.parameters, one.projector))


def swept(tuning: pl.DataFrame) -> list[tuple[str, str]]:
    """The domains and settings in which other projectors were tuned."""
    others = tuning.filter(pl.col("projector") != OWN)
    return others.select("domain", "setting").unique(maintain_order=True).rows()


def capacity_findings(tuning: pl.DataFrame, predictions: pl.DataFrame, aligned: pl.DataFrame) -> list[Finding]:
    """Which projector gets furthest, and whether larger ones do: a sentence for every domain and setting."""
    found = []
    for domain, setting in swept(tuning):
        rows = capacities(aligned, predictions, domain, setting)
        others = [one for one in rows if one.projector != OWN]
        best = max(others, key=lambda one: float(one.score.mean))
        own = next((one for one in rows if one.projector == OWN), None)
        text = (
            f"Of {len(others)} other projectors under {setting} on {domain}, `{best.projector}` "
            f"({best.parameters:,} parameters, {best.tokens} image tokens) gets furthest: macro-F1 {worded(best.score)}"
        )
        if own is not None:
            text += f"; the model's own ({own.parameters:,}, {own.tokens}) gets {worded(own.score)}"
        found.append(Finding(f"{text}{_trend(others)}; n = {best.score.n} images.", 45.0))
    return found


def _trend(others: list[Capacity]) -> str:
    """Rank correlation of size and score; below six projectors nothing could be distinguished from chance."""
    sizes, means = [float(one.parameters) for one in others], [float(one.score.mean) for one in others]
    if len(others) < 6 or len(set(sizes)) < 2 or len(set(means)) < 2:
        return ""
    rank = correlate(np.array(sizes), np.array(means))
    value = wording.estimate(
        rank.spearman, rank.spearman_low, rank.spearman_high, digits=2, signed=True, brackets=False
    )
    return f"; rank correlation of size and macro-F1 over the {len(others)}: {value}, p = {rank.p:.2f}"
