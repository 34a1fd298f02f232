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
from chiasm.core.column_claims import column_claim
from chiasm.core.spans import PERCEPTUAL
from chiasm.core.statistics.bands import ALPHA, RESAMPLES, cluster_codes, cluster_sums, draws, mean_bands
from chiasm.core.statistics.correlation import correlate
from chiasm.results.example_columns import ERROR_SHARE
from chiasm.results.series import in_order
from chiasm.studies.patch.shares import POINTS
from chiasm.studies.patch.tables import SMALLEST

LEAST: Final = 0.3
"""The smallest rank correlation worth naming."""
_FEWEST: Final = 4
"""Of fewer layers no correlation is taken."""
_COST: Final = 0.05
"""The smallest change of a log-probability by a cut worth naming (nat)."""
_KNOWN: Final = 0.95
"""Share of resamples that must have a correlation for it to have an interval."""


class LayerCurves(NamedTuple):
    """By example and layer: what the cut costs (nat), and the share of the gap that moves in the layer by patching."""

    inputs: tuple[str, ...]
    layers: tuple[int, ...]
    cut: Float[np.ndarray, "n L"]
    moved: Float[np.ndarray, "n L"]


def agreement_claims(effects: pl.DataFrame, knockouts: pl.DataFrame, seed: int) -> list[Claim]:
    """For every cut the rank correlation over layers, and how many layers the two largest lie apart.

    Intervals are of the means' curves over resampled inputs; p is by permuting the layers; both are Bonferroni over the
    cuts. Nothing where windows are wider than a layer, or the span was not patched in the residual stream. Where either
    curve has no layer in which it is known to be anything but 0, it has no largest, and its most is claimed instead.
    """
    curves = [
        (cut, found)
        for cut in in_order(knockouts, "cut")
        if (found := layer_curves(effects, knockouts.filter(pl.col("cut") == cut), cut)) is not None
        and found.cut.shape[1] >= _FEWEST
    ]
    idle = {cut: _idle(cut, of, len(curves), seed) for cut, of in curves}
    compared = sum(not of for of in idle.values())
    return [claim for cut, of in curves for claim in idle[cut] or _claims(cut, of, compared, seed)]


def _idle(cut: str, curves: LayerCurves, tests: int, seed: int) -> list[Claim]:
    """The largest change by the cut, or by patching, where no change of it is there at any layer; else nothing.

    Intervals hold for all layers of one curve at once, Bonferroni over so many `tests` of either kind.
    """
    cost = ("agreement-no-cut", "largest change of the log-probability by the cut at any layer", "nat")
    moved = ("agreement-no-patch", "largest share of the gap that patching moves in any layer", POINTS)
    sides = ((*cost, -curves.cut, _COST), (*moved, 100 * curves.moved, SMALLEST))
    found = []
    for kind, quantity, unit, values, least in sides:
        error = ERROR_SHARE * least
        bands = mean_bands(values, clusters=curves.inputs, smallest_error=error, tests=tests, seed=seed)
        common = {"kind": kind, "about": cut, "quantity": quantity, "unit": unit, "smallest": least}
        each = [
            column_claim(bands, k, where=str(layer), inputs=bands.inputs, **common)
            for k, layer in enumerate(curves.layers)
        ]
        if not any(one.found for one in each):
            found.append(max(each, key=lambda one: abs(one.effect)))
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
    return LayerCurves(tuple(both["of"]), tuple(layers), both.select(names).to_numpy(), moved[:, layers])


def _claims(cut: str, curves: LayerCurves, tests: int, seed: int) -> list[Claim]:
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
            ranks += rank_correlations(one, other).tolist()
            distances += (np.argmax(other, axis=1) - np.argmax(one, axis=1)).tolist()
    low, high = _within(np.array(ranks), tests)
    p = np.nan if np.isnan(correlation) else min(1.0, tests * correlate(*means, seed=seed).p)
    base = {"about": cut, "where": "all", "n": n, "inputs": inputs}
    near, far = _within(np.array(distances, dtype=float), tests)
    found = []
    if not np.isnan(correlation):
        found.append(
            Claim(
                kind="agreement",
                quantity=f"rank correlation over {layers} layers of what the cut costs and what patching moves "
                "(interval: over inputs; p: over orders of the layers)",
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
    return float(rank_correlations(a[None], b[None])[0])


def rank_correlations(a: Float[np.ndarray, "r L"], b: Float[np.ndarray, "r L"]) -> Float[np.ndarray, " r"]:
    """The same of each row."""
    from scipy.stats import rankdata  # slow to import

    x, y = rankdata(a, axis=1), rankdata(b, axis=1)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, (x * y).sum(axis=1) / scale, np.nan)


def _within(values: np.ndarray, tests: int) -> tuple[float, float]:
    """The 95 % percentile interval of resamples, so that `tests` hold at once; NaN where too few have a value."""
    there = values[~np.isnan(values)]
    if not len(values) or len(there) < _KNOWN * len(values):
        return float("nan"), float("nan")
    tail = ALPHA / 2 / tests
    low, high = np.quantile(there, (tail, 1 - tail), method="nearest")
    return float(low), float(high)
