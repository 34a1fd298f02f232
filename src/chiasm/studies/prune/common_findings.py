"""Whether one mask serves all: question types, modalities, and what their masks share, in words."""

from collections.abc import Sequence
from math import factorial

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import holm
from chiasm.results.findings import Finding
from chiasm.studies.flow.judgement import ALPHA
from chiasm.studies.prune.compare import LEVEL, Answers, Level
from chiasm.studies.prune.tables import ABLATIONS, IMAGE_TOKENS, MODALITIES, POOLED, TEXT_TOKENS, TYPES


def transfer(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """Masks of a question's own type beside those of other types: on these examples, and for this pairing of masks."""
    if len(answers.types) < 2:
        return None
    compared = answers.compare([(level, *answers.own_and_others(level)) for level in levels], seed)
    if not compared:
        return None
    paired = holm(np.array([answers.pairing(one.level, seed) for one in compared]))
    one, p = max(zip(compared, paired, strict=True), key=lambda both: abs(float(both[0].estimate.mean)))
    count = len(answers.types)
    chance = f"handed to the types at random, the same masks are as far apart with p = {p:.2g}"
    if 1 / factorial(count) > ALPHA:
        chance += f" ({count} types are too few for less)"
    side = "better" if float(one.estimate.mean) > 0 else "worse"
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
            f"tell: at {one.level}, where the difference is largest, own minus others is {one}; {chance}."
        )
    return Finding(text, 80.0)


def common(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """The common subnetwork against the mask calibrated on all types together, at the same sparsity."""
    names = [name for name in ("intersection", "majority", "mean-score") if answers.right(name, TYPES, levels[0])]
    pairs = [
        (level, answers.right(name, TYPES, level), answers.right("wanda", POOLED, level))
        for name in names
        for level in levels
        if answers.right(name, TYPES, level)
    ]
    compared = answers.compare(pairs, seed)
    if not compared:
        return None
    chosen = max(range(len(compared)), key=lambda k: abs(float(compared[k].estimate.mean)))
    name = [name for name in names for level in levels if answers.right(name, TYPES, level)][chosen]
    one = compared[chosen]
    verdict = "differs" if one.significant else "does not differ significantly"
    text = (
        f"One common mask combined from the masks of all types (intersection, majority or mean score, at equal final "
        f"sparsity) {verdict} from one calibrated on all types at once; largest for {name} at {one.level} ({one})."
    )
    return Finding(text, 60.0)


def modalities(answers: Answers, levels: Sequence[Level], seed: int) -> Finding | None:
    """Masks calibrated on image tokens beside those calibrated on text tokens."""
    pairs = [
        (level, answers.right("wanda", IMAGE_TOKENS, level), answers.right("wanda", TEXT_TOKENS, level))
        for level in levels
    ]
    compared = answers.compare(pairs, seed)
    if not compared:
        return None
    one = max(compared, key=lambda c: abs(float(c.estimate.mean)))
    verdict = "differ" if one.significant else "do not differ significantly"
    text = (
        f"Masks calibrated on image tokens alone and on text tokens alone {verdict} in right answers; most at "
        f"{one.level} (image minus text {one})."
    )
    return Finding(text, 70.0)


def ablation(answers: Answers, seed: int) -> Finding | None:
    """Few weights zeroed where masks of image and text tokens agree, and where not, against as many at random."""
    rows = answers.rows.filter(pl.col("mask").is_in(ABLATIONS))
    if not rows.height:
        return None
    level = Level(*rows.select(LEVEL).row(0))
    named = ("that both keep", "that only the image mask keeps", "that only the text mask keeps")
    control = answers.right(ABLATIONS[3], MODALITIES, level)
    compared = answers.compare(
        [(level, answers.right(name, MODALITIES, level), control) for name in ABLATIONS[:3]], seed
    )
    told = [
        f"{words}: {answers.told(answers.right(name, MODALITIES, level))} "
        f"({one}, {'significant' if one.significant else 'not significant'})"
        for name, words, one in zip(ABLATIONS, named, compared, strict=False)
    ]
    text = (
        f"At most {level} of the weights zeroed at random leave {answers.told(control)} right; as many "
        f"{'; '.join(told)}. Kept weights are larger than weights drawn at random, so the comparison between the "
        "three says more."
    )
    return Finding(text, 65.0)
