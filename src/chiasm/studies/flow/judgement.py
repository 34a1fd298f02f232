"""Which control stands beside a cut in figures, and what controls, windows and noise are called."""

import polars as pl

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.tables import AUDIO_SWAP, AVERAGED, BLANK, IMAGE_SWAP, SIZE_MATCHED, VIDEO_SWAP, dose_share

_NULLS = (SIZE_MATCHED, BLANK, RANDOM_WEIGHTS)


def control_for(controls: pl.DataFrame | None, cut: str) -> str | None:
    """The control that a cut is judged against: the strictest there is, or None.

    As many random keys come first; where none can be drawn (whole-image cuts), the same cut on a blank image, then
    the random-weights baseline. A dose is a
    part of the cut itself, and another example's image is all there is to lose: a scale, not what nothing looks like.
    Whether enough other keys exist differs between examples: a control that stands beside less than half as many as
    another one does is passed over.
    """
    if controls is None:
        return None
    counted = controls.filter(pl.col("cut") == cut).group_by("control").agg(pl.col("example_id").n_unique())
    beside = {name: n for name, n in counted.rows() if name in _NULLS}
    enough = max(beside.values(), default=0) / 2
    return next((name for name in _NULLS if beside.get(name, -1) >= enough), None)


def control_label(control: str) -> str:
    """The control in words."""
    share = dose_share(control)
    if share is not None:
        return f"{100 * share:g} % of the cut's keys, random"
    words = {
        SIZE_MATCHED: "as many random keys",
        BLANK: "the same cut on a blank image",
        AVERAGED: "nothing cut, its keys averaged",
        IMAGE_SWAP: "another example's image, nothing cut",
        VIDEO_SWAP: "another example's video, nothing cut",
        AUDIO_SWAP: "another example's sound, nothing cut",
        RANDOM_WEIGHTS: "random-weights baseline",
    }
    return words.get(control, control)


SEEN = 1e-3
"""A noise floor (nat) below it is thinner than a line, and not drawn."""


def noise_floor(noise: pl.DataFrame | None) -> float:
    """The 95th percentile of |difference in log-probability| (nat) between two no-ops: what arithmetic alone does.

    A mean over examples is known better than that; a curve inside the floor says nothing all the same.
    """
    if noise is None or not noise.height:
        return 0.0
    change = noise.select((pl.col("logprob_noop") - pl.col("logprob_clean")).abs()).to_series()
    return float(change.quantile(0.95, "linear") or 0.0)


def layers_of(effects: pl.DataFrame) -> int:
    """How many layers the swept model has: windows reach its last one."""
    return int(effects["stop"].max() or 0)


def style_of(effects: pl.DataFrame) -> str:
    """Whether windows grow from the first layer (`prefix`), end with the last (`suffix`), or move (`centred`)."""
    windows = effects.select("start", "stop").unique()
    if windows.height > 1 and (windows["start"] == 0).all():
        return "prefix"
    return "suffix" if windows.height > 1 and windows["stop"].n_unique() == 1 else "centred"
