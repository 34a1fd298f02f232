"""What a run of `chiasm look` says: attention against what equal attention would give, and against random weights.

All shares are in points of attention. Intervals and p-values hold over all queries, spans and layers of a kind at once.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.intervals import share_interval
from chiasm.results.example_columns import claims_of_columns
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.look.judging import POINTS, against_zero, long_rows, over_models, share_columns
from chiasm.studies.look.naming_claims import naming
from chiasm.studies.look.shares import object_rows, perceived
from chiasm.studies.look.tables import OUTPUT, SMALLEST

# Heads that are chosen on one half of the inputs.
_HEADS = 5
MIN_HEADS = 16
"""Inputs from which on heads are chosen on one half and judged on the other: fewer than eight judge nothing."""


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm look`, from its tables alone: `shares`, and of `shares_controls`, `lens`, `lens_controls`,
    `named`, `named_controls`, `attention` (its heads) and `examples` what there is.
    """
    least = SMALLEST if smallest is None else smallest
    examples = tables.get("examples")
    shares = with_inputs(tables["shares"], examples)
    controls = tables.get("shares_controls")
    found = _shares(shares, controls, least, seed) + _objects(shares, controls, least, seed)
    if "lens" in tables:
        lens, beside = (None if rows is None else through_head(rows) for rows in map(tables.get, _LENSES))
        found += [] if lens is None else _words(with_inputs(lens, examples), beside, least, seed)
    if "named" in tables:
        found += naming(with_inputs(tables["named"], examples), tables.get("named_controls"), least, seed)
    if "attention" in tables:
        found += _heads(shares, tables["attention"], least, seed)
    return found


_LENSES = ("lens", "lens_controls")


def through_head(lens: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table `lens` that the output head gave; a table of older runs holds no others."""
    return lens.filter(lens=OUTPUT) if "lens" in lens.columns else lens


def _shares(shares: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """What is shown or played, by query and layer: the attention it takes less its share of the visible tokens."""

    # What counts as perceived is read from the run's own rows.
    seen = perceived(shares)
    beside = None if controls is None else share_rows(controls, seen)
    return against_zero("share", SHARE, share_rows(shares, seen), beside, least, seed)


SHARE = "share of attention, less the share of the visible tokens"


def share_rows(shares: pl.DataFrame, spans: Sequence[str] | None = None) -> pl.DataFrame:
    """The attention that perceptual `spans` (all of them by default) take less their share of the visible tokens, in
    points, by query and layer.
    """
    rows = shares.filter(pl.col("span").is_in(perceived(shares) if spans is None else spans))
    return long_rows(rows, pl.format("{} to {}", "query", "span"), pl.col("share") - pl.col("visible"))


def _objects(shares: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """The object asked about, by query and layer: its part of the image's attention less its part of the image."""

    def of(rows: pl.DataFrame) -> pl.DataFrame:
        queries = in_order(shares, "query")
        return pl.concat(
            [long_rows(object_rows(rows, query), pl.lit(query), pl.col("object") - pl.col("area")) for query in queries]
        )

    quantity = "share of the image's attention on the object, less its share of the image's tokens"
    return against_zero("object", quantity, of(shares), None if controls is None else of(controls), least, seed)


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
    values = share_columns(long_rows(both.sort(*keys), about, pl.col("in_captions") - pl.col("control")))
    level = share_columns(long_rows(both.sort(*keys), about, pl.col("control")))
    bands = over_models(level, values.bands(least, seed), other, least)
    common = {"kind": "words", "quantity": f"{quantity}, less that of the control", "unit": POINTS, "least": least}
    return claims_of_columns(values, bands, controlled=lambda k: (True, RANDOM_WEIGHTS, level.mean(k)), **common)


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
    chosen: list[tuple[str, int, str, pl.DataFrame]] = []
    for query, span in every.select("query", "span").unique(maintain_order=True).iter_rows():
        own = every.filter(query=query, span=span)
        means = own.filter(half=0).group_by("layer", "head").agg(pl.col("value").mean())
        judging = own.filter(half=1)
        if means.height > 1 and judging.height:
            best = means.sort("value", "layer", "head").tail(min(_HEADS, means.height - 1)).reverse()
            for layer, head in best.select("layer", "head").iter_rows():
                chosen.append((f"{query} to {span}", layer, head, judging.filter(layer=layer, head=head)))
    return _confirmed(chosen, least, seed)


def _confirmed(chosen: Sequence[tuple[str, int, str, pl.DataFrame]], least: float, seed: int) -> list[Claim]:
    """Heads by what they look at, layer, number and rows of the half that did not choose them, all judged together: of
    so many queries and spans any head may be the one that is named.
    """
    if not chosen:
        return []
    names = [f"{looks}, head {head}" for looks, _, head, _ in chosen]
    values = share_columns(
        pl.concat([long_rows(part, pl.lit(name), pl.col("value")) for name, (*_, part) in zip(names, chosen)])
    )
    levels = {(name, layer): part["level"].to_numpy() for name, (_, layer, _, part) in zip(names, chosen)}

    def controlled(k: int) -> tuple[bool, str, float]:
        return True, "mean over the layer's heads", 100 * float(levels[values.columns[k]].mean())

    quantity = "share of attention, less the mean over the layer's heads, on inputs that did not choose it"
    common = {"kind": "head", "quantity": quantity, "unit": POINTS, "least": least, "controlled": controlled}
    found = claims_of_columns(values, values.bands(least, seed), **common)
    order = {looks: place for place, looks in enumerate(dict.fromkeys(looks for looks, *_ in chosen))}
    return sorted(found, key=lambda one: (order[one.about.rpartition(", head ")[0]], -one.effect))
