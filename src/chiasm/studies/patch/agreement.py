"""Whether patching and attention knockout of the same examples point at the same layers.

A cut in layer l costs what is read along it there. Patching says the same from the other side: of what the source's
states carry, the share that is no longer theirs behind layer l (for `question->last`: the share that the last position
has more behind it). The two are compared over layers; they measure different things, so that they need not agree.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.claims import Claim, judged, known
from chiasm.core.spans import PERCEPTUAL
from chiasm.core.statistics.bands import RESAMPLES, cluster_codes, cluster_sums, draws
from chiasm.core.statistics.correlation import correlate
from chiasm.results.series import in_order

LEAST: Final = 0.3
"""The smallest rank correlation worth naming."""
_FEWEST: Final = 4
"""Of fewer layers no correlation is taken."""
_KNOWN: Final = 0.95
"""Share of resamples that must have a correlation for it to have an interval."""


class LayerCurves(NamedTuple):
    """By example and layer: what the cut costs (nat), and the share of the gap that moves in the layer by patching."""

    inputs: tuple[str, ...]
    cut: Float[np.ndarray, "n L"]
    moved: Float[np.ndarray, "n L"]


def agreement_claims(effects: pl.DataFrame, knockouts: pl.DataFrame, seed: int) -> list[Claim]:
    """For every cut the rank correlation over layers, and how many layers the two largest lie apart.

    Intervals are of the means' curves over resampled inputs; p is by permuting the layers. Nothing where windows are
    wider than a layer, or the span was not patched in the residual stream.
    """
    found = []
    for cut in in_order(knockouts, "cut"):
        curves = layer_curves(effects, knockouts.filter(pl.col("cut") == cut), cut)
        if curves is not None and curves.cut.shape[1] >= _FEWEST:
            found += _claims(cut, curves, seed)
    return found


def layer_curves(effects: pl.DataFrame, knockouts: pl.DataFrame, cut: str) -> LayerCurves | None:
    """Both curves of the examples that have them in every layer; None where there are none."""
    source = cut.partition("->")[0]
    span = source if source in PERCEPTUAL else "last"
    rows = effects.filter(pl.col("site") == "residual", pl.col("span") == span).drop_nulls("recovery")
    if not rows.height or (rows["stop"] - rows["start"] != 1).any():
        return None
    layers = sorted(knockouts["layer"].unique())
    depth = int(rows["stop"].max() or 0)  # type: ignore[arg-type]  # a column of numbers
    means = rows.group_by("example_id", "layer").agg(pl.col("recovery").mean())
    wide = means.pivot(on="layer", index="example_id", values="recovery").drop_nulls()
    cost = pl.col("logprob_clean") - pl.col("logprob_cut")
    costs = knockouts.select("example_id", "layer", cost=cost).pivot(on="layer", index="example_id", values="cost")
    inputs = pl.coalesce("input", "example_id") if "input" in knockouts.columns else pl.col("example_id")
    who = knockouts.select("example_id", of=inputs).unique("example_id")
    both = wide.join(costs.drop_nulls(), on="example_id", suffix="/cut").join(who, on="example_id").sort("example_id")
    if not both.height or not {str(layer) for layer in range(depth)} <= set(wide.columns):
        return None
    names = [f"{layer}/cut" if str(layer) in wide.columns else str(layer) for layer in layers]
    share = both.select([str(layer) for layer in range(depth)]).to_numpy()
    # Behind the last layer the last position has all of it, and no other has any.
    end = np.full((len(share), 1), 1.0 if span == "last" else 0.0)
    change = np.diff(np.hstack([share, end]), axis=1)
    moved = change if span == "last" else -change
    return LayerCurves(tuple(both["of"]), both.select(names).to_numpy(), moved[:, layers])


def _claims(cut: str, curves: LayerCurves, seed: int) -> list[Claim]:
    n, layers = curves.cut.shape
    codes = cluster_codes(curves.inputs, n)
    together = np.arange(n) if codes is None else codes
    size = cluster_sums(np.ones((n, 1)), together)
    sums = [cluster_sums(side, together) for side in (curves.cut, curves.moved)]
    inputs = len(size)
    means = [side.mean(axis=0) for side in (curves.cut, curves.moved)]
    correlation = rank_correlation(*means)
    apart = float(np.argmax(means[1]) - np.argmax(means[0]))
    ranks, distances = [], []
    if inputs > 1:
        for drawn in draws(inputs, RESAMPLES, seed):
            total = drawn @ size
            one, other = (drawn @ side / total for side in sums)
            ranks += [rank_correlation(a, b) for a, b in zip(one, other, strict=True)]
            distances += (np.argmax(other, axis=1) - np.argmax(one, axis=1)).tolist()
    low, high = _within(np.array(ranks))
    p = np.nan if np.isnan(correlation) else correlate(*means, seed=seed).p
    base = {"about": cut, "where": "all", "n": n, "inputs": inputs}
    near, far = _within(np.array(distances, dtype=float))
    found = []
    if not np.isnan(correlation):
        found.append(
            Claim(
                kind="agreement",
                quantity=f"rank correlation over {layers} layers of what the cut costs and what patching moves",
                unit="1",
                effect=correlation,
                low=known(low),
                high=known(high),
                p=known(p),
                control="layers in other orders",
                control_effect=0.0,
                verdict=judged(correlation, low, high, smallest=LEAST, p=known(p), inputs=inputs),
                **base,
            )
        )
    found.append(
        Claim(
            kind="agreement-layer",
            quantity="layer in which patching moves most, less that in which the cut costs most",
            unit="layers",
            effect=apart,
            low=known(near),
            high=known(far),
            verdict=judged(apart, near, far, smallest=1.0, inputs=inputs),
            **base,
        )
    )
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's coefficient; NaN where either is the same everywhere."""
    from scipy.stats import rankdata  # slow to import

    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else float("nan")


def _within(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of resamples; NaN where too few have a value."""
    there = values[~np.isnan(values)]
    if not len(values) or len(there) < _KNOWN * len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(there, (0.025, 0.975), method="nearest")
    return float(low), float(high)
