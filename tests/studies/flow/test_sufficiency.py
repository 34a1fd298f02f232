"""Routes kept open alone, and the search of the fewest that suffice."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.studies.flow import flow_runs, killed_search

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.core.statistics.intervals import shares_differ
from chiasm.interventions import Variant
from chiasm.interventions.routes import Route, all_but
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.results import waiting
from chiasm.results.claims import read_claims
from chiasm.results.verify import verify
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.sufficiency_claims import merged, sufficiency_claims
from chiasm.studies.flow.sufficiency_findings import sufficiency_findings
from chiasm.studies.flow.sufficient_search import RouteSearch, close_greedily, halves

ROOT = Path(__file__).parents[3]
CUT, KEPT = "image->question", ("image->question", "question->last")


def losses_of(needed, cost=1.0):
    """Every group of `needed` must have one of its routes open, else `cost` is lost for it."""
    return lambda sets: np.array([sum(cost * (not opened & group) for group in needed) for opened in sets])


def kept(found):
    return {one.route for one in found if one.kept}


def test_routes_that_need_each_other_are_both_kept():
    """Alone each is worth nothing, so that opening one by one from none would find neither."""

    def losses(sets):
        return np.array([0.0 if {2, 7} <= opened else 1.0 for opened in sets])

    found = close_greedily(10, losses, 0.1)
    assert kept(found) == {2, 7}
    assert sorted(one.route for one in found) == list(range(10))
    assert [one.kept for one in found] == [False] * 8 + [True] * 2


def test_of_two_that_stand_in_for_each_other_one_is_kept():
    found = close_greedily(8, losses_of([{0, 1}, {5}]), 0.1)
    assert len(kept(found)) == 2
    assert 5 in kept(found)
    assert len(kept(found) & {0, 1}) == 1


def test_no_single_route_more_can_be_closed_and_small_losses_add_up():
    """Ten routes at 0.03 nat each: three of them fit into 0.1, and a fourth does not."""
    found = close_greedily(10, losses_of([{k} for k in range(10)], 0.03), 0.1)
    assert len(kept(found)) == 7
    assert close_greedily(4, losses_of([]), 0.1)[-1].kept is False, "where nothing is needed nothing is kept"
    assert len(kept(close_greedily(4, losses_of([{k} for k in range(4)]), 0.1))) == 4


def test_halves_hold_whole_inputs_and_do_not_depend_on_order():
    inputs = [f"i{k // 3}" for k in range(60)]
    found = dict(zip(inputs, halves(inputs, 0), strict=True))
    assert sorted(found.values()).count("choosing") == 10
    assert dict(zip(inputs[::-1], halves(inputs[::-1], 0), strict=True)) == found
    assert dict(zip(inputs, halves(inputs, 1), strict=True)) != found


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def run(view):
    return flow_runs.run(view, flow_runs.examples(6), cuts=(CUT,), keep_only=KEPT, sufficient=6, bands=2)


def test_rows_are_what_the_reference_gives(run, view):
    """Through other code: the mask of the variant, on a plain forward."""
    rows = run.table("keep_only")
    routes = run.table("sufficient_routes")
    path = run.table("sufficiency").filter(open="routes")
    order = routes.sort("closed")["route"].to_list()
    for example in flow_runs.examples(2):
        encoded = view.encode(example)
        named = [Route.parse(text) for text in KEPT]
        sets = {"routes": named, "closed": []} | {
            size: [Route.parse(text) for text in order[len(order) - size :]] for size in (1, 5, 12)
        }
        made = [all_but(one, encoded.spans, view.n_layers, causal=True) for one in sets.values()]
        job = Job(encoded, tuple(Variant(str(k), changes) for k, changes in enumerate(made)))
        found = ReferenceExecutor().run(view, [job])[0]
        for k, name in enumerate(sets):
            own = path.filter(size=name) if isinstance(name, int) else rows.filter(open=name)
            (row,) = own.filter(example_id=example.id).iter_rows(named=True)
            assert row["logprob_clean"] == pytest.approx(float(found.clean[0]), abs=1e-9)
            assert row["logprob_kept"] == pytest.approx(float(found.logprobs[k, 0]), abs=1e-9)
            assert row["size"] == len(sets[name])


def test_ends_of_the_path_are_all_closed_and_untouched(run):
    path, named = run.table("sufficiency").filter(open="routes"), run.table("keep_only")
    most = run.table("sufficient_routes").height
    none = path.filter(size=0).sort("example_id")["logprob_kept"]
    assert (none - named.filter(open="closed").sort("example_id")["logprob_kept"]).abs().max() <= 1e-9
    whole = path.filter(size=most)
    assert (whole["logprob_kept"] - whole["logprob_clean"]).abs().max() <= 1e-9
    random = run.table("sufficiency").filter(open="random")
    assert (random.filter(size=0).sort("example_id")["logprob_kept"] - none).abs().max() <= 1e-9
    inside = (random.filter(size=most // 2).sort("example_id")["logprob_kept"] - none).abs()
    assert inside.min() > 1e-6, "every example has random routes open"


def test_a_resumed_run_and_the_reference_give_the_same(run, view, tmp_path):
    options = {"cuts": (CUT,), "keep_only": KEPT, "sufficient": 6, "bands": 2, "executor": "reference"}
    other = flow_runs.run(view, flow_runs.examples(6), tmp_path, **options)
    for name in ("keep_only", "sufficiency"):
        ours, theirs = run.table(name), other.table(name)
        both = ours.join(theirs, on=["example_id", "open", "size", "half"], suffix="_other", validate="1:1")
        assert both.height == ours.height
        assert (both["logprob_kept"] - both["logprob_kept_other"]).abs().max() <= 1e-9
    again = flow_runs.run(view, flow_runs.examples(6), tmp_path, resume=True, **options)
    assert again.table("sufficient_routes").equals(other.table("sufficient_routes"))


@pytest.fixture
def walks(monkeypatch):
    """The examples of every walk of the search."""
    found, walk = [], RouteSearch._walked

    def walked(search, batch):
        found.append([example.id for example, *_ in batch])
        return walk(search, batch)

    monkeypatch.setattr(RouteSearch, "_walked", walked)
    return found


@pytest.mark.heavy
def test_a_killed_search_goes_on_where_it_was(view, walks, tmp_path):
    chosen, out = flow_runs.examples(6), tmp_path / "run"
    whole = flow_runs.run(view, chosen, **killed_search.OPTIONS)
    all_of_it, done = list(walks), 5
    walks.clear()
    command = [sys.executable, "-m", "tests.studies.flow.killed_search", str(out), str(done)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert not verify(out).problems
    again = flow_runs.run(view, chosen, out, resume=True, **killed_search.OPTIONS)
    assert len(all_of_it) > done + 5
    assert walks == all_of_it[done:], "what was walked is not walked again"
    for name in ("sufficiency", "sufficient_routes"):
        assert again.table(name).equals(whole.table(name))
    assert not (out / "shards").exists()


@pytest.mark.heavy
def test_what_is_damaged_of_a_search_is_walked_again(view, walks, tmp_path, monkeypatch):
    chosen, out = flow_runs.examples(6), tmp_path / "run"
    whole = flow_runs.run(view, chosen, **killed_search.OPTIONS)
    all_of_it = list(walks)
    walks.clear()
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    walk = RouteSearch._walked

    def stopped(search, batch):
        if len(walks) == 4:
            raise KeyboardInterrupt
        return walk(search, batch)

    with monkeypatch.context() as patched:
        patched.setattr(RouteSearch, "_walked", stopped)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            flow_runs.run(view, chosen, out, **killed_search.OPTIONS)
    assert any("--resume" in note and "4 parts of the search" in note for note in interrupted.value.__notes__)
    walks.clear()
    first = min((out / "shards" / "models" / "search").glob("*/walked.parquet"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    assert any("walked.parquet was altered" in problem for problem in verify(out).problems)
    again = flow_runs.run(view, chosen, out, resume=True, **killed_search.OPTIONS)
    assert len(walks) == len(all_of_it) - 3
    assert again.table("sufficient_routes").equals(whole.table("sufficient_routes"))


def frames(count, right, random, closed, *, judging=True):
    """Tables in which so many of `count` answers are right with the set of size 2 open, random routes, and none."""
    rows = []
    for role, of_size, successes in (("routes", 2, right), ("random", 2, random), ("routes", 0, closed)):
        rows += [
            {
                "example_id": f"e{k}", "type": "t", "routes": "search", "open": role, "size": of_size,
                "half": "judging" if judging else "choosing", "target_token_id": 1, "logprob_clean": -0.1,
                "logprob_kept": -0.1 if k < successes else -3.0, "right_clean": True, "right_kept": k < successes,
            }
            for k in range(count)
        ]  # fmt: skip
    parts = [("image->last", 0, False), ("image->last", 2, False), ("question->last", 0, True)]
    routes = [
        {"route": f"{pair}@layers={a}-{a + 1}", "start": a, "stop": a + 2, "closed": place, "kept": keep, "loss": 0.0,
         "round": 1, "n": count}
        for place, (pair, a, keep) in enumerate([*parts, ("question->last", 2, True)], 1)
    ]  # fmt: skip
    return {"sufficiency": pl.DataFrame(rows), "sufficient_routes": pl.DataFrame(routes)}


def test_a_set_that_keeps_more_than_both_controls_is_established():
    tables = frames(30, 29, 5, 1)
    assert merged(tables["sufficient_routes"]) == "question->last"
    claims = sufficiency_claims(tables, least=0.05, error=0.01)
    (one,) = of_kind(claims, "sufficient")
    assert one.established
    assert (one.effect, one.control, one.control_effect) == (29 / 30, "random", 5 / 30)
    assert one.low < 0.95 < one.effect <= one.high
    (text,) = (finding.text for finding in sufficiency_findings(claims))
    assert text.startswith("Of 4 routes between spans the search left 2 open, chosen on 30 examples: question->last. ")
    assert "97 %" in text
    assert "not established" not in text


@pytest.mark.parametrize(("random", "closed"), [(28, 1), (5, 28)])
def test_one_control_that_keeps_as_much_is_enough_to_establish_nothing(random, closed):
    claims = sufficiency_claims(frames(30, 29, random, closed), least=0.05, error=0.01)
    assert not of_kind(claims, "sufficient")[0].established
    assert "That these routes keep more than the controls is not established" in sufficiency_findings(claims)[0].text


def test_few_inputs_establish_nothing_and_the_half_that_chose_is_no_judge():
    assert not of_kind(sufficiency_claims(frames(6, 6, 0, 0), least=0.05, error=0.01), "sufficient")[0].established
    assert not of_kind(sufficiency_claims(frames(30, 30, 0, 0, judging=False), least=0.05, error=0.01), "sufficient")


def test_without_controls_it_is_called_uncontrolled(view):
    run = flow_runs.run(view, flow_runs.examples(2), cuts=(CUT,), keep_only=KEPT, controls=False)
    assert set(run.table("keep_only")["open"]) == {"routes"}
    claims = read_claims(run.table("claims"))
    assert of_kind(claims, "sufficient")[0].control is None
    assert "It is uncontrolled" in sufficiency_findings(claims)[0].text


def test_figure_and_report(run):
    from chiasm.studies.study import study

    reporter = study("flow").reporter(run)
    assert "sufficient" in reporter.drawings()
    assert "With only image->question, question->last open" in " ".join(one.text for one in reporter.findings())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep_only": ("last->image",)}, "image stands|last stands behind image.*did you mean image->last"),
        ({"keep_only": ("image->last@layers=2-9",)}, "layers 0 to 3"),
        ({"keep_only": ("image->last", "image->question+last")}, "`image->last` is given twice"),
        ({"sufficient": 4, "bands": 9}, "--bands 9.*4 layers"),
        ({"sufficient": 1}, "1 examples? with 1 different input"),
    ],
)
def test_what_cannot_be_asked(view, options, said):
    with pytest.raises(ChiasmError, match=said):
        flow_runs.run(view, flow_runs.examples(4), cuts=(CUT,), controls=False, **options)


def test_layers_that_mix_tokens_without_attention_cannot_be_closed():
    mixing = flow_runs.view_of("lfm2_vl")
    with pytest.raises(ChiasmError, match=r"without attention.*ablate:mean@image"):
        flow_runs.run(mixing, flow_runs.examples(2), cuts=(CUT,), controls=False, keep_only=KEPT)
    found = flow_runs.run(mixing, flow_runs.examples(2), cuts=("ablate:mean@image",), controls=False, window=1)
    change = found.table("effects").select((pl.col("logprob_cut") - pl.col("logprob_clean")).abs()).to_series()
    assert change.min() > 1e-6, "states can be replaced in every layer"


def test_a_spec_takes_one_route_as_text():
    assert FlowSpec(model="tiny", keep_only="image->last").routes == ("image->last",)


def test_differences_to_two_controls_are_two_tests():
    """Any of them being claimed by chance is what is held to 5 %: of one set beside two controls there are two."""
    claims = sufficiency_claims(frames(30, 20, 12, 12), least=0.05, error=0.01)
    found = {one.control: one.p for one in of_kind(claims, "sufficient-control")}
    alone = shares_differ(np.arange(30) < 20, np.arange(30) < 12, [f"e{k}" for k in range(30)])
    assert found == pytest.approx(dict.fromkeys(("random", "closed"), 2 * alone))
