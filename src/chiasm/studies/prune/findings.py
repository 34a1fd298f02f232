"""What pruning costs, in words: every number stands in a table of the run."""

import polars as pl

from chiasm.results.findings import Finding, right_share
from chiasm.results.series import majority
from chiasm.studies.prune.common_findings import ablation, common, modalities, transfer
from chiasm.studies.prune.compare import LEVEL, Answers, Level, share_in_words
from chiasm.studies.prune.summary import perplexity
from chiasm.studies.prune.tables import DENSE, POOLED, UNCALIBRATED


def prune_findings(pruned: pl.DataFrame, controls: pl.DataFrame | None = None, *, seed: int = 0) -> list[Finding]:
    """What a mask costs, against other masks, by question type and modality; strongest first."""
    answers = Answers(pruned)
    levels = answers.levels
    found = [_cost(answers, levels, seed), _perplexity(pruned, levels), _scope(pruned, levels)]
    for finding in (
        _baselines(answers, levels, seed),
        transfer(answers, levels, seed),
        common(answers, levels, seed),
        modalities(answers, levels, seed),
        _centred(answers, levels, seed),
        ablation(answers, seed),
        _twin(controls),
    ):
        found += [finding] if finding is not None else []
    return sorted(found, key=lambda finding: -finding.strength)


def _cost(answers: Answers, levels: list[Level], seed: int) -> Finding:
    """The highest sparsity (of the first pattern and part) at which the pooled mask loses nothing significantly, with
    all lower ones."""
    dense = answers.right(DENSE, UNCALIBRATED, None)
    levels = [level for level in levels if level[1:] == levels[0][1:]]
    compared = answers.compare([(level, answers.right("wanda", POOLED, level), dense) for level in levels], seed)
    ordered = sorted(compared, key=lambda one: one.level.sparsity)
    safe = []
    for one in ordered:
        if one.significant and float(one.estimate.mean) < 0:
            break
        safe.append(one)
    untouched = f"untouched {answers.told(dense)}"
    guess = majority(answers.rows.filter(pl.col("mask") == DENSE))
    if not answers.share(dense).low > guess:
        untouched += (
            f", which is not above the {100 * guess:.0f} % of the most frequent answer: there is little to lose"
        )
    if not safe:
        first = ordered[0]
        text = (
            f"Zeroing {first.level} of the weights by Wanda already costs right answers: "
            f"{answers.told(answers.right('wanda', POOLED, first.level))}, {untouched} ({first})."
        )
        return Finding(text, 100.0)
    last = safe[-1]
    text = (
        f"Wanda zeroes {last.level} of the weights without a significant loss of right answers: "
        f"{answers.told(answers.right('wanda', POOLED, last.level))}, {untouched} ({last})."
    )
    if len(safe) < len(ordered):
        worse = ordered[len(safe)]
        text += f" At {worse.level} it is {answers.told(answers.right('wanda', POOLED, worse.level))} ({worse})."
    return Finding(text, 100.0)


def _baselines(answers: Answers, levels: list[Level], seed: int) -> Finding | None:
    names = [name for name in ("magnitude-row", "magnitude", "random") if name in set(answers.rows["mask"])]
    pairs = [
        (level, answers.right("wanda", POOLED, level), answers.right(name, UNCALIBRATED, level))
        for name in names
        for level in levels
    ]
    compared = answers.compare(pairs, seed)
    if not compared:
        return None
    by_name = {name: compared[k * len(levels) : (k + 1) * len(levels)] for k, name in enumerate(names)}
    # Where Wanda differs most from the nearest relative: the correction covers all levels and baselines.
    best = max(by_name[names[0]], key=lambda one: abs(float(one.estimate.mean))).level
    told = []
    for name in names:
        one = next(one for one in by_name[name] if one.level == best)
        verdict = "significant" if one.significant else "not significant"
        told.append(f"{name} {answers.told(answers.right(name, UNCALIBRATED, best))} (Wanda {one}, {verdict})")
    text = f"At {best}, Wanda keeps {answers.told(answers.right('wanda', POOLED, best))} right; {'; '.join(told)}."
    return Finding(text, 90.0)


def _centred(answers: Answers, levels: list[Level], seed: int) -> Finding | None:
    """Whether constant parts of the inputs mislead Wanda: its norms about zero and about the mean."""
    name = "wanda-centred"
    pairs = [(level, answers.right(name, POOLED, level), answers.right("wanda", POOLED, level)) for level in levels]
    compared = answers.compare(pairs, seed)
    if not compared:
        return None
    one = max(compared, key=lambda c: abs(float(c.estimate.mean)))
    better = float(one.estimate.mean) > 0
    verdict = ("keeps more" if better else "keeps fewer") if one.significant else "does not keep significantly more"
    own, wanda = (answers.told(answers.right(mask, POOLED, one.level)) for mask in (name, "wanda"))
    text = (
        f"Wanda with norms about the inputs' means, in place of zero, {verdict} right answers: most apart at "
        f"{one.level}, {own} against {wanda} ({one})."
    )
    return Finding(text, 85.0)


def _perplexity(pruned: pl.DataFrame, levels: list[Level]) -> Finding:
    told = [f"{_perplexity_of(pruned.filter(pl.col('mask') == DENSE))} untouched"]
    for level in levels:
        rows = pruned.filter(
            (pl.col("mask") == "wanda") & (pl.col("calibration") == POOLED) & (pl.col("pattern") == level.pattern),
            (pl.col("sparsity") - level.sparsity).abs() < 1e-9,
            pl.col("part") == level.part,
        )
        told.append(f"{_perplexity_of(rows)} at {level}")
    n = pruned["example_id"].n_unique()
    text = f"Perplexity of the labelled answers under Wanda: {', '.join(told)} (95 % bootstrap, n = {n})."
    return Finding(text, 50.0)


def _perplexity_of(rows: pl.DataFrame) -> str:
    found = perplexity(rows)
    low, high = found["perplexity_low"], found["perplexity_high"]
    spread = "no interval" if low is None or high is None else f"{low:.3g} to {high:.3g}"
    return f"{found['perplexity']:.3g} ({spread})"


def _twin(controls: pl.DataFrame | None) -> Finding | None:
    if controls is None or not controls.height:
        return None
    dense = controls.filter(pl.col("mask") == DENSE)
    masked = controls.filter(pl.col("mask") == "wanda")
    text = (
        f"The twin with random weights answers {_of(dense)} right untouched and {_of(masked)} under Wanda's masks: "
        "where nothing is known, nothing is lost."
        if masked["correct"].sum() >= dense["correct"].sum()
        else f"The twin with random weights answers {_of(dense)} right untouched and {_of(masked)} under Wanda's masks."
    )
    return Finding(text, 10.0)


def _scope(pruned: pl.DataFrame, levels: list[Level]) -> Finding:
    dense = pruned.filter(pl.col("mask") == DENSE)
    text = (
        f"{pruned.select('mask', 'calibration', *LEVEL).n_unique() - 1} masks at {len(levels)} "
        f"level{'' if len(levels) == 1 else 's'} of sparsity were tried on "
        f"{dense.height} examples; always giving the most frequent answer of the type reaches "
        f"{100 * majority(dense):.0f} %."
    )
    return Finding(text, 20.0)


def _of(rows: pl.DataFrame) -> str:
    return share_in_words(right_share(rows))
