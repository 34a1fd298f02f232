"""Whether the gradient ranks patches as exact ones do, and how far it is off: what attribution patching is worth."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import Bands, mean_bands
from chiasm.results.example_columns import ERROR_SHARE
from chiasm.results.series import in_order
from chiasm.studies.patch.agreement import LEAST, rank_correlation
from chiasm.studies.patch.shares import POINTS

TOKENS: Final = "single tokens"
SPANS: Final = "whole spans"
_FEWEST: Final = 6
"""Of fewer points of a pair no correlation is taken."""


def screen_claims(effects: pl.DataFrame, screen: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """For single tokens (the sample) and for whole spans (the sum over their tokens), in each direction: the mean over
    pairs of the rank correlation of the gradient with the exact patch, and of its mean error in points of the gap."""
    found = []
    for what, rows in ((TOKENS, screen.drop_nulls(["estimate", "exact"])), (SPANS, span_rows(effects, screen))):
        for direction in in_order(rows, "direction"):
            own = rows.filter(direction=direction)
            found += _claims(f"{what}, {direction}", own, least, seed)
    return found


def span_rows(effects: pl.DataFrame, screen: pl.DataFrame) -> pl.DataFrame:
    """The gradient's shares summed over the tokens of each part, beside the exact ones of the same span and layer."""
    keys = ["example_id", "site", "span", "layer", "direction"]
    sums = screen.drop_nulls("estimate").rename({"part": "span"}).group_by(keys, maintain_order=True)
    exact = effects.filter(pl.col("stop") - pl.col("start") == 1).drop_nulls("recovery")
    kept = [*keys, *(["input"] if "input" in effects.columns else []), "recovery"]
    summed = sums.agg(pl.col("estimate").sum())
    # Where every token is alike in both runs the gradient says nothing moves.
    joined = exact.select(kept).join(summed, on=keys, how="left", maintain_order="left")
    there = joined.filter(pl.col("example_id").is_in(screen["example_id"].unique().to_list()))
    return there.with_columns(pl.col("estimate").fill_null(0.0)).rename({"recovery": "exact"})


def _claims(about: str, rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    names, inputs, ranks, errors = [], [], [], []
    for (example,), one in rows.group_by(["example_id"], maintain_order=True):
        if one.height < _FEWEST:
            continue
        estimate, exact = one["estimate"].to_numpy(), one["exact"].to_numpy()
        rank = rank_correlation(estimate, exact)
        names.append(str(example))
        inputs.append(str(one["input"][0]) if "input" in one.columns else str(example))
        # Where one of the two is the same everywhere it ranks nothing.
        ranks.append(0.0 if np.isnan(rank) else rank)
        errors.append(100 * float(np.abs(estimate - exact).mean()))
    if not names:
        return []
    quantity = "rank correlation of the gradient's word with the exact patch, mean over pairs"
    rank = mean_bands(np.array(ranks)[:, None], clusters=inputs, smallest_error=0.01, seed=seed)
    error = mean_bands(np.array(errors)[:, None], clusters=inputs, smallest_error=ERROR_SHARE * least, seed=seed)
    return [
        _claim("screen", about, quantity, "1", rank, LEAST, ("points in another order", 0.0)),
        _claim("screen-error", about, "mean size of the gradient's error", f"{POINTS} of the gap", error, least, None),
    ]


def _claim(
    kind: str, about: str, quantity: str, unit: str, bands: Bands, least: float, control: tuple[str, float] | None
) -> Claim:
    effect, low, high, p = (float(x[0]) for x in (bands.mean, bands.low, bands.high, bands.p))
    bound = (max(low, -1.0), min(high, 1.0)) if unit == "1" else (max(low, 0.0), high)
    return Claim(
        kind=kind,
        about=about,
        quantity=quantity,
        unit=unit,
        effect=effect,
        low=known(bound[0]),
        high=known(bound[1]),
        p=known(p),
        control=None if control is None else control[0],
        control_effect=None if control is None else control[1],
        n=int(bands.n[0]),
        inputs=bands.inputs,
        verdict=judged(effect, *bound, smallest=least, p=known(p), inputs=bands.inputs),
    )


def screens(claims: Sequence[Claim], about: str) -> Claim | None:
    """The claim about the error that stands beside a rank correlation."""
    return next((one for one in claims if one.kind == "screen-error" and one.about == about), None)
