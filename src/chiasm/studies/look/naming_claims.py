"""What is claimed of words at an object's tokens: more often its own than elsewhere, and than random directions have.

Shares are in points of tokens. Intervals and p-values hold over all lenses, words and states of a kind at once.
"""

import polars as pl

from chiasm.core.claims import MIN_INPUTS, Claim
from chiasm.results.example_columns import claims_of_columns
from chiasm.results.series import in_order
from chiasm.studies.look.judging import POINTS, beside_control, long_rows, share_columns, with_differences
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
    own = share_columns(long_rows(rows, about, pl.col("value")))
    level = share_columns(long_rows(rows, about, pl.col("level")))
    null = None if controls is None or not controls.height else long_rows(controls, about, pl.col("value"))
    bands, beside = own.bands(least, seed, _ERROR_SHARE), beside_control(own, null, least, seed, _ERROR_SHARE)
    quantity = f"share of the object's tokens with its word among the {RANK} nearest, less that of {_CONTROLS[place]}"

    def controlled(k: int) -> tuple[bool, str, float]:
        random = beside[k]
        return random is None or random.beyond, _CONTROLS[place], level.mean(k)

    common = {"kind": kind, "quantity": quantity, "unit": POINTS, "least": least, "controlled": controlled}
    return with_differences(claims_of_columns(own, bands, **common), beside)


def _enough(rows: pl.DataFrame) -> pl.DataFrame:
    """Those of lenses and words with enough inputs to establish anything, where there are any: few widen all bands."""
    unit = "input" if "input" in rows.columns else "example_id"
    many = pl.coalesce(unit, "example_id").n_unique().over("lens", "word") >= MIN_INPUTS
    kept = rows.filter(many)
    return kept if kept.height else rows


def abouts(named: pl.DataFrame) -> list[tuple[str, str]]:
    """The lenses and kinds of words that a table `named` has, in its order."""
    return [(lens, word) for lens in in_order(named, "lens") for word in in_order(named.filter(lens=lens), "word")]
