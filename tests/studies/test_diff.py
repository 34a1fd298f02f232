"""Runs side by side: planted differences are found where they are, and nothing is said of others."""

import json

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables

import chiasm
from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError
from chiasm.results.tables import read_schema
from chiasm.studies.run import open_run
from chiasm.studies.study import study

LAYERS, EXAMPLES = 6, 24


def written(path, verb, tables, **given):
    """A finished run of a study with these tables."""
    found = study(verb)
    spec = found.spec(**{"model": "made", "data": "made.jsonl", **given}).complete(out=str(path))
    facts = {"model": {"id": str(spec.model), "weights": "w"}, "data": {"name": "made", "hash": "h"}, "asked": 1}
    with found.open(spec, facts, path) as directory:
        directory.write_shard(0, tables)
        directory.finish()
    return open_run(path)


def examples(names):
    rows = [
        {"example_id": name, "type": "query", "question": "What?", "answer": "red", "input": f"i-{name}"}
        for name in names
    ]
    return pl.DataFrame(rows)


def flow_run(path, *, shift=0.0, seed=0, prefix="q", tables=None, **given):
    """A run with planted effects; at layer 2 of `image->last` the answer loses `shift` nat more."""
    effects = flow_tables.effects(layers=LAYERS, examples=EXAMPLES, seed=seed)
    moved = (pl.col("cut") == "image->last") & (pl.col("layer") == 2)
    effects = effects.with_columns(
        example_id=pl.col("example_id").str.replace("q", prefix),
        logprob_cut=pl.col("logprob_cut") - pl.when(moved).then(shift).otherwise(0.0),
    )
    names = effects["example_id"].unique(maintain_order=True)
    return written(path, "flow", {"effects": effects, "examples": examples(names)} | (tables or {}), **given)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    return {
        "first": flow_run(folder / "first", window=3),
        "moved": flow_run(folder / "moved", shift=0.4, window=5),
        "other": flow_run(folder / "other", seed=9, prefix="x", window=1),
    }


def test_a_planted_difference_is_found_where_it_is_and_nowhere_else(runs):
    found = chiasm.diff(runs["first"], runs["moved"])
    assert found.labels == ("window 3", "window 5")
    rows = found.differences.drop_nulls("difference")
    assert rows.height == 3 * LAYERS
    held = rows.filter(verdict="established")
    assert held.select("about", "where").rows() == [("image->last", "2")]
    [row] = held.to_dicts()
    assert row["difference"] == pytest.approx(-0.4)
    assert row["second"] - row["first"] == pytest.approx(-0.4)
    assert (row["paired"], row["n"], row["inputs"]) == (True, EXAMPLES, EXAMPLES)
    assert set(rows.filter(pl.col("verdict") != "established")["verdict"]) == {"practically none"}
    assert "image->last at layer 2" in found.findings[0]
    at = "in 1 of 18 places, most surely in image → last at layer 2: -0.4 nat."
    assert found.headline == f"window 5 differs from window 3 {at}"
    assert "-0.4 nat" in found.findings[0]
    assert found.options.filter(option="window").row(0) == ("window", "3", "5")
    assert found.examples["shared"].to_list() == [None, EXAMPLES]


def test_other_examples_are_two_samples_and_that_is_said(runs):
    found = chiasm.diff(runs["first"], runs["other"])
    rows = found.differences.drop_nulls("difference")
    assert rows.height == 3 * LAYERS
    assert not rows["paired"].any()
    assert found.examples["shared"].to_list() == [None, 0]
    assert any("not compared example by example" in note for note in found.notes)
    paired = chiasm.diff(runs["first"], runs["moved"]).differences.drop_nulls("difference")
    width = pl.col("high") - pl.col("low")
    assert rows.select(width.mean()).item() > paired.select(width.mean()).item()


def test_the_same_id_on_another_input_is_another_example(tmp_path, runs):
    names = [f"q{i:04d}" for i in range(EXAMPLES)]
    elsewhere = examples(names).with_columns(input=pl.format("elsewhere-{}", "input"))
    other = flow_run(tmp_path / "same-ids", tables={"examples": elsewhere}, window=1)
    assert chiasm.diff(runs["first"], other).examples["shared"].to_list() == [None, 0]


def test_three_runs_are_corrected_together(runs):
    two, three = chiasm.diff(runs["first"], runs["moved"]), chiasm.diff(runs["first"], runs["moved"], runs["other"])
    alone, both = (
        one.differences.drop_nulls("difference")
        .filter(run="window 5", about="image->last", where="2")
        .row(0, named=True)
        for one in (two, three)
    )
    assert both["difference"] == alone["difference"]
    assert both["p"] >= alone["p"]
    assert set(three.differences["run"]) == {"window 5", "window 1"}


def test_right_answers_are_paired_question_by_question(tmp_path):
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.7
    answers = flow_tables.evaluation(200, types=("query", "choose"))
    both = []
    for name, correct in (("one", right), ("two", right | (rng.random(200) < 0.5))):
        tables = {"eval": answers.with_columns(correct=pl.Series(correct)), "examples": examples(answers["example_id"])}
        both.append(written(tmp_path / name, "eval", tables, model=name))
    found = chiasm.diff(*both)
    assert found.labels == ("one", "two")
    rows = {row["about"]: row for row in found.differences.drop_nulls("difference").to_dicts()}
    assert set(rows) == {"all", "query", "choose"}
    gained = 100 * (both[1].table("eval")["correct"].mean() - right.mean())
    assert rows["all"]["difference"] == pytest.approx(gained)
    assert rows["all"]["verdict"] == "established"
    assert rows["all"]["low"] > 0
    assert rows["all"]["unit"] == "%"
    assert found.findings[0].startswith("all: right answers, ")
    assert " points (95 % interval" in found.findings[0]


def test_studies_without_values_stand_side_by_side(tmp_path, monkeypatch, runs):
    monkeypatch.setattr("chiasm.studies.study.Study.values_of", lambda self, directory: None)
    found = chiasm.diff(runs["first"], runs["moved"])
    assert found.differences["difference"].null_count() == found.differences.height > 0
    assert found.charts == []
    row = found.differences.filter(kind="effect", about="image->last", where="2").row(0, named=True)
    assert row["second"] - row["first"] == pytest.approx(-0.4)
    assert found.findings[0].startswith("No difference is given")
    assert "claims" in found.report(tmp_path / "page").read_text()
    with pytest.raises(ChiasmError, match="Read `differences`"):
        found.chart()


def test_what_cannot_be_compared_is_refused(tmp_path, runs):
    answers = flow_tables.evaluation(20)
    other = written(tmp_path / "eval", "eval", {"eval": answers, "examples": examples(answers["example_id"])})
    with pytest.raises(ChiasmError, match=r"is of flow.*is of eval.*Name runs of one study"):
        chiasm.diff(runs["first"], other)
    with pytest.raises(ChiasmError, match="Name two or more"):
        chiasm.diff(runs["first"])
    with pytest.raises(ChiasmError, match="there is no manifest"):
        chiasm.diff(runs["first"], tmp_path / "nothing")


def test_charts_show_both_runs_and_their_difference(runs):
    found = chiasm.diff(runs["first"], runs["moved"])
    spec = found.chart().to_dict()
    assert "window 5 differ from window 3" in " ".join(spec["title"]["text"])
    panels = json.dumps(found.chart("runs", width="6in").to_dict())
    assert "window 3" in panels
    assert "window 5" in panels
    with pytest.raises(ChiasmError, match="Did you mean runs"):
        found.chart("rusn")


def test_the_command_writes_a_page_and_a_table(runs, tmp_path, capsys):
    paths = [str(runs[name].path) for name in ("first", "moved")]
    with pytest.raises(SystemExit) as left:
        main(["diff", *paths, "--out", str(tmp_path / "page")])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "image->last at layer 2" in said
    assert max(map(len, said[said.index("About") :].split("Report:")[0].splitlines()[:6])) <= 80
    page = (tmp_path / "page" / "report.html").read_text()
    assert "<h2>What the runs were asked</h2>" in page
    assert "image -&gt; last" not in page
    kept = pl.read_parquet(tmp_path / "page" / "differences.parquet")
    assert kept.equals(chiasm.diff(*paths).differences)
    assert read_schema(tmp_path / "page" / "differences.parquet").column("difference").description
    with pytest.raises(SystemExit):
        main(["diff", *paths, "--json", "--out", str(tmp_path / "again")])
    found = json.loads(capsys.readouterr().out)
    assert found["study"] == "flow"
    assert [one["label"] for one in found["runs"]] == ["window 3", "window 5"]
    assert len(found["differences"]) == kept.height
