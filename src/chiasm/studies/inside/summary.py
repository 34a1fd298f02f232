"""What figures and sentences of "where inside?" compute from its tables."""

from collections.abc import Iterator

import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval
from chiasm.results.series import in_order

RANDOM_ORDER = "random"


def estimate(rows: pl.DataFrame, value: str | pl.Expr) -> Estimate | None:
    """The mean of `value` over the examples that have it, pictures resampled whole; None where none has it.

    Several rows of one example (methods are filtered before) are averaged first.
    """
    what = pl.col(value) if isinstance(value, str) else value
    means = rows.group_by("example_id", "input", maintain_order=True).agg(what.cast(pl.Float64).mean().alias("value"))
    means = means.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    if not means.height:
        return None
    return mean_interval(means["value"].to_numpy(), clusters=means["input"].to_list())


def parts(frame: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Every domain and setting in the order of the table, and its rows."""
    for domain in in_order(frame, "domain"):
        rows = frame.filter(domain=domain)
        for setting in in_order(rows, "setting"):
            yield domain, setting, rows.filter(setting=setting)


def interval(found: Estimate, digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
    """`0.31 (0.25 to 0.38)`."""
    mean, low, high = (scale * float(v) for v in (found.mean, found.low, found.high))
    if low != low:
        return f"{mean:.{digits}f}{unit} (one picture: no interval)"
    return f"{mean:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"


def pointing(rows: pl.DataFrame, method: str) -> tuple[Estimate, Estimate, Estimate, Estimate] | None:
    """Energy, area, energy minus area, and energy minus that of other examples' maps, for one method in %; None
    where no example has boxes to point at."""
    own = rows.filter(pl.col("method") == method, pl.col("object").is_not_null())
    found = [
        estimate(own, value * 100)
        for value in (
            pl.col("object"),
            pl.col("area"),
            pl.col("object") - pl.col("area"),
            pl.col("object") - pl.col("object_swapped"),
        )
    ]
    return None if any(one is None for one in found) else tuple(found)  # type: ignore[return-value]


def neuron_sets(neurons: pl.DataFrame, domain: str, score: str) -> dict[str, set[tuple[int, int]]]:
    """The neurons that a score names, by setting."""
    rows = neurons.filter(domain=domain, score=score)
    return {
        setting: set(rows.filter(setting=setting).select("layer", "neuron").iter_rows())
        for setting in in_order(rows, "setting")
    }
