"""Which control stands beside a cut in figures, and what controls, windows and noise are called."""

from collections.abc import Sequence

import polars as pl

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.interventions.states import ABLATE
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.wording import claimed
from chiasm.studies.flow.tables import (
    AUDIO_SWAP,
    AVERAGED,
    BLANK,
    IMAGE_SWAP,
    KNOCKOUT,
    OTHER_HEADS,
    SIZE_MATCHED,
    VIDEO_SWAP,
    dose_share,
)

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


def control_label(control: str, cut: str = "") -> str:
    """The control in words, beside a cut or a state ablation."""
    share, ablates = dose_share(control), cut.startswith(ABLATE)
    of = "span" if ablates else "cut's keys"
    if share is not None:
        return f"{100 * share:g} % of the {of}, random"
    words = {
        SIZE_MATCHED: "as many random positions" if ablates else "as many random keys",
        BLANK: "the same cut on a blank image",
        OTHER_HEADS: "the same in another head of the layer",
        AVERAGED: "nothing cut, its keys averaged",
        KNOCKOUT: "the span hidden from all rows behind it",
        IMAGE_SWAP: "another example's image, nothing cut",
        VIDEO_SWAP: "another example's video, nothing cut",
        AUDIO_SWAP: "another example's sound, nothing cut",
        RANDOM_WEIGHTS: "random-weights baseline",
    }
    return words.get(control, control)


SEEN = 1e-3
"""A noise floor (nat) below it is thinner than a line, and not drawn."""


def noise_floor(noise: pl.DataFrame | None, rounding: pl.DataFrame | None = None) -> float:
    """What arithmetic alone does to an effect (nat); a curve inside the floor says nothing.

    Where rounding was measured (`rounding`), what it does to a mean effect. Else the 95th percentile of |difference in
    log-probability| between two no-ops; a mean over examples is known better than that.
    """
    if rounding is not None and rounding.height:
        return rounding_of_means(rounding)
    if noise is None or not noise.height:
        return 0.0
    change = noise.select((pl.col("logprob_noop") - pl.col("logprob_clean")).abs()).to_series()
    return float(change.quantile(0.95, "linear") or 0.0)


_ROUNDED = pl.col("change_served") - pl.col("change_raised")


def rounding_of_effects(rounding: pl.DataFrame) -> float:
    """The 99th percentile of |effect as served less the same effect in float32| (nat), over examples, cuts, windows."""
    return float(rounding.select(_ROUNDED.abs()).to_series().quantile(0.99, "linear") or 0.0)


def rounding_of_means(rounding: pl.DataFrame) -> float:
    """How far rounding may move a mean effect (nat): twice the root mean square of what it moves those measured.

    The mean over the examples of what rounding changes is taken for every window of a cut, its root mean square over
    the windows, and the largest of these over the cuts. It holds what all examples share (a bias) and what is left of
    the rest after averaging over the examples measured: at most as many as any effect that may be established has, so
    what is left in those is less. The rest is in their intervals as well, since it differs from example to example.
    """
    windows = rounding.group_by("cut", "layer", "start", "stop").agg(_ROUNDED.mean().alias("moved"))
    cuts = windows.group_by("cut").agg(pl.col("moved").pow(2).mean().sqrt())
    return 2 * float(cuts["moved"].max() or 0.0)  # type: ignore[arg-type]  # a column of numbers


def layers_of(effects: pl.DataFrame) -> int:
    """How many layers the swept model has: windows reach its last one."""
    return int(effects["stop"].max() or 0)


def style_of(effects: pl.DataFrame) -> str:
    """Whether windows grow from the first layer (`prefix`), end with the last (`suffix`), or move (`centred`)."""
    windows = effects.select("start", "stop").unique()
    if windows.height > 1 and (windows["start"] == 0).all():
        return "prefix"
    return "suffix" if windows.height > 1 and windows["stop"].n_unique() == 1 else "centred"


def beyond_scale_notes(claims: Sequence[Claim]) -> list[str]:
    """Cuts that cost more than another example's input: what they take is more than what the input says."""
    found = []
    for scale in of_kind(claims, "scale"):
        cut, _, swapped = scale.about.partition(", ")
        top = strongest([one for one in of_kind(claims, "effect", cut) if one.established and one.effect < 0])
        if top is None or top.high is None or scale.low is None or top.high >= scale.low:
            continue
        found.append(
            f"{cut} at layer {top.where} costs more ({claimed(top)}) than {swapped} ({claimed(scale)}): it takes more "
            "than what is seen, as which question was asked, so that its size does not say how much of the image goes "
            "that way."
        )
    return found
