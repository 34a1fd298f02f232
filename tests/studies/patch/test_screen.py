"""Attribution patching: what is checked, that exact patches stand beside it, and that a gradient that lies is named."""

import numpy as np
import polars as pl
import pytest
from tests.studies.patch import patch_runs
from tests.studies.patch.patch_tables import tables

from chiasm.core.claims import of_kind
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.studies.patch.claims import claims
from chiasm.studies.patch.findings import patch_findings
from chiasm.studies.patch.screen import SAMPLED, Screen
from chiasm.studies.patch.screen_claims import span_rows
from chiasm.studies.run import Run


@pytest.fixture(scope="module")
def view():
    return patch_runs.view_of()


@pytest.fixture(scope="module")
def found(view):
    return patch_runs.run(view, patch_runs.examples(), screen=4, controls=False, sites=("residual", "attention"))


def test_every_token_that_differs_has_a_row_and_some_are_exact(found):
    screen = found.table("screen")
    first = {f"example-{k}" for k in range(4)}
    assert set(screen["example_id"]) <= first
    assert set(screen["site"]) == {"residual", "attention"}
    assert screen.select("example_id", "site", "position", "layer", "direction").is_unique().all()
    exact = screen.drop_nulls("exact").group_by("example_id", "direction").len()
    assert set(exact["len"]) == {SAMPLED}
    # Before the image both runs are alike; the image's tokens differ from the first layer on.
    assert "prefix" not in set(screen["part"])
    assert screen.filter(site="residual", layer=0)["part"].unique().to_list() == ["image"]


def test_exact_shares_are_those_of_plain_patches(found, view):
    chosen = {one.id: view.encode(one) for one in patch_runs.examples()}
    pairs = {row["example_id"]: row for row in found.table("pairs").iter_rows(named=True)}
    rows = found.table("screen").drop_nulls("exact")
    for row in rows.gather_every(7).iter_rows(named=True):
        pair = pairs[row["example_id"]]
        own, donor = chosen[row["example_id"]], chosen[row["donor_id"]]
        into, of = (donor, own) if row["direction"] == "denoise" else (own, donor)
        window = Window(row["layer"], row["layer"] + 1, row["layer"])
        patch = Patch(window, row["site"], (row["position"],), (row["position"],))
        readout = Readout((own.length - 1,), (pair["token_id"],))
        [result] = ReferenceExecutor().run(view, [Job(into, (Variant("one", (patch,)),), readout, donors=(of,))])
        moved = float(result.logprobs[0, 0] - result.clean[0]) / pair["gap"]
        assert row["exact"] == pytest.approx(moved if row["direction"] == "denoise" else -moved, abs=1e-6)


def test_spans_are_sums_of_their_tokens(found):
    screen, effects = found.table("screen"), found.table("effects")
    rows = span_rows(effects, screen).filter(span="question", layer=2, direction="noise", site="residual")
    for row in rows.iter_rows(named=True):
        own = screen.filter(example_id=row["example_id"], part="question", layer=2, direction="noise", site="residual")
        assert row["estimate"] == pytest.approx(own["estimate"].sum())


def test_the_run_says_what_the_gradient_is_worth(found):
    told = Run(found)
    kinds = {one.partition("-")[0] for one in told.claims["claim"]}
    assert "screen" in kinds
    assert "screen" in told.charts
    told.chart("screen")


def test_samples_depend_on_the_example_alone_and_hold_the_largest():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 30))
    values[:, :5] = 0.0
    screen = Screen(np.arange(30), np.arange(30) + 2, {"noise": {"residual": values}})
    one, again = screen.sample("noise", 0, "a"), screen.sample("noise", 0, "a")
    assert one == again
    assert one != screen.sample("noise", 0, "b")
    assert len(set(one)) == SAMPLED
    sizes = sorted((abs(values[s.layer, s.own]) for s in one), reverse=True)
    assert sizes[: SAMPLED // 2] == sorted(np.abs(values).ravel(), reverse=True)[: SAMPLED // 2]
    assert all(s.own >= 5 and s.donor == s.own + 2 for s in one)
    few = Screen(np.arange(3), np.arange(3), {"noise": {"residual": rng.normal(size=(1, 3))}})
    assert len(few.sample("noise", 0, "a")) == 3


def screen_table(noise, n=20, points=16, lie=False):
    """Estimates of single tokens beside exact shares; one that lies says the opposite order."""
    rng = np.random.default_rng(3)
    rows = []
    for k in range(n):
        exact = rng.normal(0, 0.3, points)
        estimate = rng.normal(0, 0.3, points) if lie else exact + rng.normal(0, noise, points)
        rows += [
            {"example_id": f"e{k:03d}", "donor_id": "d", "type": "all", "site": "residual", "part": "prefix"}
            | {"position": p, "layer": 0, "direction": "denoise", "estimate": estimate[p], "exact": exact[p]}
            for p in range(points)
        ]
    return pl.DataFrame(rows)


def nothing(span, direction, layer, rng):
    return rng.normal(0, 0.05)


def test_a_gradient_that_is_right_is_said_to_be():
    own = claims(tables(nothing, n=20) | {"screen": screen_table(0.01)})
    [rank] = [one for one in of_kind(own, "screen") if one.about.startswith("single tokens")]
    [error] = [one for one in of_kind(own, "screen-error") if one.about.startswith("single tokens")]
    assert (rank.verdict, rank.n) == ("established", 20)
    assert rank.effect > 0.95
    assert error.verdict == "practically none"
    assert any(one.text.startswith("The gradient ranks patches of single tokens") for one in patch_findings(own))


def test_a_gradient_that_lies_is_named():
    own = claims(tables(nothing, n=20) | {"screen": screen_table(0.0, lie=True)})
    [rank] = [one for one in of_kind(own, "screen") if one.about.startswith("single tokens")]
    [error] = [one for one in of_kind(own, "screen-error") if one.about.startswith("single tokens")]
    assert not rank.found
    assert error.verdict == "established"
    text = next(one.text for one in patch_findings(own) if "single tokens" in one.text)
    assert text.startswith(
        "That the gradient ranks patches of single tokens (denoise) as exact ones do is not established"
    )
