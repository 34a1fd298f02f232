"""The benchmark of single heads: what it runs, and what it counts."""

import json

import pytest
from bench.bound import rows_bound
from bench.heads import SWEEPS, heads, measure, variants_of
from bench.shapes import SHAPES, spans_of

MINI = SHAPES["mini"]


def test_every_head_of_every_layer_is_a_variant_of_its_own():
    variants = list(variants_of(MINI, ("image->last@heads=all", "zero:heads@last")))
    assert len(variants) == 2 * MINI.layers * MINI.heads
    assert len({(one.name, one.start, one.changes[0].heads) for one in variants}) == len(variants)


def test_the_bound_counts_a_row_for_each_head_from_its_layer_on():
    variants = list(variants_of(MINI, ("image->last@heads=all",)))
    rows = sum(MINI.heads * (MINI.layers - layer) for layer in range(MINI.layers))
    assert rows_bound(MINI, variants) == pytest.approx(1 + rows / (MINI.length * MINI.layers))
    question = list(variants_of(MINI, ("zero:heads@question",)))
    carried = MINI.length - int(spans_of(MINI)["question"][0])
    # In the last layer no other row reads what a head gives the question.
    rows = sum(MINI.heads * (MINI.layers - layer) for layer in range(MINI.layers - 1))
    assert rows_bound(MINI, question) == pytest.approx(1 + carried * rows / (MINI.length * MINI.layers))


def test_a_small_run_is_written_with_every_number(tmp_path):
    name = next(iter(SWEEPS))
    heads(shape="mini", repeats=2, out=tmp_path, only=(name,))
    (found,) = json.loads((tmp_path / "heads.json").read_text())["sweeps"]
    assert (found["name"], len(found["passes"])) == (name, 2)
    assert found["times_bound"] == pytest.approx([one / found["bound"] for one in found["passes"]])
    assert found["guard"] < 1e-4
    assert f"| {name} |" in (tmp_path / "heads.md").read_text()


def test_a_sweep_that_changes_nothing_would_show():
    assert measure(MINI, "edges", ("image->last@heads=all",), 1)["effect"] > 1e-3
