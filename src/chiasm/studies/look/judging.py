"""How shares of examples are judged: one value per example and column, intervals for all at once, beside a control."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.claims import Claim, Verdict, judged, known
from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands, over_shared_models
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order

POINTS = "points"
# A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`).
ERROR_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class ExampleColumns:
    """One value per example and column; a column is what the claim is about and where. `present`: who has it."""

    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]

    def bands(self, least: float, seed: int, share: float = ERROR_SHARE) -> Bands:
        """Means with intervals that hold for all columns at once.

        `share`: of the smallest effect worth naming (`least`), what a standard error counts as at least.
        """
        error = share * least
        return _inside(
            mean_bands(self.values, clusters=self.inputs, present=self.present, smallest_error=error, seed=seed)
        )

    def over_models(self, bands: Bands, rows: pl.DataFrame, least: float) -> Bands:
        """Differences from these controls, beside one more model; column `sample` of `rows` says whose they are."""
        which = dict(rows.select("example_id", "sample").iter_rows()) if "sample" in rows.columns else {}
        models = [which.get(example, 0) for example in self.examples]
        return _inside(over_shared_models(bands, self.values, self.present, models, smallest=least))

    def inputs_of(self, k: int) -> int:
        """How many different inputs are behind a column."""
        return len(set(np.array(self.inputs)[self.present[:, k]]))


def _inside(bands: Bands) -> Bands:
    """Shares differ by at most 100 points, whatever the spread of a few inputs says."""
    return replace(bands, low=np.maximum(bands.low, -100.0), high=np.minimum(bands.high, 100.0))


def columns_of(rows: pl.DataFrame) -> ExampleColumns:
    """Of rows (example_id, about, where, value), and `input` where it was recorded."""
    who = rows.unique("example_id", keep="first").sort("example_id")
    inputs = who["example_id"] if "input" not in who.columns else who.select(pl.coalesce("input", "example_id"))
    means = rows.group_by("example_id", "about", "where").agg(pl.col("value").mean())
    order = {about: place for place, about in enumerate(in_order(rows, "about"))}
    columns = sorted(means.select("about", "where").unique().rows(), key=lambda one: (order[one[0]], one[1]))
    place, row = ({key: k for k, key in enumerate(keys)} for keys in (columns, who["example_id"]))
    values = np.zeros((who.height, len(columns)))
    present = np.zeros(values.shape, dtype=bool)
    for example, about, where, value in means.select("example_id", "about", "where", "value").iter_rows():
        values[row[example], place[about, where]], present[row[example], place[about, where]] = value, True
    names = inputs.to_series().to_list() if isinstance(inputs, pl.DataFrame) else inputs.to_list()
    return ExampleColumns(tuple(who["example_id"]), tuple(names), tuple(columns), values, present)


class Null(NamedTuple):
    """What a control says of one column: its mean, and the paired difference with what bands say of it."""

    mean: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    beyond: bool


def beside_control(
    own: ExampleColumns, control: pl.DataFrame | None, least: float, seed: int, share: float = ERROR_SHARE
) -> list[Null | None]:
    """Per column what the control shows, and whether the effect goes beyond it; None where few examples have it."""
    nothing: list[Null | None] = [None] * len(own.columns)
    if control is None or not control.height:
        return nothing
    other = columns_of(control)
    row, place = ({key: k for k, key in enumerate(keys)} for keys in (other.examples, other.columns))
    values, present = np.zeros_like(own.values), np.zeros_like(own.present)
    for i, example in enumerate(own.examples):
        for k, column in enumerate(own.columns):
            if example in row and column in place:
                values[i, k] = other.values[row[example], place[column]]
                present[i, k] = other.present[row[example], place[column]] and own.present[i, k]
    # Beside less than half of the examples it says little: which have a control is no accident.
    chosen = np.flatnonzero(2 * present.sum(axis=0) >= own.present.sum(axis=0))
    if not len(chosen):
        return nothing
    difference = ExampleColumns(
        own.examples,
        own.inputs,
        tuple(own.columns[k] for k in chosen),
        np.where(present, own.values - values, 0.0)[:, chosen],
        present[:, chosen],
    )
    level = replace(difference, values=values[:, chosen])
    bands = level.over_models(difference.bands(least, seed, share), control, least)
    for j, k in enumerate(chosen):
        effect, mean = own.values[own.present[:, k], k].mean(), values[present[:, k], k].mean()
        more, low, high, p = (float(x[j]) for x in (bands.mean, bands.low, bands.high, bands.p))
        beyond = bool(p <= ALPHA and np.sign(more) == np.sign(effect) and abs(effect) > abs(mean))
        nothing[k] = Null(float(mean), more, low, high, p, int(bands.n[j]), beyond)
    return nothing


def against_zero(
    kind: str, quantity: str, rows: pl.DataFrame, control: pl.DataFrame | None, least: float, seed: int
) -> list[Claim]:
    """A claim per column, against 0; and one of its kind with `-beyond`, against the control."""
    if not rows.height:
        return []
    own = columns_of(rows)
    bands, beside = own.bands(least, seed), beside_control(own, control, least, seed)
    found = []
    for k, (about, where) in enumerate(own.columns):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        null = beside[k]
        inputs, beyond = own.inputs_of(k), None if null is None else null.beyond
        verdict = judged(effect, low, high, smallest=least, inputs=inputs, p=known(p), controlled=beyond)
        found.append(
            Claim(
                kind=kind,
                about=about,
                where=str(where),
                quantity=quantity,
                unit=POINTS,
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control=None if null is None else RANDOM_WEIGHTS,
                control_effect=None if null is None else null.mean,
                n=int(bands.n[k]),
                inputs=inputs,
                verdict=verdict,
            )
        )
        if null is not None:
            differs = {"effect": null.difference, "low": known(null.low), "high": known(null.high), "p": known(null.p)}
            held: Verdict = "established" if verdict == "established" else "not established"
            more = {"kind": f"{kind}-beyond", "quantity": f"{quantity}; less that with random weights", "n": null.n}
            found.append(replace(found[-1], **more, **differs, verdict=held))
    return found


def long_rows(rows: pl.DataFrame, about: pl.Expr, value: pl.Expr) -> pl.DataFrame:
    """Rows as `columns_of` takes them, of a share `value` (0 to 1), in points; inputs and models are kept."""
    kept = ["input"] if "input" in rows.columns else []
    kept += ["sample"] if "sample" in rows.columns else []
    return rows.select(
        "example_id", *kept, about=about.cast(pl.String), where=pl.col("layer"), value=(100 * value).cast(pl.Float64)
    )
