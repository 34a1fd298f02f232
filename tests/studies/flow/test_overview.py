"""The page's table of routes: each cut where it does most, with its control and the paired difference in one line."""

import re

import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.core.claims import of_kind
from chiasm.results.wording import compact
from chiasm.studies.flow.claims import claims
from chiasm.studies.flow.overview import routes_table
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.tables import SIZE_MATCHED


@pytest.fixture(scope="module")
def own():
    effects = made.effects(8, ("image->question", "last->last"))
    still = made.effects(8, ("image->question",), strength=0, seed=11)
    # The control stands beside fewer examples than the cut.
    fewer = still.filter(pl.col("example_id").is_in(sorted(set(still["example_id"]))[:40]))
    controls = fewer.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    return claims({"effects": effects, "controls": controls})


def test_a_row_holds_the_effect_its_control_and_their_difference(own):
    routes = routes_table(own)
    assert routes["cut"].to_list() == ["image → question", "last → last"]
    row = routes.row(0, named=True)
    top = peak(of_kind(own, "effect", "image->question"))
    [difference] = [one for one in of_kind(own, "beyond", top.about) if one.where == top.where]
    assert row["layer"] == top.where
    assert row["change of log-probability (nat)"] == compact(top.effect, top.low, top.high)
    cell = row["difference from it (nat)"]
    assert cell == f"{compact(difference.effect, difference.low, difference.high)}, n = 40"
    assert row["nearest control, and its own (nat)"].startswith("as many random keys: ")
    assert (row["n"], row["verdict"]) == ("48", "established")


def test_without_a_control_nothing_stands_in_its_place(own):
    row = routes_table(own).row(1, named=True)
    assert row["nearest control, and its own (nat)"] == row["difference from it (nat)"] == "-"
    assert row["verdict"] == "practically none"


def test_an_effect_as_large_as_its_control_says_so():
    effects = made.effects(8, ("image->question",))
    controls = effects.with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    row = routes_table(claims({"effects": effects, "controls": controls})).row(0, named=True)
    assert row["verdict"] == "not established: a control as large"
    assert re.match(r"0\.00 \(-?[\d.]+ to [\d.]+\)", row["difference from it (nat)"])


def test_where_nothing_was_cut_there_is_no_table():
    assert routes_table([]).height == 0
