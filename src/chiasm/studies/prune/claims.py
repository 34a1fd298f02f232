"""What a pruning run says: what masks cost, which is recommended, and masks compared on the same examples.

Differences are in right answers, in points, paired by example; whole inputs are drawn. Claims of one kind hold at once,
over all levels, so that the largest may be picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, factorial
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import Bands, mean_bands
from chiasm.core.statistics.intervals import critical
from chiasm.core.statistics.shares import share_bands
from chiasm.interventions.masks import ABLATIONS, RELEASED_INTERSECTION
from chiasm.results.claims import untouched_score
from chiasm.results.doubts import ALLOWED
from chiasm.results.series import with_inputs
from chiasm.studies.options import MAX_LOSS
from chiasm.studies.prune.scores import LEVEL, Answers, Level
from chiasm.studies.prune.tables import (
    DENSE,
    IMAGE_TOKENS,
    MODALITIES,
    POOLED,
    SMALLEST,
    TEXT_TOKENS,
    TYPES,
    UNCALIBRATED,
)

AT_RANDOM = "the same masks handed to the types at random"
UNTOUCHED = "the untouched model"
# A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`).
_ERROR_SHARE = 0.2
_Right = Mapping[str, float]


class Pair(NamedTuple):
    """Two masks on the same examples (100 where an answer is right, by example). `control`: the name of the second."""

    about: str
    level: Level
    control: str
    first: _Right
    second: _Right


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm prune`, from its tables alone: `pruned`, and of `pruned_controls`, `examples`, `masks` and
    `sizes` what there is.

    `smallest`: the smallest difference of right answers worth naming (points). Of what a mask loses against the
    untouched model it is the loss allowed, which stands in the table `masks`.
    """
    least, examples = SMALLEST if smallest is None else smallest, tables.get("examples")
    answers = Answers(with_inputs(tables["pruned"], examples))
    found = [
        untouched_score(answers.rows.filter(pl.col("mask") == DENSE), DENSE, "untouched"),
        *_losses(answers, _allowed(tables.get("masks"))),
        *_savings(answers, tables.get("sizes")),
    ]
    for kind, pairs in (
        ("method", _methods(answers)),
        ("variant", _variants(answers)),
        ("combined", _combined(answers)),
        ("released", _released(answers)),
        ("modality", _modalities(answers)),
        ("ablation", _ablations(answers)),
    ):
        found += _compared(kind, answers, pairs, least)
    found += _own_type(answers, least, seed)
    controls = tables.get("pruned_controls")
    if controls is not None and controls.height:
        found += _random_weights(Answers(with_inputs(controls, examples)), least)
    return found


def _allowed(masks: pl.DataFrame | None) -> float:
    given = [] if masks is None or "max_loss" not in masks.columns else masks["max_loss"].drop_nulls().to_list()
    return float(given[0]) if given else MAX_LOSS


def _losses(answers: Answers, allowed: float) -> list[Claim]:
    """What Wanda's masks of all types lose at every level, which keep the loss allowed, and which is recommended."""
    dense = answers.right(DENSE, UNCALIBRATED, None)
    pairs = [
        Pair("wanda", level, UNTOUCHED, dense, right)
        for level in answers.levels
        if (right := answers.right("wanda", POOLED, level)) and dense.keys() & right.keys()
    ]
    if not pairs:
        return []
    bands = _bands(answers, pairs)
    found, kept = [], []
    for k, pair in enumerate(pairs):
        values = _values(bands, k)
        shared = {"about": pair.about, "where": str(pair.level), "unit": "points", **values}
        loss = Claim(
            kind="loss",
            quantity="right answers lost",
            control=UNTOUCHED,
            control_effect=0.0,
            verdict=judged(
                values["effect"],
                values["low"],
                values["high"],
                smallest=100 * allowed,
                inputs=bands.inputs,
                p=values["p"],
            ),
            **shared,
        )
        within = loss.high is not None and loss.high <= 100 * allowed + 1e-9
        found.append(loss)
        kept.append(
            Claim(
                kind="kept",
                quantity="right answers lost, within the loss allowed",
                control=ALLOWED,
                control_effect=100 * allowed,
                verdict="established" if within else "not established",
                **(shared | {"p": None}),
            )
        )
    # The most weights zeroed; of equal shares the first that was asked for.
    fitting = [k for k, one in enumerate(kept) if one.established]
    chosen = max(fitting, key=lambda k: (pairs[k].level.sparsity, -k), default=None)
    sparsity = 0.0 if chosen is None else 100 * pairs[chosen].level.sparsity
    found += kept
    found.append(
        Claim(
            kind="recommended",
            about=DENSE if chosen is None else "wanda",
            where="all" if chosen is None else str(pairs[chosen].level),
            quantity="weights zeroed",
            unit="%",
            effect=sparsity,
            low=sparsity,
            high=sparsity,
            n=len(dense),
            inputs=bands.inputs,
            verdict="not established" if chosen is None else "established",
        )
    )
    if allowed:
        needed = ceil(critical(len(pairs)) ** 2 * (1 - allowed) / allowed)
        found.append(
            Claim(
                kind="needed",
                about="a mask under which no answer changes",
                quantity="inputs on which it is known to keep within the loss allowed",
                unit="inputs",
                effect=float(needed),
                control="inputs that there are",
                control_effect=float(bands.inputs),
                n=len(dense),
                inputs=bands.inputs,
                verdict="established",
            )
        )
    return found


def _savings(answers: Answers, sizes: pl.DataFrame | None) -> list[Claim]:
    """What masks of every level leave out, counted: weights, bytes, products."""
    found = []
    for row in [] if sizes is None else sizes.iter_rows(named=True):
        level = str(Level(*(row[name] for name in LEVEL)))
        for kind, quantity, unit, value, whole in (
            ("saved-weights", "weights zeroed, of control_effect in the model", "weights", row["zeroed"], "parameters"),
            ("saved-bytes", "bytes less where zeros are not stored", "bytes", row["bytes_saved"], "bytes"),
            ("saved-operations", "products of a token with the decoder's weights that are 0", "%", None, None),
        ):
            effect = float(100 * row["operations_share"] if value is None else value)
            found.append(
                Claim(
                    kind=kind,
                    about="every mask",
                    where=level,
                    quantity=quantity,
                    unit=unit,
                    effect=effect,
                    low=effect,
                    high=effect,
                    control=None if whole is None else UNTOUCHED,
                    control_effect=None if whole is None else float(row[whole]),
                    n=answers.rows["example_id"].n_unique(),
                    verdict="established",
                )
            )
    return found


def _compared(kind: str, answers: Answers, pairs: Sequence[Pair], least: float) -> list[Claim]:
    """Each pair, first minus second; the control's effect is what it loses against the untouched model."""
    pairs = [pair for pair in pairs if pair.first.keys() & pair.second.keys()]
    if not pairs:
        return []
    bands = _bands(answers, pairs)
    dense = answers.right(DENSE, UNCALIBRATED, None)
    found = []
    for k, pair in enumerate(pairs):
        values = _values(bands, k)
        both = [name for name in pair.second if name in dense]
        lost = float(np.mean([dense[name] - pair.second[name] for name in both])) if both else None
        found.append(
            Claim(
                kind=kind,
                about=pair.about,
                where=str(pair.level),
                quantity="right answers more than under the control, which loses control_effect",
                unit="points",
                control=pair.control,
                control_effect=lost,
                verdict=judged(
                    values["effect"], values["low"], values["high"], smallest=least, inputs=bands.inputs, p=values["p"]
                ),
                **values,
            )
        )
    return found


def _bands(answers: Answers, pairs: Sequence[Pair]) -> Bands:
    """First minus second (of 1) of all pairs at once."""
    examples = list(dict.fromkeys(name for pair in pairs for name in pair.first if name in pair.second))
    first, second = (np.zeros((len(examples), len(pairs)), dtype=bool) for _ in range(2))
    present: Bool[np.ndarray, "n k"] = np.zeros((len(examples), len(pairs)), dtype=bool)
    for k, pair in enumerate(pairs):
        for i, name in enumerate(examples):
            if name in pair.first and name in pair.second:
                first[i, k], second[i, k], present[i, k] = pair.first[name] > 0, pair.second[name] > 0, True
    return share_bands(first, second, clusters=answers.inputs_of(examples), present=present)


def _values(bands: Bands, k: int, scale: float = 100.0) -> dict[str, float | int | None]:
    """One column of bands as the fields of a claim."""
    effect, low, high = (scale * float(x[k]) for x in (bands.mean, bands.low, bands.high))
    p = known(float(bands.p[k]))
    return {
        "effect": effect,
        "low": known(low),
        "high": known(high),
        "p": p,
        "n": int(bands.n[k]),
        "inputs": bands.inputs,
    }


def _methods(answers: Answers) -> list[Pair]:
    """Wanda beside magnitude and beside one random mask, at every level."""
    return [
        Pair("wanda", level, name, answers.right("wanda", POOLED, level), answers.right(name, UNCALIBRATED, level))
        for name in ("magnitude-row", "magnitude", "random")
        for level in answers.levels
    ]


def _variants(answers: Answers) -> list[Pair]:
    """Norms about the inputs' means in place of zero: whether constant parts of the inputs mislead Wanda."""
    return [
        Pair(name, level, "wanda", answers.right(name, POOLED, level), answers.right("wanda", POOLED, level))
        for name in ("wanda-centred",)
        for level in answers.levels
    ]


def _combined(answers: Answers) -> list[Pair]:
    """The common subnetwork against the mask calibrated on all types together, at the same sparsity."""
    return [
        Pair(name, level, "wanda", answers.right(name, TYPES, level), answers.right("wanda", POOLED, level))
        for name in ("intersection", "majority", "mean-score")
        for level in answers.levels
    ]


def _released(answers: Answers) -> list[Pair]:
    """What all masks keep, as the released code has it, against the same at the sparsity that it is named by."""
    first, second = RELEASED_INTERSECTION, "intersection"
    return [
        Pair(first, level, second, *(answers.right(name, TYPES, level) for name in (first, second)))
        for level in answers.levels
    ]


def _modalities(answers: Answers) -> list[Pair]:
    """Masks calibrated on image tokens beside those calibrated on as many text tokens."""
    both = (IMAGE_TOKENS, TEXT_TOKENS)
    return [
        Pair(*both[:1], level, both[1], *(answers.right("wanda", one, level) for one in both))
        for level in answers.levels
    ]


def _ablations(answers: Answers) -> list[Pair]:
    """Few weights zeroed where masks of image and text tokens agree, and where not: against random ones, each other."""
    rows = answers.rows.filter(pl.col("mask").is_in(ABLATIONS))
    if not rows.height:
        return []
    level = Level(*rows.select(LEVEL).row(0))
    common, first, second, random = ABLATIONS
    pairs = [(common, random), (first, random), (second, random), (common, first), (common, second)]
    right = {name: answers.right(name, MODALITIES, level) for name in ABLATIONS}
    return [Pair(a, level, b, right[a], right[b]) for a, b in pairs]


def _own_type(answers: Answers, least: float, seed: int) -> list[Claim]:
    """Masks of a question's own type beside those of other types: on these examples, and for this pairing of masks."""
    if len(answers.types) < 2:
        return []
    levels = [level for level in answers.levels if answers.own_and_others(level)[0]]
    if not levels:
        return []
    columns = [answers.own_and_others(level) for level in levels]
    examples = [name for name in columns[0][0] if all(name in own for own, _ in columns)]
    values: Float[np.ndarray, "n k"] = np.array(
        [[own[name] - others[name] for own, others in columns] for name in examples]
    )
    bands = mean_bands(values, clusters=answers.inputs_of(examples), smallest_error=_ERROR_SHARE * least, seed=seed)
    found, beyond = [], []
    for k, level in enumerate(levels):
        own, pairing = _values(bands, k, scale=1.0), answers.pairing(level, seed, len(levels))
        effect, p = float(bands.mean[k]), known(float(bands.p[k]))
        shared = {"about": f"masks of {len(answers.types)} question types", "where": str(level), "unit": "points"}
        shared |= {"control": AT_RANDOM, "control_effect": pairing.reach}
        # With this pairing held to be one of all: what it differs by, less what any would.
        around = own | {"low": effect - pairing.reach, "high": effect + pairing.reach, "p": pairing.p}
        handed = judged(effect, around["low"], around["high"], smallest=least, p=pairing.p, inputs=bands.inputs)
        quantity = "right answers more under the mask of a question's own type than under those of others"
        verdict = judged(
            effect,
            own["low"],
            own["high"],
            smallest=least,
            p=p,
            controlled=handed == "established",
            inputs=bands.inputs,
        )
        found.append(Claim(kind="own-type", quantity=quantity, verdict=verdict, **shared, **own))
        what = f"{quantity}, interval over pairings of these masks with the types"
        beyond.append(Claim(kind="own-type-control", quantity=what, verdict=handed, **shared, **around))
    return found + beyond


def least_pairing(types: int) -> float:
    """The least p-value that so many masks can give when they are handed to the types at random."""
    return 1 / factorial(types)


def _random_weights(answers: Answers, least: float) -> list[Claim]:
    """The same in a model with random weights: what a loss means where nothing is known."""
    dense = answers.right(DENSE, UNCALIBRATED, None)
    pairs = [
        Pair("random weights", level, UNTOUCHED, dense, answers.right("wanda", POOLED, level))
        for level in answers.levels
    ]
    pairs = [pair for pair in pairs if pair.first.keys() & pair.second.keys()]
    if not pairs:
        return []
    share = float(np.mean(list(dense.values())))
    found = [untouched_score(answers.under(DENSE, UNCALIBRATED, None), "random weights", "random-weights")]
    found = [replace(found[0], kind="baseline-score")]
    if share < least:
        return found  # what is never right cannot lose
    bands = _bands(answers, pairs)
    for k, pair in enumerate(pairs):
        values = _values(bands, k)
        found.append(
            Claim(
                kind="baseline",
                about=pair.about,
                where=str(pair.level),
                quantity="right answers lost under Wanda by a model with random weights, of control_effect per cent",
                unit="points",
                control="it untouched",
                control_effect=share,
                verdict=judged(
                    values["effect"], values["low"], values["high"], smallest=least, inputs=bands.inputs, p=values["p"]
                ),
                **values,
            )
        )
    return found
