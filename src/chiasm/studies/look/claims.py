"""What a run of `chiasm look` says: attention against what equal attention would give, and against random weights.

All shares are in points of attention. Intervals and p-values hold over all queries, spans and layers of a kind at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.claims import Claim, Verdict, judged, known
from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands, over_shared_models
from chiasm.core.statistics.intervals import share_interval
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.look.shares import object_rows, perceived
from chiasm.studies.look.tables import SMALLEST

POINTS = "points"
# A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`).
ERROR_SHARE = 0.2
# Heads that are chosen on one half of the inputs.
_HEADS = 5
MIN_HEADS = 16
"""Inputs from which on heads are chosen on one half and judged on the other: fewer than eight judge nothing."""


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm look`, from its tables alone: `shares`, and of `shares_controls`, `lens`, `lens_controls`,
    `attention` (its heads) and `examples` what there is.
    """
    least = SMALLEST if smallest is None else smallest
    examples = tables.get("examples")
    shares = with_inputs(tables["shares"], examples)
    controls = tables.get("shares_controls")
    found = _shares(shares, controls, least, seed) + _objects(shares, controls, least, seed)
    if "lens" in tables:
        found += _words(with_inputs(tables["lens"], examples), tables.get("lens_controls"), least, seed)
    if "attention" in tables:
        found += _heads(shares, tables["attention"], least, seed)
    return found


@dataclass(frozen=True, slots=True)
class _Values:
    """One value per example and column; a column is what the claim is about and where. `present`: who has it."""

    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]

    def bands(self, least: float, seed: int) -> Bands:
        error = ERROR_SHARE * least
        return _inside(
            mean_bands(self.values, clusters=self.inputs, present=self.present, smallest_error=error, seed=seed)
        )

    def over_models(self, bands: Bands, rows: pl.DataFrame, least: float) -> Bands:
        """Differences from these controls, beside one more model; column `sample` of `rows` says whose they are."""
        which = dict(rows.select("example_id", "sample").iter_rows()) if "sample" in rows.columns else {}
        models = [which.get(example, 0) for example in self.examples]
        return _inside(over_shared_models(bands, self.values, self.present, models, smallest=least))

    def inputs_of(self, k: int) -> int:
        return len(set(np.array(self.inputs)[self.present[:, k]]))


def _inside(bands: Bands) -> Bands:
    """Shares differ by at most 100 points, whatever the spread of a few inputs says."""
    return replace(bands, low=np.maximum(bands.low, -100.0), high=np.minimum(bands.high, 100.0))


def _values(rows: pl.DataFrame) -> _Values:
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
    return _Values(tuple(who["example_id"]), tuple(names), tuple(columns), values, present)


class _Null(NamedTuple):
    """What a control says of one column: its mean, and the paired difference with what bands say of it."""

    mean: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    beyond: bool


def _beside(own: _Values, control: pl.DataFrame | None, least: float, seed: int) -> list[_Null | None]:
    """Per column what the control shows, and whether the effect goes beyond it; None where few examples have it."""
    nothing: list[_Null | None] = [None] * len(own.columns)
    if control is None or not control.height:
        return nothing
    other = _values(control)
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
    difference = _Values(
        own.examples,
        own.inputs,
        tuple(own.columns[k] for k in chosen),
        np.where(present, own.values - values, 0.0)[:, chosen],
        present[:, chosen],
    )
    level = replace(difference, values=values[:, chosen])
    bands = level.over_models(difference.bands(least, seed), control, least)
    for j, k in enumerate(chosen):
        effect, mean = own.values[own.present[:, k], k].mean(), values[present[:, k], k].mean()
        more, low, high, p = (float(x[j]) for x in (bands.mean, bands.low, bands.high, bands.p))
        beyond = bool(p <= ALPHA and np.sign(more) == np.sign(effect) and abs(effect) > abs(mean))
        nothing[k] = _Null(float(mean), more, low, high, p, int(bands.n[j]), beyond)
    return nothing


def _against(
    kind: str, quantity: str, rows: pl.DataFrame, control: pl.DataFrame | None, least: float, seed: int
) -> list[Claim]:
    """A claim per column, against 0; and one of its kind with `-beyond`, against the control."""
    if not rows.height:
        return []
    own = _values(rows)
    bands, beside = own.bands(least, seed), _beside(own, control, least, seed)
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


def _long(rows: pl.DataFrame, about: pl.Expr, value: pl.Expr) -> pl.DataFrame:
    kept = ["input"] if "input" in rows.columns else []
    kept += ["sample"] if "sample" in rows.columns else []
    return rows.select(
        "example_id", *kept, about=about.cast(pl.String), where=pl.col("layer"), value=(100 * value).cast(pl.Float64)
    )


def _shares(shares: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """What is shown or played, by query and layer: the attention it takes less its share of the visible tokens."""

    # What counts as perceived is read from the run's own rows.
    seen = perceived(shares)
    beside = None if controls is None else share_rows(controls, seen)
    return _against("share", SHARE, share_rows(shares, seen), beside, least, seed)


SHARE = "share of attention, less the share of the visible tokens"


def share_rows(shares: pl.DataFrame, spans: Sequence[str] | None = None) -> pl.DataFrame:
    """The attention that perceptual `spans` (all of them by default) take less their share of the visible tokens, in
    points, by query and layer.
    """
    rows = shares.filter(pl.col("span").is_in(perceived(shares) if spans is None else spans))
    return _long(rows, pl.format("{} to {}", "query", "span"), pl.col("share") - pl.col("visible"))


def _objects(shares: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """The object asked about, by query and layer: its part of the image's attention less its part of the image."""

    def of(rows: pl.DataFrame) -> pl.DataFrame:
        queries = in_order(shares, "query")
        return pl.concat(
            [_long(object_rows(rows, query), pl.lit(query), pl.col("object") - pl.col("area")) for query in queries]
        )

    quantity = "share of the image's attention on the object, less its share of the image's tokens"
    return _against("object", quantity, of(shares), None if controls is None else of(controls), least, seed)


def _words(lens: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """How many tokens of what is perceived are nearest to a word of a caption, by hidden state, less the control's."""
    about, quantity = pl.lit("what is shown or played"), "share of tokens whose nearest word stands in a caption"
    own = lens.drop_nulls("in_captions")
    if not own.height:
        return []
    if controls is None or not (other := controls.drop_nulls("in_captions")).height:
        return _uncontrolled_words(own, quantity, least)
    keys, mean = ["example_id", "layer"], pl.col("in_captions").cast(pl.Float64).mean()
    means, beside = (rows.group_by(*keys).agg(mean) for rows in (own, other))
    kept = own.select("example_id", *(["input"] if "input" in own.columns else [])).unique()
    both = means.join(beside.rename({"in_captions": "control"}), on=keys).join(kept, on="example_id")
    values = _values(_long(both.sort(*keys), about, pl.col("in_captions") - pl.col("control")))
    level = _values(_long(both.sort(*keys), about, pl.col("control")))
    bands, found = level.over_models(values.bands(least, seed), other, least), []
    for k, (name, state) in enumerate(values.columns):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        found.append(
            Claim(
                kind="words",
                about=name,
                where=str(state),
                quantity=f"{quantity}, less that of the control",
                unit=POINTS,
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control=RANDOM_WEIGHTS,
                control_effect=float(level.values[level.present[:, k], k].mean()),
                n=int(bands.n[k]),
                inputs=values.inputs_of(k),
                verdict=judged(effect, low, high, smallest=least, inputs=values.inputs_of(k), p=known(p)),
            )
        )
    return found


def _uncontrolled_words(lens: pl.DataFrame, quantity: str, least: float) -> list[Claim]:
    """The share itself, where there is nothing to compare it with; intervals hold over all states."""
    found, states = [], sorted(lens["layer"].unique())
    for state in states:
        rows = lens.filter(layer=state)
        inputs = rows.select(pl.coalesce(*(["input"] if "input" in rows.columns else []), "example_id")).to_series()
        share = share_interval(rows["in_captions"].to_numpy(), inputs.to_list(), tests=len(states))
        effect, low, high = (100 * float(x) for x in (share.mean, share.low, share.high))
        found.append(
            Claim(
                kind="words",
                about="what is shown or played",
                where=str(state),
                quantity=quantity,
                unit="%",
                effect=effect,
                low=known(low),
                high=known(high),
                n=rows["example_id"].n_unique(),
                inputs=inputs.n_unique(),
                verdict=judged(effect, low, high, smallest=least, inputs=inputs.n_unique(), controlled=None),
            )
        )
    return found


def _heads(shares: pl.DataFrame, attention: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """Heads that look at what is shown or played beyond the mean of their layer: chosen on every other input, judged
    on the others.
    """
    rows = attention.filter(pl.col("head") != "mean", pl.col("span").is_in(perceived(shares)))
    keys = ["example_id", "query", "span", "layer"]
    known_inputs = ["input"] if "input" in shares.columns else []
    kept = shares.select("example_id", of_input=pl.coalesce(*known_inputs, "example_id"))
    inputs = dict(kept.unique("example_id").iter_rows())
    rows = rows.filter(pl.col("example_id").is_in(list(inputs)))
    places = {
        name: place % 2 for place, name in enumerate(sorted({inputs[one] for one in rows["example_id"].unique()}))
    }
    if not rows.height or len(places) < MIN_HEADS:
        return []
    sums = rows.group_by(*keys, "head").agg(pl.col("weight").sum()).sort(*keys, "head")
    every = sums.with_columns(
        level=pl.col("weight").mean().over(keys), input=pl.col("example_id").replace_strict(inputs)
    ).with_columns(value=pl.col("weight") - pl.col("level"), half=pl.col("input").replace_strict(places))
    found = []
    for query, span in every.select("query", "span").unique(maintain_order=True).iter_rows():
        own = every.filter(query=query, span=span)
        means = own.filter(half=0).group_by("layer", "head").agg(pl.col("value").mean())
        judging = own.filter(half=1)
        if means.height > 1 and judging.height:
            chosen = means.sort("value", "layer", "head").tail(min(_HEADS, means.height - 1)).reverse()
            found += _confirmed(f"{query} to {span}", chosen.select("layer", "head").rows(), judging, least, seed)
    return found


def _confirmed(
    about: str, chosen: Sequence[tuple[int, str]], judging: pl.DataFrame, least: float, seed: int
) -> list[Claim]:
    parts = [judging.filter(layer=layer, head=head) for layer, head in chosen]
    named = zip(parts, chosen, strict=True)
    values = _values(
        pl.concat([_long(part, pl.lit(f"{about}, head {head}"), pl.col("value")) for part, (_, head) in named])
    )
    levels = {(f"{about}, head {head}", layer): part["level"].to_numpy() for part, (layer, head) in zip(parts, chosen)}
    bands, found = values.bands(least, seed), []
    for k, (name, layer) in enumerate(values.columns):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        found.append(
            Claim(
                kind="head",
                about=name,
                where=str(layer),
                quantity="share of attention, less the mean over the layer's heads, on inputs that did not choose it",
                unit=POINTS,
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control="mean over the layer's heads",
                control_effect=100 * float(levels[name, layer].mean()),
                n=int(bands.n[k]),
                inputs=values.inputs_of(k),
                verdict=judged(effect, low, high, smallest=least, inputs=values.inputs_of(k), p=known(p)),
            )
        )
    return sorted(found, key=lambda one: -one.effect)
