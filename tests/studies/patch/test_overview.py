"""The page's table of states: each span and direction where it brings most, beside its control."""

from tests.studies.patch.patch_tables import tables
from tests.studies.patch.test_claims import NULLS, nothing, route

from chiasm.core.claims import of_kind, strongest
from chiasm.results.wording import compact
from chiasm.studies.patch.claims import claims
from chiasm.studies.patch.overview import states_table


def test_a_row_holds_the_share_its_control_and_their_difference():
    own = claims(tables(route, controls=dict.fromkeys(NULLS, nothing), random_gap=0.0))
    states = states_table(own)
    assert set(states.select("states of", "direction").rows()) == {
        (span, direction) for span in ("image", "question", "last") for direction in ("denoise", "noise")
    }
    row = next(
        row for row in states.iter_rows(named=True) if (row["states of"], row["direction"]) == ("image", "noise")
    )
    top = strongest(of_kind(own, "recovery", "image, noise"))
    [difference] = [one for one in of_kind(own, "beyond", "image, noise") if one.where == top.where]
    assert row["layers with over 50 %"] == "0 to 1"
    assert row["layer"] == top.where
    assert row["largest share of the gap (points)"] == compact(top.effect, top.low, top.high, digits=1)
    beyond = compact(difference.effect, difference.low, difference.high, digits=1)
    assert row["difference from it (points)"].startswith(beyond)
    assert row["verdict"] == "established"


def test_a_span_that_brings_nothing_has_no_layers():
    states = states_table(claims(tables(nothing, controls=dict.fromkeys(NULLS, nothing))))
    assert set(states["layers with over 50 %"]) == {"-"}
    assert "established" not in set(states["verdict"])


def test_where_no_share_was_taken_there_is_no_table():
    assert states_table([]).height == 0
