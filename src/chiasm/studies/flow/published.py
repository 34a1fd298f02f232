"""The published measure beside the claims: the mean over examples of the answer's relative change in probability."""

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.studies.flow.sweep import Sweep, sweep
from chiasm.studies.flow.tables import ERROR_SHARE

_LOWEST = -100.0  # %: nothing is left


def published(effects: pl.DataFrame, data: Sweep, least: float, seed: int) -> list[Claim]:
    """The mean of `change_percent` in every column of `data` with intervals over all of them at once.

    `least`: the smallest change of a log-probability worth naming (nat). It has no upper bound, so that no sentence
    rests on it; none where a run has no such column or a value that is no number.

    Source: Zhang et al. 2025, section 3.
    """
    if "change_percent" not in effects.columns:
        return []
    own = sweep(effects, data.columns, pl.col("change_percent"))
    if not np.isfinite(own.values).all():
        return []
    # A standard error counts as at least so much, as that of differences of log-probabilities does.
    smallest = -100 * float(np.expm1(-least))
    bands = mean_bands(
        own.values, clusters=own.inputs, present=own.present, smallest_error=ERROR_SHARE * smallest, seed=seed
    )
    found = []
    for k, (cut, *_) in enumerate(data.columns):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        behind = len(set(np.array(own.inputs)[own.present[:, k]]))
        low = known(max(low, _LOWEST))
        found.append(
            Claim(
                kind="published",
                about=cut,
                where=data.where(k),
                quantity="mean relative change of the answer's probability",
                unit="%",
                effect=effect,
                low=low,
                high=known(high),
                p=known(p),
                n=int(bands.n[k]),
                inputs=behind,
                verdict=judged(effect, low, known(high), smallest=smallest, p=known(p), controlled=None, inputs=behind),
            )
        )
    return found
