"""What maps of patches say over many images: whether a map shows anything, and whether it shows what was asked about.

Several methods stand beside each other, since hiding one patch alone finds nothing where another stands in for it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import ALPHA, mean_bands
from chiasm.core.statistics.intervals import share_difference, share_interval, shares_differ
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.flow.tables import KEEP_ONE, LEAVE_ONE_OUT, METHODS, SHAPLEY

MAP_FACTOR = 2
"""A patch counts from so many times the smallest effect worth naming: it is one value of one image, without a mean."""

SMALLEST_SHARE = 0.05
"""Smallest share of images, or difference of shares, worth naming."""

_ERROR_SHARE = 0.2  # as in `claims`
AT_RANDOM = "random weights"
"""What claims about the maps of a model with random weights call it, behind the method."""
_HIT = "the patch that adds most to the answer lies in a box of the objects asked about"


def summarised(values: pl.DataFrame) -> pl.DataFrame:
    """One row per map (example and method), from rows of `patch_values` (or their controls) with the column `input`.

    `strongest`: the largest |value| (nat); `clear`: the same among patches whose interval, where orders were drawn,
    leaves out 0; `answer`. Where boxes are known, else null: `covered`, the share of the patches that lies under them,
    and `hit`, whether the patch that adds most to the answer does (of equal ones, which share does), null where no
    patch speaks for it.
    """
    size = pl.col("value").abs()
    value = pl.col("value")
    certain = (pl.col("method") != SHAPLEY) | (pl.col("low") > 0) | (pl.col("high") < 0)
    inputs = pl.coalesce("input", "example_id") if "input" in values.columns else pl.col("example_id")
    return values.group_by("example_id", "method", maintain_order=True).agg(
        size.max().alias("strongest"),
        size.filter(certain.fill_null(False)).max().fill_null(0.0).alias("clear"),
        pl.col("in_object").mean().alias("covered"),
        pl.col("in_object").filter((value == value.max()) & (value > 0)).mean().alias("hit"),
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


def at_even_steps(values: pl.DataFrame, count: int) -> list[str]:
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
        control, controlled, beyond = None, None, []
        # Every control is held against all others: a single one has none.
        if paired.height > 1:
            pair = (paired["shows"].to_numpy(), paired["control"].to_numpy(), paired["of_input"].to_list())
            control, more = float(np.mean(pair[1])), "share of images with such a patch, less that with random weights"
            [of] = beyond = [_against_random("map-beyond", method, more, pair, len(methods))]
            controlled = of.established and of.effect > 0
        behind = len(set(inputs))
        found.append(
            Claim(
                kind="map",
                about=method,
                quantity=f"share of images with a patch that changes the answer's log-probability by more than "
                f"{level:.3g} nat",
                unit="1",
                effect=effect,
                low=known(low),
                high=known(high),
                control=None if control is None else RANDOM_WEIGHTS,
                control_effect=control,
                n=maps.height,
                inputs=behind,
                verdict=judged(effect, low, high, smallest=SMALLEST_SHARE, controlled=controlled, inputs=behind),
            )
        )
        found += beyond
        if reach is not None:
            found.append(
                Claim(
                    kind="map-reach",
                    about=f"{method}, {AT_RANDOM}",
                    quantity="largest change of the answer's log-probability by any patch of any image",
                    unit="nat",
                    effect=reach,
                    n=paired.height,
                    inputs=paired["of_input"].n_unique(),
                    verdict=judged(reach, -reach, reach, smallest=smallest * (1 + 1e-9), inputs=None),
                )
            )
    return found


def _instead(own: pl.DataFrame, beside: pl.DataFrame | None, methods: Sequence[str], smallest: float) -> list[Claim]:
    """How many more images show something where one patch is kept than where one is hidden, at one threshold."""
    if not {LEAVE_ONE_OUT, KEEP_ONE} <= set(methods):
        return []
    level = max(_threshold(beside, method, smallest)[0] for method in (KEEP_ONE, LEAVE_ONE_OUT))
    kept, hidden = (
        own.filter(pl.col("method") == method).select("example_id", "of_input", shows=pl.col("clear") > level)
        for method in (KEEP_ONE, LEAVE_ONE_OUT)
    )
    both = kept.join(hidden.select("example_id", hidden="shows"), on="example_id", maintain_order="left").drop_nulls()
    if not both.height:
        return []
    inputs = both["of_input"].to_list()
    pair = (both["shows"].to_numpy(), both["hidden"].to_numpy(), inputs)
    of, p = share_difference(*pair), known(shares_differ(*pair))
    effect, low, high = float(of.mean), float(of.low), float(of.high)
    behind = len(set(inputs))
    return [
        Claim(
            kind="map-methods",
            about=f"{KEEP_ONE} less {LEAVE_ONE_OUT}",
            quantity="difference of the shares of images with a patch that changes the answer's log-probability by "
            f"more than {level:.3g} nat",
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
    """In how many images the patch that adds most lies in a box, and how much more often than a patch does.

    Intervals and tests are those of shares: a hit is yes or no, once an image. The share of patches in boxes is taken
    as known, for these images. Bonferroni over methods.

    Source: Wilson 1927, Tango 1998. Assumption: as `share_interval` and `share_difference`.
    """
    own = own.drop_nulls("covered")
    if not own.height:
        return []
    covered = own.filter(pl.col("method") == methods[0])
    share = mean_bands(
        covered["covered"].to_numpy()[:, None],
        clusters=covered["of_input"].to_list(),
        smallest_error=_ERROR_SHARE * SMALLEST_SHARE,
        seed=seed,
    )
    found = [
        _share_claim(
            "map-boxes",
            "boxes of the objects asked about",
            "share of an image's patches",
            float(share.mean[0]),
            max(0.0, float(share.low[0])),
            min(1.0, float(share.high[0])),
            covered["of_input"].to_list(),
        )
    ]
    for method in methods:
        found += _hits(own.filter(pl.col("method") == method), beside, method, len(methods))
    return found


def _hits(maps: pl.DataFrame, beside: pl.DataFrame | None, method: str, tests: int) -> list[Claim]:
    """One method's hits: their share, that of random weights on the same images, and the share less that of patches."""
    maps = maps.drop_nulls("hit").with_columns(hit=pl.col("hit") > 0.5)
    if not maps.height:
        return []
    inputs, hits = maps["of_input"].to_list(), maps["hit"].to_numpy()
    of = share_interval(hits, inputs, tests=tests)
    share, low, high = float(of.mean), float(of.low), float(of.high)
    found = [_share_claim("map-hit", method, f"share of images where {_HIT}", share, low, high, inputs)]
    chance = float(np.mean(maps["covered"].to_numpy()))
    p = _share_p(hits, inputs, chance, tests)
    control, controlled = None, None
    if beside is not None:
        others = beside.filter(pl.col("method") == method).drop_nulls(["covered", "hit"])
        others = others.select("example_id", other=pl.col("hit") > 0.5)
        both = maps.join(others, on="example_id", maintain_order="left")
        if both.height and 2 * both.height >= maps.height:
            at = both["of_input"].to_list()
            random = share_interval(both["other"].to_numpy(), at, tests=tests)
            bounds = (float(random.mean), float(random.low), float(random.high))
            found.append(
                _share_claim("map-hit", f"{method}, {AT_RANDOM}", f"share of images where {_HIT}", *bounds, at)
            )
            pair = (both["hit"].to_numpy(), both["other"].to_numpy(), at)
            more = f"share of images where {_HIT}, less that with random weights"
            of = _against_random("map-object-beyond", method, more, pair, tests)
            controlled = of.established and (of.effect > 0) == (share > chance)
            control = bounds[0] - float(np.mean(both["covered"].to_numpy()))
            found.append(of)
    effect, low, high, behind = share - chance, low - chance, high - chance, len(set(inputs))
    found.append(
        Claim(
            kind="map-object",
            about=method,
            quantity=f"{_HIT}, less the share of patches in boxes",
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
    return found


def _against_random(
    kind: str,
    method: str,
    quantity: str,
    pair: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], Sequence[str]],
    tests: int,
) -> Claim:
    """A share less that of random-weights models on the same images."""
    of, p, inputs = share_difference(*pair, tests=tests), known(shares_differ(*pair, tests=tests)), pair[2]
    effect, low, high = float(of.mean), float(of.low), float(of.high)
    behind = len(set(inputs))
    return Claim(
        kind=kind,
        about=method,
        quantity=quantity,
        unit="1",
        effect=effect,
        low=known(low),
        high=known(high),
        p=p,
        control=RANDOM_WEIGHTS,
        control_effect=float(np.mean(pair[1])),
        n=len(inputs),
        inputs=behind,
        verdict=judged(effect, low, high, smallest=0.0, p=p, inputs=behind),
    )


def _share_claim(
    kind: str, about: str, quantity: str, share: float, low: float, high: float, inputs: Sequence[str]
) -> Claim:
    """A share that stands for itself: nothing is held against it."""
    behind = len(set(inputs))
    return Claim(
        kind=kind,
        about=about,
        quantity=quantity,
        unit="1",
        effect=share,
        low=known(low),
        high=known(high),
        n=len(inputs),
        inputs=behind,
        verdict=judged(share, low, high, smallest=SMALLEST_SHARE, controlled=None, inputs=behind),
    )


def _share_p(hits: Bool[np.ndarray, " n"], inputs: Sequence[str], chance: float, tests: int) -> float | None:
    """The two-sided p-value of a share of `chance`, times `tests`: at most 0.05 where `share_interval` leaves it out.

    Found as the widest interval that does so. None where all is from one input.
    """
    if len(set(inputs)) < 2:
        return None
    inside, outside = 1e12, 1.001 * ALPHA  # in tests: the widest interval and nearly the point itself
    for _ in range(60):
        middle = float(np.sqrt(inside * outside))
        of = share_interval(hits, inputs, tests=middle)
        if float(of.low) <= chance <= float(of.high):
            inside = middle
        else:
            outside = middle
    return min(1.0, tests * ALPHA / inside)
