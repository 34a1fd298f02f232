"""Runs side by side: planted differences are found where they are, and nothing is said of others."""

import json

import numpy as np
import polars as pl
import pytest
from tests.support import flow_tables

import chiasm
from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError
from chiasm.results.diff.depths import same_share
from chiasm.results.diff.sentences import design
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.tables import conform, read_schema
from chiasm.studies.flow.tables import BLANK, CONTROLS, SIZE_MATCHED
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
    assert "image → last at layer 2" in found.findings[1]
    at = "In 1 of 18 places window 5 differs from window 3, most surely in image → last at layer 2: -0.4 nat."
    assert found.headline == f"By design the runs differ in window (3 and 5). {at}"
    assert found.findings[0] == "By design the runs differ in window (3 and 5)."
    assert "-0.4 nat" in found.findings[1]
    assert found.asked == {"window": [3, 5]}
    assert found.same == ()
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
    assert found.findings[0] == "By design the runs differ in model (one and two)."
    assert found.findings[1].startswith("all: right answers, ")
    assert " points (95 % interval" in found.findings[1]


def test_studies_without_values_stand_side_by_side(tmp_path, monkeypatch, runs):
    monkeypatch.setattr("chiasm.studies.study.Study.values_of", lambda self, directory: None)
    found = chiasm.diff(runs["first"], runs["moved"])
    assert found.differences["difference"].null_count() == found.differences.height > 0
    assert found.charts == []
    row = found.differences.filter(kind="effect", about="image->last", where="2").row(0, named=True)
    assert row["second"] - row["first"] == pytest.approx(-0.4)
    assert found.findings[1].startswith("No difference between window 5 and window 3 is given: flow keeps no table")
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
    assert "image → last at layer 2" in said
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
    assert [one["status"] for one in found["runs"]] == ["complete", "complete"]
    assert found["options"] == {"window": [3, 5]}
    assert found["same"] == []
    assert len(found["differences"]) == kept.height


def control(effects, *, name=SIZE_MATCHED, shift=0.0, seed=5):
    """A control that does nothing anywhere, but for `shift` at layer 2 of `image->last`."""
    rng = np.random.default_rng(seed)
    moved = (pl.col("cut") == "image->last") & (pl.col("layer") == 2)
    noise = pl.Series(rng.normal(0, 0.01, effects.height))
    changed = pl.col("logprob_clean") + noise - pl.when(moved).then(shift).otherwise(0.0)
    rows = effects.with_columns(logprob_cut=changed, control=pl.lit(name), sample=pl.lit(0, pl.Int64))
    return conform(CONTROLS, rows)


def controlled(path, *, shift, taken, seed=5, **given):
    effects = flow_tables.effects(layers=LAYERS, examples=EXAMPLES)
    more = (
        {} if taken is None else {"controls": pl.concat([control(effects, shift=k, name=n) for n, k in taken.items()])}
    )
    return flow_run(path, shift=shift, tables=more, **given)


def strongest(found):
    return found.differences.filter(about="image->last", where="2", kind="effect").row(0, named=True)


def test_a_difference_beyond_the_control_is_what_the_control_does_not_show(tmp_path):
    first = controlled(tmp_path / "first", shift=0.0, taken={SIZE_MATCHED: 0.0}, window=1)
    own = controlled(tmp_path / "own", shift=0.4, taken={SIZE_MATCHED: 0.0}, window=3)
    found = chiasm.diff(first, own)
    row = strongest(found)
    assert (row["verdict"], row["beyond_verdict"], row["control"]) == (
        "established",
        "established",
        "as many random keys",
    )
    assert row["difference"] == pytest.approx(-0.4)
    assert row["beyond"] == pytest.approx(-0.4)
    assert row["beyond_n"] == EXAMPLES
    assert "In 1 of 18 places window 3 differs from window 1 (1 of them beyond the control as well)" in found.headline
    assert "less what the control shows in both (as many random keys), -0.4 nat" in found.findings[1]
    shown = controlled(tmp_path / "shown", shift=0.4, taken={SIZE_MATCHED: 0.4}, window=5)
    found = chiasm.diff(first, shown)
    row = strongest(found)
    assert (row["verdict"], row["beyond_verdict"]) == ("established", "practically none")
    assert row["beyond"] == pytest.approx(0.0)
    assert "(none of them beyond the control as well)" in found.headline
    assert "practically nothing is left" in found.findings[1]
    page = found.report(tmp_path / "page").read_text()
    assert "practically none (as many random keys)" in page


def test_of_several_controls_the_one_decides_that_explains_most(tmp_path):
    both = {SIZE_MATCHED: 0.0, BLANK: 0.0}
    first = controlled(tmp_path / "first", shift=0.0, taken=both, window=1)
    second = controlled(tmp_path / "second", shift=0.4, taken=both | {BLANK: 0.4}, window=3)
    row = strongest(chiasm.diff(first, second))
    assert (row["control"], row["beyond_verdict"]) == ("the same cut on a blank image", "practically none")
    further = controlled(tmp_path / "further", shift=0.4, taken=both | {BLANK: 0.8}, window=5)
    row = strongest(chiasm.diff(first, further))
    assert row["beyond"] == pytest.approx(0.4)
    assert row["beyond_verdict"] == "not established", "beyond it, but on the other side"


def test_why_no_control_is_taken_off_is_said(tmp_path, runs):
    first = controlled(tmp_path / "first", shift=0.0, taken={SIZE_MATCHED: 0.0}, window=1)
    found = chiasm.diff(first, runs["moved"])
    assert found.differences["beyond"].null_count() == found.differences.height
    why = "window 1 has as many random keys and window 5 has none"
    assert any(note.startswith("Not taken off") and why in note for note in found.notes)
    assert "control" not in found.headline
    random = [
        controlled(tmp_path / f"random-{k}", shift=0.0, taken={SIZE_MATCHED: 0.0, RANDOM_WEIGHTS: 0.0}, window=k)
        for k in (1, 3)
    ]
    notes = chiasm.diff(*random).notes
    assert any("random-weights baseline: a few models with random weights share the examples" in note for note in notes)


def test_right_answers_beyond_those_with_the_image_blanked(tmp_path):
    rng = np.random.default_rng(0)
    right, blind = rng.random(200) < 0.4, rng.random(200) < 0.3
    better = right | (rng.random(200) < 0.6)
    answers = flow_tables.evaluation(200, types=("query", "choose"))
    names = examples(answers["example_id"])

    def run(name, seen, unseen):
        one, other = (answers.with_columns(correct=pl.Series(values)) for values in (seen, unseen))
        return written(
            tmp_path / name, "eval", {"eval": one, "blind": other, "examples": names}, model=name, blind=True
        )

    rows = chiasm.diff(run("one", right, blind), run("two", better, blind)).differences.filter(
        about="all", kind="right"
    )
    [row] = rows.to_dicts()
    assert row["control"] == "image blanked"
    assert row["beyond"] == pytest.approx(row["difference"])
    assert row["beyond_verdict"] == "established"
    # As much more is right without the image: what was gained is not seen.
    guessed = blind | (better & ~right)
    rows = chiasm.diff(run("three", right, blind), run("four", better, guessed)).differences
    [row] = rows.filter(about="all", kind="right").to_dicts()
    assert row["verdict"] == "established"
    assert abs(row["beyond"]) < abs(row["difference"]) / 2
    assert row["beyond_low"] <= row["beyond"] <= row["beyond_high"]


def test_runs_that_are_the_same_are_called_so(tmp_path, runs):
    again = flow_run(tmp_path / "again", window=3)
    found = chiasm.diff(runs["first"], again)
    assert found.labels == ("first", "again")
    assert found.same == ("again",)
    assert found.headline == (
        "By design nothing differs: the same options, model and data. "
        "The same rows are in first and again: they differ in nothing."
    )
    twice = chiasm.diff(runs["first"], runs["first"].path)
    assert "The same run are" in twice.headline
    assert str(runs["first"].path) in twice.headline
    otherwise = chiasm.diff(runs["first"], flow_run(tmp_path / "otherwise", window=5))
    assert "although they were asked otherwise: they differ in nothing" in otherwise.headline
    three = chiasm.diff(runs["first"], again, runs["moved"])
    assert three.same == ("again",)
    assert "The same rows are in first and again: they differ in nothing." in three.headline
    assert "In 1 of 18 places moved" in three.headline


def test_a_run_that_is_not_finished_is_named_first(tmp_path, runs):
    found = study("flow")
    spec = found.spec(model="made", data="made.jsonl", window=5).complete(out=str(tmp_path / "part"))
    facts = {"model": {"id": "made", "weights": "w"}, "data": {"name": "made", "hash": "h"}, "asked": 99}
    effects = flow_tables.effects(layers=LAYERS, examples=EXAMPLES)
    with found.open(spec, facts, tmp_path / "part") as directory:
        names = effects["example_id"].unique(maintain_order=True)
        directory.write_shard(0, {"effects": effects, "examples": examples(names)})
    compared = chiasm.diff(runs["first"], tmp_path / "part")
    said = f"Not finished: window 5, with {EXAMPLES} of 99 examples."
    assert said in compared.headline
    assert compared.headline.index(said) < compared.headline.index("No difference between")
    assert compared.same == ()


def test_a_run_in_which_nothing_is_left_is_refused_with_what_became_of_it(tmp_path, runs):
    found = study("flow")
    spec = found.spec(model="made", data="made.jsonl").complete(out=str(tmp_path / "nothing"))
    facts = {"model": {"id": "made", "weights": "w"}, "data": {"name": "made", "hash": "h"}, "asked": 3}
    with found.open(spec, facts, tmp_path / "nothing") as directory:
        wrong = [(f"q{k}", "answered 'a' instead of 'b'") for k in range(3)]
        directory.write_shard(0, {}, left_out=wrong)
    with pytest.raises(ChiasmError, match=r"nothing to compare: of 3 examples 3 were left out.*--keep all"):
        chiasm.diff(runs["first"], tmp_path / "nothing")
    with found.open(spec, facts, tmp_path / "begun"):
        pass
    with pytest.raises(ChiasmError, match=r"no example is finished yet.*--resume"):
        chiasm.diff(runs["first"], tmp_path / "begun")


def test_runs_that_measured_other_things_say_which(tmp_path, runs):
    effects = flow_tables.effects(layers=LAYERS, examples=EXAMPLES, cuts=("question->last",))
    names = effects["example_id"].unique(maintain_order=True)
    other = written(
        tmp_path / "other", "flow", {"effects": effects, "examples": examples(names)}, cuts=["question->last"]
    )
    effects = flow_tables.effects(layers=LAYERS, examples=EXAMPLES, cuts=("image->last",))
    first = written(tmp_path / "first", "flow", {"effects": effects, "examples": examples(names)}, cuts=["image->last"])
    found = chiasm.diff(first, other)
    assert "nothing was measured in both" in found.headline
    assert "measured question → last and " in found.headline
    assert found.charts == []


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({}, "By design nothing differs: the same options, model and data."),
        ({"window": [1, 3]}, "By design the runs differ in window (1 and 3)."),
        ({"model": ["a", "b"], "model weights": ["x", "y"]}, "By design the runs differ in model (a and b)."),
        ({"model weights": ["x", "y"]}, "By design the runs differ in the weights of the model."),
        ({"limit": [1, 2], "seed": [0, 1], "data hash": ["x", "y"]}, "in limit (1 and 2) and seed (0 and 1)."),
        ({"cuts": [["a->b"] * 20, ["b->c"]]}, "By design the runs differ in cuts."),
        ({"chiasm": ["0.1", "0.2"]}, "in the version of chiasm (0.1 and 0.2)."),
    ],
)
def test_what_differs_by_design_is_a_sentence(differing, said):
    assert design(differing).endswith(said)


def test_layers_of_models_of_unlike_depth_are_compared_at_the_same_share_of_the_depth(tmp_path):
    """An effect at a third of the depth is at another number in a deeper model, and no difference there."""
    made = {}
    for layers in (6, 26):
        effects = flow_tables.effects(layers=layers, examples=EXAMPLES, window=1)
        tables = {"effects": effects, "examples": examples(effects["example_id"].unique(maintain_order=True))}
        made[layers] = written(tmp_path / str(layers), "flow", tables, model=f"deep-{layers}", window=1)
    for first, second in ((6, 26), (26, 6)):
        found = chiasm.diff(made[first], made[second])
        said = f"deep-{first} has {first} layers and deep-{second} {second}: layers are compared at the same share"
        assert said in found.headline
        rows = found.differences.drop_nulls("difference")
        wheres = {"0", "1", "2", "3", "4", "5"} if first == 6 else {"0", "5", "10", "15", "20", "25"}
        assert set(rows["where"]) == wheres
        assert rows.height == 3 * 6
        assert any("unlike depth" in note for note in found.notes)
    assert same_share(6, 26) == {0: 0, 5: 1, 10: 2, 15: 3, 20: 4, 25: 5}
    assert same_share(26, 6) == {0: 0, 1: 5, 2: 10, 3: 15, 4: 20, 5: 25}
    values = made[26].reporter.table("effects").filter(cut="image->last", layer=10)
    mean = values.select((pl.col("logprob_cut") - pl.col("logprob_clean")).mean()).item()
    beside = chiasm.diff(made[6], made[26]).differences.filter(kind="effect", about="image->last", where="2")
    assert beside["second"].item() == pytest.approx(mean)


def test_layers_of_models_of_one_depth_are_compared_by_their_number(runs):
    found = chiasm.diff(runs["first"], runs["moved"])
    assert "layers are compared" not in found.headline
    assert not any("unlike depth" in note for note in found.notes)
