"""What pruning costs, and whether one mask serves all, in words: every number stands in a table of the run."""

from collections.abc import Sequence
from math import factorial

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import ALPHA, holm
from chiasm.interventions.masks import ABLATIONS
from chiasm.results.findings import Finding
from chiasm.results.series import majority, right_share
from chiasm.results.wording import estimate, percent
from chiasm.studies.prune.scores import LEVEL, Answers, Level, largest, perplexity, share_in_words
from chiasm.studies.prune.tables import DENSE, IMAGE_TOKENS, MODALITIES, POOLED, TEXT_TOKENS, TYPES, UNCALIBRATED


def prune_findings(pruned: pl.DataFrame, controls: pl.DataFrame | None = None, *, seed: int = 0) -> list[Finding]:
    """What a mask costs, against other masks, by question type and modality; strongest first."""
    answers = Answers(pruned)
    levels = answers.levels
    found = [
        _cost(answers, levels, seed),
        _perplexity(answers, levels),
        _scope(pruned, levels),
        _other_methods(answers, levels, seed),
        _own_type(answers, levels, seed),
        _combined(answers, levels, seed),
        _modalities(answers, levels, seed),
        _centred(answers, levels, seed),
        _ablation(answers, seed),
        _random_weights(controls),
    ]
    return sorted((one for one in found if one is not None), key=lambda finding: -finding.strength)


def _cost(answers: Answers, levels: list[Level], seed: int) -> Finding:
    """The highest sparsity (of the first pattern and part) at which the pooled mask loses nothing significantly, with
    all lower ones."""
    dense = answers.right(DENSE, UNCALIBRATED, None)
    levels = [level for level in levels if level[1:] == levels[0][1:]]
    compared = answers.compare([(level, answers.right("wanda", POOLED, level), dense) for level in levels], seed)
    ordered = sorted(compared, key=lambda one: one.level.sparsity)
    safe = []
    for one in ordered:
        if one.significant and one.mean < 0:
            break
        safe.append(one)
    untouched = f"untouched {answers.in_words(DENSE, UNCALIBRATED, None)}"
    guess = majority(answers.rows.filter(pl.col("mask") == DENSE))
    if not answers.share(dense).low > guess:
        untouched += f", which is not above the {percent(guess)} of the most frequent answer: there is little to lose"
    if not safe:
        first = ordered[0]
        text = (
            f"Zeroing {first.level} of the weights by Wanda already costs right answers: "
            f"{answers.in_words('wanda', POOLED, first.level)}, {untouched} ({first})."
        )
        return Finding(text, 100.0)
    last = safe[-1]
    text = (
        f"Wanda zeroes {last.level} of the weights without a significant loss of right answers: "
        f"{answers.in_words('wanda', POOLED, last.level)}, {untouched} ({last})."
    )
    if len(safe) < len(ordered):
        worse = ordered[len(safe)]
        text += f" At {worse.level} it is {answers.in_words('wanda', POOLED, worse.level)} ({worse})."
    return Finding(text, 100.0)


def _other_methods(answers: Answers, levels: list[Level], seed: int) -> Finding | None:
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
    # Where Wanda differs most from the nearest relative: the correction covers all levels and methods.
    best = largest(by_name[names[0]]).level
    parts = []
    for name in names:
        one = next(one for one in by_name[name] if one.level == best)
        verdict = "significant" if one.significant else "not significant"
        parts.append(f"{name} {answers.in_words(name, UNCALIBRATED, best)} (Wanda {one}, {verdict})")
    text = f"At {best}, Wanda keeps {answers.in_words('wanda', POOLED, best)} right; {'; '.join(parts)}."
    return Finding(text, 90.0)


def _centred(answers: Answers, levels: list[Level], seed: int) -> Finding | None:
    """Whether constant parts of the inputs mislead Wanda: its norms about zero and about the mean."""
    name = "wanda-centred"
    compared = answers.compare_masks((name, POOLED), ("wanda", POOLED), levels, seed)
    if not compared:
        return None
    one = largest(compared)
    verdict = (
        ("keeps more" if one.mean > 0 else "keeps fewer") if one.significant else "does not keep significantly more"
    )
    own, wanda = (answers.in_words(mask, POOLED, one.level) for mask in (name, "wanda"))
    text = (
        f"Wanda with norms about the inputs' means, in place of zero, {verdict} right answers: the difference is "
        f"largest at {one.level}, {own} against {wanda} ({one})."
    )
    return Finding(text, 85.0)


def _own_type(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """Masks of a question's own type beside those of other types: on these examples, and for this pairing of masks."""
    if len(answers.types) < 2:
        return None
    compared = answers.compare([(level, *answers.own_and_others(level)) for level in levels], seed)
    if not compared:
        return None
    paired = holm(np.array([answers.pairing(one.level, seed) for one in compared]))
    one, p = max(zip(compared, paired, strict=True), key=lambda both: abs(both[0].mean))
    count = len(answers.types)
    chance = f"handed to the types at random, the same masks differ as much with p = {p:.2g}"
    if 1 / factorial(count) > ALPHA:
        chance += f" ({count} types are too few for less)"
    side = "better" if one.mean > 0 else "worse"
    if one.significant and p <= ALPHA:
        text = (
            f"Masks do not serve all {count} question types alike: at {one.level} the mask calibrated on a question's "
            f"own type does {side} than those of other types ({one}; {chance})."
        )
    elif one.significant:
        text = (
            f"At {one.level} masks calibrated on a question's own type do {side} on these examples than those of other "
            f"types ({one}), but {chance}: that the type matters to a mask is not shown."
        )
    else:
        text = (
            f"A mask calibrated on one of {count} question types serves the others as well as far as these examples "
            f"show: at {one.level}, where the difference is largest, own minus others is {one}; {chance}."
        )
    return Finding(text, 80.0)


def _combined(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """The common subnetwork against the mask calibrated on all types together, at the same sparsity."""
    named = [
        (name, level)
        for name in ("intersection", "majority", "mean-score")
        if answers.right(name, TYPES, levels[0])
        for level in levels
        if answers.right(name, TYPES, level)
    ]
    pairs = [(level, answers.right(name, TYPES, level), answers.right("wanda", POOLED, level)) for name, level in named]
    compared = answers.compare(pairs, seed)
    if not compared:
        return None
    (name, _), one = max(zip(named, compared, strict=False), key=lambda both: abs(both[1].mean))
    verdict = "differs" if one.significant else "does not differ significantly"
    text = (
        f"One common mask combined from the masks of all types (intersection, majority or mean score, at equal final "
        f"sparsity) {verdict} from one calibrated on all types at once; largest for {name} at {one.level} ({one})."
    )
    return Finding(text, 60.0)


def _modalities(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """Masks calibrated on image tokens beside those calibrated on text tokens."""
    compared = answers.compare_masks(("wanda", IMAGE_TOKENS), ("wanda", TEXT_TOKENS), levels, seed)
    if not compared:
        return None
    one = largest(compared)
    verdict = "differ" if one.significant else "do not differ significantly"
    text = (
        f"Masks calibrated on image tokens alone and on text tokens alone {verdict} in right answers; most at "
        f"{one.level} (image minus text {one})."
    )
    return Finding(text, 70.0)


def _ablation(answers: Answers, seed: int) -> Finding | None:
    """Few weights zeroed where masks of image and text tokens agree, and where not, against as many at random."""
    rows = answers.rows.filter(pl.col("mask").is_in(ABLATIONS))
    if not rows.height:
        return None
    level = Level(*rows.select(LEVEL).row(0))
    named = ("that both keep", "that only the image mask keeps", "that only the text mask keeps")
    *names, random = ABLATIONS
    control = answers.right(random, MODALITIES, level)
    compared = answers.compare([(level, answers.right(name, MODALITIES, level), control) for name in names], seed)
    parts = [
        f"{words}: {answers.in_words(name, MODALITIES, level)} "
        f"({one}, {'significant' if one.significant else 'not significant'})"
        for name, words, one in zip(names, named, compared, strict=False)
    ]
    text = (
        f"At most {level} of the weights zeroed at random leave {answers.in_words(random, MODALITIES, level)} right; "
        f"as many {'; '.join(parts)}. Kept weights are larger than weights drawn at random, so the comparison between "
        "the three says more."
    )
    return Finding(text, 65.0)


def _perplexity(answers: Answers, levels: list[Level]) -> Finding:
    parts = [f"{_perplexity_of(answers.under(DENSE, UNCALIBRATED, None))} untouched"]
    parts += [f"{_perplexity_of(answers.under('wanda', POOLED, level))} at {level}" for level in levels]
    n = answers.rows["example_id"].n_unique()
    text = f"Perplexity of the labelled answers under Wanda: {', '.join(parts)} (n = {n})."
    return Finding(text, 50.0)


def _perplexity_of(rows: pl.DataFrame) -> str:
    found = perplexity(rows)
    return estimate(found["perplexity"], found["perplexity_low"], found["perplexity_high"], significant=3)


def _random_weights(controls: pl.DataFrame | None) -> Finding | None:
    if controls is None or not controls.height:
        return None
    dense, masked = (controls.filter(pl.col("mask") == mask) for mask in (DENSE, "wanda"))
    untouched, under = (share_in_words(right_share(rows)) for rows in (dense, masked))
    text = f"The random-weights baseline answers {untouched} right untouched and {under} under Wanda's masks"
    lost = masked["correct"].sum() < dense["correct"].sum()
    return Finding(f"{text}." if lost else f"{text}: where nothing is known, nothing is lost.", 10.0)


def _scope(pruned: pl.DataFrame, levels: list[Level]) -> Finding:
    dense = pruned.filter(pl.col("mask") == DENSE)
    text = (
        f"{pruned.select('mask', 'calibration', *LEVEL).n_unique() - 1} masks at {len(levels)} "
        f"level{'' if len(levels) == 1 else 's'} of sparsity were tried on "
        f"{dense.height} examples; always giving the most frequent answer of the type reaches "
        f"{percent(majority(dense))}."
    )
    return Finding(text, 20.0)
