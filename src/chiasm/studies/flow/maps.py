"""What maps of patches say over many images: whether a map shows anything, and whether it shows what was asked about.

Several methods stand beside each other, since hiding one patch alone finds nothing where another stands in for it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands
from chiasm.core.statistics.intervals import share_difference, share_interval, shares_differ
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.flow.tables import KEEP_ONE, LEAVE_ONE_OUT, METHODS, SHAPLEY

MAP_FACTOR = 2
"""A patch counts from so many times the smallest effect worth naming: it is one value of one image, without a mean."""

SMALLEST_SHARE = 0.05
"""Smallest share of images, or difference of shares, worth naming."""

_ERROR_SHARE = 0.2  # as in `claims`
_HIT = "the strongest patch lies under a box of the objects asked about, less the share of patches under boxes"


def summarised(values: pl.DataFrame) -> pl.DataFrame:
    """One row per map (example and method), from rows of `patch_values` (or their controls) with the column `input`.

    `strongest`: the largest |value| (nat); `clear`: the same among patches whose interval, where orders were drawn,
    leaves out 0; `answer`. Where boxes are known, else null: `covered`, the share of the patches that lies under them,
    and `hit`, whether the strongest patch does (of equally strong ones, which share does).
    """
    size = pl.col("value").abs()
    certain = (pl.col("method") != SHAPLEY) | (pl.col("low") > 0) | (pl.col("high") < 0)
    inputs = pl.coalesce("input", "example_id") if "input" in values.columns else pl.col("example_id")
    return values.group_by("example_id", "method", maintain_order=True).agg(
        size.max().alias("strongest"),
        size.filter(certain.fill_null(False)).max().fill_null(0.0).alias("clear"),
        pl.col("in_object").mean().alias("covered"),
        pl.col("in_object").filter(size == size.max()).mean().alias("hit"),
        inputs.first().alias("of_input"),
    )


def by_strength(values: pl.DataFrame) -> list[str]:
    """The examples from the weakest map to the strongest, by the largest |value| with one patch hidden."""
    maps = summarised(values).filter(pl.col("method") == LEAVE_ONE_OUT)
    return maps.sort("strongest", "example_id")["example_id"].to_list()


def typical(values: pl.DataFrame) -> str:
    """The example whose map is the median by strength (of two in the middle the weaker)."""
    ranked = by_strength(values)
    return ranked[(len(ranked) - 1) // 2]


def spread(values: pl.DataFrame, count: int) -> list[str]:
    """`count` examples at even steps from the weakest map to the strongest; all of them where there are no more."""
    ranked = by_strength(values)
    if len(ranked) <= count:
        return ranked
    return [ranked[round(k * (len(ranked) - 1) / max(1, count - 1))] for k in range(count)]


def map_claims(tables: Mapping[str, pl.DataFrame], *, smallest: float, seed: int = 0) -> list[Claim]:
    """The claims about maps, from the tables `patch_values` and, where there are, its controls and `examples`.

    `smallest`: change of a log-probability (nat) that a single patch must exceed to be named. None without the table.
    """
    if "patch_values" not in tables:
        return []
    examples, controls = tables.get("examples"), tables.get("patch_values_controls")
    own = summarised(with_inputs(tables["patch_values"], examples))
    beside = None if controls is None or not controls.height else summarised(with_inputs(controls, examples))
    methods = [method for method in METHODS if method in set(own["method"])]
    return [
        *_shown(own, beside, methods, smallest),
        *_instead(own, beside, methods, smallest),
        *_on_objects(own, beside, methods, seed),
    ]


def _threshold(beside: pl.DataFrame | None, method: str, smallest: float) -> tuple[float, float | None]:
    """What a patch must exceed, and how far patches of the random-weights models reach."""
    if beside is None:
        return smallest, None
    reach = float(beside.filter(pl.col("method") == method)["strongest"].max() or 0.0)
    return max(smallest, reach), reach


def _beyond(
    own: pl.DataFrame, beside: pl.DataFrame | None, method: str, smallest: float
) -> tuple[pl.DataFrame, float, float | None]:
    """Per image whether its map `shows` anything and `control`, whether that of the random-weights model would.

    A control must exceed the smallest effect and all other controls, as an image must exceed the smallest effect and
    all controls. Null where an image has no control. Behind it the threshold and the reach of the controls.
    """
    level, reach = _threshold(beside, method, smallest)
    maps = own.filter(pl.col("method") == method).with_columns(shows=pl.col("clear") > level)
    if beside is None:
        return maps.with_columns(control=pl.lit(None, pl.Boolean)), level, reach
    others = beside.filter(pl.col("method") == method).select("example_id", "clear", "strongest")
    first = float(others["strongest"].max() or 0.0)
    second = others["strongest"].sort(descending=True)
    runner_up = float(second[1]) if len(second) > 1 else 0.0
    rest = pl.when(pl.col("strongest") == first).then(runner_up).otherwise(first)
    others = others.select("example_id", control=pl.col("clear") > pl.max_horizontal(rest, pl.lit(smallest)))
    return maps.join(others, on="example_id", how="left", maintain_order="left"), level, reach


def _shown(own: pl.DataFrame, beside: pl.DataFrame | None, methods: Sequence[str], smallest: float) -> list[Claim]:
    """In which share of images a map shows anything; intervals hold for all methods at once."""
    found = []
    for method in methods:
        maps, level, reach = _beyond(own, beside, method, smallest)
        inputs = maps["of_input"].to_list()
        share = share_interval(maps["shows"].to_numpy(), inputs, tests=len(methods))
        effect, low, high = float(share.mean), float(share.low), float(share.high)
        paired = maps.drop_nulls("control")
        p, control, controlled = None, None, None
        if paired.height:
            pair = (paired["shows"].to_numpy(), paired["control"].to_numpy(), paired["of_input"].to_list())
            p, control = known(shares_differ(*pair, tests=len(methods))), float(np.mean(pair[1]))
            controlled = bool(float(share_difference(*pair, tests=len(methods)).low) > 0)
        behind = len(set(inputs))
        found.append(
            Claim(
                kind="map",
                about=method,
                quantity=f"share of images with a patch that changes the answer's log-probability by more than "
                f"{level:.2g} nat",
                unit="1",
                effect=effect,
                low=known(low),
                high=known(high),
                p=p,
                control=None if control is None else RANDOM_WEIGHTS,
                control_effect=control,
                n=maps.height,
                inputs=behind,
                verdict=judged(effect, low, high, smallest=SMALLEST_SHARE, p=p, controlled=controlled, inputs=behind),
            )
        )
        if reach is not None:
            found.append(
                Claim(
                    kind="map-reach",
                    about=f"{method}, {RANDOM_WEIGHTS}",
                    quantity="largest change of the answer's log-probability by any patch of any image",
                    unit="nat",
                    effect=reach,
                    n=paired.height,
                    inputs=paired["of_input"].n_unique(),
                    verdict=judged(reach, -reach, reach, smallest=smallest * (1 + 1e-9)),
                )
            )
    return found


def _instead(own: pl.DataFrame, beside: pl.DataFrame | None, methods: Sequence[str], smallest: float) -> list[Claim]:
    """How many more images show something where one patch is kept than where one is hidden."""
    if not {LEAVE_ONE_OUT, KEEP_ONE} <= set(methods):
        return []
    kept, hidden = (_beyond(own, beside, method, smallest)[0] for method in (KEEP_ONE, LEAVE_ONE_OUT))
    both = kept.join(hidden.select("example_id", hidden="shows"), on="example_id", maintain_order="left")
    inputs = both["of_input"].to_list()
    pair = (both["shows"].to_numpy(), both["hidden"].to_numpy(), inputs)
    of, p = share_difference(*pair), known(shares_differ(*pair))
    effect, low, high = float(of.mean), float(of.low), float(of.high)
    behind = len(set(inputs))
    return [
        Claim(
            kind="map-methods",
            about=f"{KEEP_ONE} less {LEAVE_ONE_OUT}",
            quantity="difference of the shares of images whose map shows anything",
            unit="1",
            effect=effect,
            low=known(low),
            high=known(high),
            p=p,
            control=LEAVE_ONE_OUT,
            control_effect=float(np.mean(pair[1])),
            n=both.height,
            inputs=behind,
            verdict=judged(effect, low, high, smallest=SMALLEST_SHARE, p=p, inputs=behind),
        )
    ]


def _on_objects(own: pl.DataFrame, beside: pl.DataFrame | None, methods: Sequence[str], seed: int) -> list[Claim]:
    """How much more often the strongest patch lies under a box than a patch does; whole images are drawn."""
    own = own.drop_nulls("covered").with_columns(gain=pl.col("hit") - pl.col("covered"))
    if not own.height:
        return []
    wide = own.pivot(on="method", index=["example_id", "of_input"], values="gain").drop_nulls(methods)
    inputs = wide["of_input"].to_list()
    error = _ERROR_SHARE * SMALLEST_SHARE
    gains = wide.select(methods).to_numpy()
    bands = mean_bands(gains, clusters=inputs, smallest_error=error, seed=seed)
    covered = own.filter(pl.col("method") == methods[0])
    share = mean_bands(
        covered["covered"].to_numpy()[:, None], clusters=covered["of_input"].to_list(), smallest_error=error, seed=seed
    )
    low, high = float(share.low[0]), float(share.high[0])
    found = [
        Claim(
            kind="map-boxes",
            about="boxes of the objects asked about",
            quantity="share of an image's patches",
            unit="1",
            effect=float(share.mean[0]),
            low=known(low),
            high=known(high),
            n=covered.height,
            inputs=share.inputs,
            verdict=judged(
                float(share.mean[0]), low, high, smallest=SMALLEST_SHARE, controlled=None, inputs=share.inputs
            ),
        )
    ]
    control, difference = _random_gain(wide, beside, methods, error, seed)
    for k, method in enumerate(methods):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        controlled, least = None, known(p)
        if difference is not None:
            other = float(difference.p[k])
            controlled = other <= ALPHA and float(difference.mean[k]) * effect > 0
            least = None if least is None else max(least, 1.0 if np.isnan(other) else other)
        found.append(
            Claim(
                kind="map-object",
                about=method,
                quantity=_HIT,
                unit="1",
                effect=effect,
                low=known(low),
                high=known(high),
                p=least,
                control=None if control is None else RANDOM_WEIGHTS,
                control_effect=None if control is None else control[k],
                n=int(bands.n[k]),
                inputs=bands.inputs,
                verdict=judged(
                    effect,
                    low,
                    high,
                    smallest=SMALLEST_SHARE,
                    p=known(p),
                    controlled=controlled,
                    inputs=bands.inputs,
                ),
            )
        )
    return found


def _random_gain(
    wide: pl.DataFrame, beside: pl.DataFrame | None, methods: Sequence[str], error: float, seed: int
) -> tuple[list[float] | None, Bands | None]:
    """The same of the random-weights models on the same images, and the paired difference to it."""
    if beside is None:
        return None, None
    gain = beside.drop_nulls("covered").with_columns(gain=pl.col("hit") - pl.col("covered"))
    others = gain.pivot(on="method", index="example_id", values="gain")
    if not set(methods) <= set(others.columns):
        return None, None
    both = wide.join(others.drop_nulls(methods), on="example_id", suffix=" control", maintain_order="left")
    if 2 * both.height < wide.height:
        return None, None
    random = both.select(f"{method} control" for method in methods).to_numpy()
    difference = both.select(methods).to_numpy() - random
    bands = mean_bands(difference, clusters=both["of_input"].to_list(), smallest_error=error, seed=seed)
    return random.mean(axis=0).tolist(), bands
