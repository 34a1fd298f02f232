"""What stays with only some routes open: how many answers, beside as many random routes and none."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool

from chiasm.core.claims import Claim, judged, known
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import ALPHA, mean_bands
from chiasm.core.statistics.intervals import share_difference, share_interval, shares_differ
from chiasm.interventions.routes import Route
from chiasm.results.series import with_inputs
from chiasm.studies.flow.maps import SMALLEST_SHARE
from chiasm.studies.flow.sweep import QUANTITY
from chiasm.studies.flow.tables import ALL, CLOSED, JUDGING, OPEN, RANDOM, SEARCH

SEARCHED: Final = "the routes that the search left open"
_RIGHT: Final = "share of answers right with only these routes open"


class _Block(NamedTuple):
    """One set of routes on the examples that judge it: rows with it open, and of each control."""

    about: str
    size: int
    own: pl.DataFrame
    controls: Mapping[str, pl.DataFrame]


def sufficiency_claims(tables: Mapping[str, pl.DataFrame], *, least: float, error: float, seed: int = 0) -> list[Claim]:
    """For the set of `--keep-only`, and for what the search left open on the half that did not choose: the share of
    answers right and whether it goes beyond both controls, what is lost of it and of the log-probability. Intervals of
    shares are Bonferroni over the sets, of differences to controls over the sets and their controls.

    `least`: the smallest change of a log-probability worth naming, `error`: what a standard error counts as at least.
    """
    parts = [part for name in ("keep_only", "sufficiency") if (part := tables.get(name)) is not None and part.height]
    if not parts:
        return []
    rows, chosen = with_inputs(pl.concat(parts), tables.get("examples")), tables.get("sufficient_routes")
    blocks = [_named(rows, routes) for routes in rows.filter(half=ALL)["routes"].unique(maintain_order=True)]
    if chosen is not None and chosen.height and rows.filter(half=JUDGING).height:
        blocks.append(_found(rows, chosen))
    beside = sum(len(block.controls) for block in blocks)
    found = [claim for block in blocks for claim in _shares(block, len(blocks), beside)]
    found += _losses(blocks, least, error, seed) if blocks else []
    if chosen is not None and chosen.height:
        found.append(_size(chosen))
    return found


def merged(chosen: pl.DataFrame) -> str:
    """The routes that are kept, those in neighbouring bands as one; without layers where they are open in all."""
    layers = int(chosen["stop"].max() or 0)  # type: ignore[arg-type]  # a column of whole numbers
    open_in: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for text, start, stop in chosen.filter("kept").sort("start").select("route", "start", "stop").iter_rows():
        route = Route.parse(text)
        bands = open_in.setdefault((route.source, route.target), [])
        if bands and bands[-1][1] == start:
            bands[-1] = (bands[-1][0], stop)
        else:
            bands.append((start, stop))
    found = [
        Route(*pair, None if band == (0, layers) else band).text for pair, bands in open_in.items() for band in bands
    ]
    return ", ".join(found) or "no route"


def _named(rows: pl.DataFrame, routes: str) -> _Block:
    of = rows.filter(half=ALL, routes=routes)
    controls = {name: part for name in (RANDOM, CLOSED) if (part := of.filter(open=name)).height}
    own = of.filter(open=OPEN)
    return _Block(f"only {routes}", int(own["size"][0]), own, controls)


def _found(rows: pl.DataFrame, chosen: pl.DataFrame) -> _Block:
    judging, size = rows.filter(half=JUDGING, routes=SEARCH), int(chosen["kept"].sum())
    controls = {}
    if (random := judging.filter(open=RANDOM)).height:
        controls = {RANDOM: random.filter(size=size), CLOSED: judging.filter(open=OPEN, size=0)}
    return _Block(f"{SEARCHED}: {merged(chosen)}", size, judging.filter(open=OPEN, size=size), controls)


def _shares(block: _Block, tests: int, beside_tests: int) -> list[Claim]:
    own = block.own.sort("example_id")
    right, inputs = own["right_kept"].to_numpy(), _inputs(own)
    of = share_interval(right, inputs, tests=tests)
    share, behind = float(of.mean), len(set(inputs))
    common: dict[str, Any] = {"about": block.about, "unit": "1", "n": own.height, "inputs": behind}
    beside = [_against(block, name, rows, beside_tests) for name, rows in block.controls.items()]
    nearest = max(beside, key=lambda one: one.control_effect or 0.0, default=None)
    controlled = None if nearest is None else all(one.effect > 0 and (one.p or 0.0) <= ALPHA for one in beside)
    verdict = judged(
        share, known(float(of.low)), known(float(of.high)), smallest=SMALLEST_SHARE, controlled=controlled,
        inputs=behind,
    )  # fmt: skip
    found = [
        Claim(
            kind="sufficient",
            quantity=_RIGHT,
            effect=share,
            low=known(float(of.low)),
            high=known(float(of.high)),
            control=None if nearest is None else nearest.control,
            control_effect=None if nearest is None else nearest.control_effect,
            verdict=verdict,
            **common,
        )
    ]
    untouched = own["right_clean"].to_numpy()
    lost = _difference(right, untouched, inputs, tests)
    quantity = f"{_RIGHT}, less that of the untouched model"
    found.append(
        Claim(kind="sufficient-lost", quantity=quantity, control="untouched", control_effect=float(untouched.mean()),
              **lost, **common)
    )  # fmt: skip
    return found + beside


def _against(block: _Block, name: str, rows: pl.DataFrame, tests: int) -> Claim:
    both = block.own.join(rows.select("example_id", other="right_kept"), on="example_id").sort("example_id")
    inputs, right, other = _inputs(both), both["right_kept"].to_numpy(), both["other"].to_numpy()
    return Claim(
        kind="sufficient-control",
        about=block.about,
        quantity=f"{_RIGHT}, less that of the control",
        unit="1",
        control=name,
        control_effect=float(other.mean()),
        n=both.height,
        inputs=len(set(inputs)),
        **_difference(right, other, inputs, tests),
    )


def _difference(
    right: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"], inputs: Sequence[str], tests: int
) -> dict[str, Any]:
    """Effect, interval, p and verdict of a paired difference of shares."""
    of, p = share_difference(right, other, inputs, tests=tests), shares_differ(right, other, inputs, tests=tests)
    effect, low, high = float(of.mean), known(float(of.low)), known(float(of.high))
    verdict = judged(effect, low, high, smallest=SMALLEST_SHARE, p=known(p), inputs=len(set(inputs)))
    return {"effect": effect, "low": low, "high": high, "p": known(p), "verdict": verdict}


def _losses(blocks: Sequence[_Block], least: float, error: float, seed: int) -> list[Claim]:
    """The change of the log-probability with only a set open; intervals hold for all sets at once."""
    examples = sorted({name for block in blocks for name in block.own["example_id"]})
    at = {name: k for k, name in enumerate(examples)}
    values, present = np.zeros((len(examples), len(blocks))), np.zeros((len(examples), len(blocks)), dtype=bool)
    inputs = list(examples)
    for k, block in enumerate(blocks):
        change = (block.own["logprob_kept"] - block.own["logprob_clean"]).to_list()
        for name, given, value in zip(block.own["example_id"], _inputs(block.own), change, strict=True):
            values[at[name], k], present[at[name], k], inputs[at[name]] = value, True, given
    bands = mean_bands(values, clusters=inputs, present=present, smallest_error=error, seed=seed)
    common = {"kind": "sufficient-loss", "quantity": f"{QUANTITY} with only these routes open", "unit": "nat"}
    return [
        column_claim(
            bands, k, about=block.about, smallest=least, inputs=len(set(_inputs(block.own))), controlled=True, **common
        )
        for k, block in enumerate(blocks)
    ]


def _size(chosen: pl.DataFrame) -> Claim:
    """How many routes were left open, of how many: a result of the choosing half, and no estimate."""
    return Claim(
        kind="sufficient-size",
        about=f"{SEARCHED}: {merged(chosen)}",
        quantity=f"routes left open, of {chosen.height}",
        unit="routes",
        effect=float(chosen["kept"].sum()),
        n=int(chosen["n"][0]),
        verdict="not established",
    )


def _inputs(rows: pl.DataFrame) -> list[str]:
    return (rows["input"] if "input" in rows.columns else rows["example_id"]).to_list()
