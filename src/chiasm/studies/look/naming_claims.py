"""What is claimed of words at an object's tokens: more often its own than elsewhere, and than random directions have.

Shares are in points of tokens. Intervals and p-values hold over all lenses, words and states of a kind at once.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from chiasm.core.claims import MIN_INPUTS, Claim, Verdict, judged, known
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.studies.look.judging import POINTS, beside_control, columns_of, long_rows
from chiasm.studies.look.tables import ELSEWHERE, OBJECT, OTHER_OBJECT, RANDOM_DIRECTION, RANKS

RANK = RANKS[-1]
"""Of so many nearest words one must be the object's: that is what is claimed; the table has the nearest alone too."""
KINDS = {"named": ELSEWHERE, "named-other": OTHER_OBJECT, "named-random": RANDOM_DIRECTION}
"""Each kind of claim, and the place that the object's tokens are compared with."""
# A standard error below this share of the smallest effect worth naming counts as so much: an object has few tokens, so
# a share moves in steps, and of words that are near nowhere but once the spread is not known.
_ERROR_SHARE = 0.5
_CONTROLS = {
    ELSEWHERE: "the rest of the image",
    OTHER_OBJECT: "tokens of other objects",
    RANDOM_DIRECTION: "random directions",
}


def naming(named: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """The claims of the table `named`; `controls`: the same of models with random weights.

    A claim is against the rest of the image, in the same examples; where a model with random weights stands beside it,
    what is established goes beyond that too, and how far is a claim of the kind `named-beyond`.
    """
    found: list[Claim] = []
    for kind, place in KINDS.items():
        rows = differences(named, place)
        if rows.height:
            beside = None if controls is None or kind != "named" else differences(controls, place)
            found += _judged(kind, place, rows, beside, least, seed)
    return found


def differences(named: pl.DataFrame, place: str) -> pl.DataFrame:
    """Of each example, lens, kind of words and state: the share at the object less that at `place`, and the latter."""
    keys = ["example_id", "lens", "word", "layer"]
    rows = named.filter(k=RANK)
    other = rows.filter(place=place).select(*keys, level="share")
    both = rows.filter(place=OBJECT).join(other, on=keys, maintain_order="left")
    return both.with_columns(value=pl.col("share") - pl.col("level"))


def _judged(
    kind: str, place: str, rows: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int
) -> list[Claim]:
    about = pl.format("{}, {}", "lens", "word")
    rows = _enough(rows)
    own = columns_of(long_rows(rows, about, pl.col("value")))
    level = columns_of(long_rows(rows, about, pl.col("level")))
    null = None if controls is None or not controls.height else long_rows(controls, about, pl.col("value"))
    bands, beside = own.bands(least, seed, _ERROR_SHARE), beside_control(own, null, least, seed, _ERROR_SHARE)
    quantity = f"share of the object's tokens with its word among the {RANK} nearest, less that of {_CONTROLS[place]}"
    found = []
    for k, (name, state) in enumerate(own.columns):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        random, inputs = beside[k], own.inputs_of(k)
        controlled = True if random is None else random.beyond
        verdict = judged(effect, low, high, smallest=least, inputs=inputs, p=known(p), controlled=controlled)
        one = Claim(
            kind=kind,
            about=name,
            where=str(state),
            quantity=quantity,
            unit=POINTS,
            effect=effect,
            low=known(low),
            high=known(high),
            p=known(p),
            control=_CONTROLS[place],
            control_effect=float(np.mean(level.values[level.present[:, k], k])),
            n=int(bands.n[k]),
            inputs=inputs,
            verdict=verdict,
        )
        found.append(one)
        if random is not None:
            held: Verdict = "established" if verdict == "established" else "not established"
            beyond = replace(
                one,
                kind=f"{kind}-beyond",
                quantity=f"{quantity}; less that with random weights",
                effect=random.difference,
                low=known(random.low),
                high=known(random.high),
                p=known(random.p),
                control=RANDOM_WEIGHTS,
                control_effect=random.mean,
                n=random.n,
                verdict=held,
            )
            found.append(beyond)
    return found


def _enough(rows: pl.DataFrame) -> pl.DataFrame:
    """Those of lenses and words with enough inputs to establish anything, where there are any: few widen all bands."""
    unit = "input" if "input" in rows.columns else "example_id"
    many = pl.coalesce(unit, "example_id").n_unique().over("lens", "word") >= MIN_INPUTS
    kept = rows.filter(many)
    return kept if kept.height else rows


def abouts(named: pl.DataFrame) -> list[tuple[str, str]]:
    """The lenses and kinds of words that a table `named` has, in its order."""
    return [(lens, word) for lens in in_order(named, "lens") for word in in_order(named.filter(lens=lens), "word")]
