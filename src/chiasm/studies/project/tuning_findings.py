"""What tuning bought, in words: every number stands in a table of the run."""

import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval, proportion_interval
from chiasm.results.findings import Finding
from chiasm.studies.project.scores import by_seed, ordering, pooled
from chiasm.studies.project.tables import IMAGE_LINEAR, IMAGE_MLP, OWN, RANDOM, TOWER

_BAD = 0.05


def tuning_findings(tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None) -> list[Finding]:
    """Per domain: the best setting, whether the paper's ordering holds, format against knowledge, what it cost."""
    found = [_ordering(tuning, predictions)]
    own = tuning.filter(projector=OWN)
    for domain in own["domain"].unique(maintain_order=True):
        part = own.filter(domain=domain)
        found.append(_best(domain, part, predictions, references))
        found += _format(domain, part, predictions) + _cost(domain, part)
    broken = tuning.filter(pl.col("diverged").is_not_null())
    if broken.height:
        names = ", ".join(f"{r['setting']} (seed {r['seed']}, {r['domain']})" for r in broken.iter_rows(named=True))
        found.append(Finding(f"The loss was no number any more in {names}: the last good state was scored.", 90.0))
    return sorted([f for f in found if f is not None], key=lambda finding: -finding.strength)


def _ordering(tuning: pl.DataFrame, predictions: pl.DataFrame) -> Finding:
    pairs = ordering(tuning, predictions)
    if not pairs:
        return Finding("The paper's ordering was not tested: it needs zero-shot, ft-proj and ft-e2e.", 1.0)
    told = []
    holds = True
    for pair in pairs:
        sure = pair["low"] > 0  # type: ignore[operator]
        holds &= bool(sure)
        told.append(
            f"{pair['better']} - {pair['worse']} = {pair['difference']:+.3f} macro-F1 on {pair['domain']} "
            f"({pair['low']:+.3f} to {pair['high']:+.3f})"
        )
    verdict = "holds" if holds else "does not hold in every pair, or not surely"
    return Finding(f"The paper's ordering FT-E2E > FT-Proj > zero-shot {verdict}: {'; '.join(told)}.", 100.0)


def _best(
    domain: str, part: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None
) -> Finding | None:
    means = part.group_by("setting", maintain_order=True).agg(pl.col("macro_f1").mean()).sort("macro_f1")
    name = means["setting"][-1]
    score = pooled(predictions, domain, name)
    base = pooled(predictions, domain, "zero-shot")
    if score is None:
        return None
    if float(score.mean) == 0:
        text = f"On {domain} no setting names one picture right in a free answer (n = {score.n} pictures)."
        return Finding(text, 80.0)
    text = f"On {domain}, {name} answers best: macro-F1 {score.mean:.3f} ({score.low:.3f} to {score.high:.3f}, n = "
    text += f"{score.n} pictures, {by_seed(part, name)})"
    text += f", from {base.mean:.3f} untuned" if base is not None and name != "zero-shot" else ""
    if references is not None:
        beside = references.filter(domain=domain)
        told = [
            f"{title} {own['macro_f1'].mean():.3f}"
            for key, title in ((RANDOM, "chance"), (TOWER, "the tower's zero-shot"), (IMAGE_LINEAR, "a line on CLS"),
                               (IMAGE_MLP, "an MLP on CLS"))
            if (own := beside.filter(reference=key)).height
        ]  # fmt: skip
        text += f"; without a language model: {', '.join(told)}" if told else ""
    return Finding(f"{text}.", 80.0)


def _format(domain: str, part: pl.DataFrame, predictions: pl.DataFrame) -> list[Finding]:
    """Where free answers are worse than the most probable label, and that is surely better than chance."""
    means = part.group_by("setting", maintain_order=True).agg(
        pl.col("accuracy", "constrained_accuracy", "invalid_rate").mean(), pl.col("n").first()
    )
    gap = means.filter(pl.col("constrained_accuracy") - pl.col("accuracy") > _BAD)
    gap = gap.filter(pl.col("setting").is_in(_knowing(predictions.filter(domain=domain, projector=OWN))))
    if not gap.height:
        return []
    told = [
        f"{r['setting']} ({r['accuracy']:.2f} free, {r['constrained_accuracy']:.2f} among the labels, "
        f"{100 * r['invalid_rate']:.0f} % invalid)"
        for r in gap.iter_rows(named=True)
    ]
    text = f"On {domain} part of what is missing is form, not knowledge: {', '.join(told)}; n = {gap['n'][0]}."
    return [Finding(text, 60.0)]


def _knowing(predictions: pl.DataFrame) -> list[str]:
    """The settings whose most probable label is right surely more often than a uniform draw among the labels."""
    chance = 1 / max(1, predictions["label"].n_unique())
    right = predictions.with_columns(right=(pl.col("constrained") == pl.col("label")).cast(pl.Float64))
    each = right.group_by("setting", "example_id", maintain_order=True).agg(pl.col("right").mean())
    names = each["setting"].unique(maintain_order=True)
    return [n for n in names if float(mean_interval(each.filter(setting=n)["right"].to_numpy()).low) > chance]


def _cost(domain: str, part: pl.DataFrame) -> list[Finding]:
    known = part.filter(pl.col("skill").is_not_null() & (pl.col("skill_n") > 0))
    means = known.group_by("setting", maintain_order=True).agg(pl.col("skill").mean(), pl.col("skill_n").first())
    base = means.filter(setting="zero-shot")
    if not base.height or means.height < 2:
        return []
    n = int(base["skill_n"][0])
    shares = {str(name): _share(float(skill), n) for name, skill, _ in means.iter_rows()}
    whole = shares.pop("zero-shot")
    sure = [name for name, share in shares.items() if share.high < whole.low]
    text = f"Tuning on {domain} costs general skill in {', '.join(sure)}"
    text = text if sure else f"Tuning on {domain} shows no sure cost in general skill"
    told = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
    text += f": {_percent(whole)} of {n} held-out scenes right before, then {told}."
    return [Finding(text, 50.0)]


def _share(skill: float, n: int) -> Estimate:
    """A mean over seeds, with the interval of one seed's scenes: the same scenes are asked under every seed."""
    return proportion_interval(round(skill * n), n)


def _percent(share: Estimate) -> str:
    return f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
