"""Several models on the same examples: score, accuracy and what so few points can say."""

from dataclasses import replace
from html import unescape

import polars as pl
import pytest
from tests.support.factories import build, example

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.compare import run as study
from chiasm.studies.run import run_study

EXAMPLES = [example(seed=seed) for seed in range(6)]


def compare(views, examples, **options):
    return run_study("compare", models=views, data=examples, **options)


@pytest.fixture(scope="module")
def views():
    return [ModelView(*build("llava", seed=seed, layers=2), name=f"m{seed}") for seed in range(4)]


def test_tables_figures_and_findings(views, tmp_path):
    run = compare(views, EXAMPLES, out=tmp_path / "run")
    rows, related = run.table("compare"), run.table("correlation")
    assert set(rows["model"]) == {"m0", "m1", "m2", "m3"}
    assert set(rows["n"]) == {6}
    assert rows.height == 4 * 6
    assert set(related["models"]) == {4}
    alone = run_study("align", model=views[2], data=EXAMPLES, controls=False).table("score")
    assert rows.filter(rows["model"] == "m2")["value"].to_list() == pytest.approx(alone["value"].to_list(), abs=1e-9)
    assert any("n = 4 models are too few" in finding for finding in run.findings)
    for name in run.charts:
        run.chart(name)
    page = unescape((tmp_path / "run" / "report.html").read_text())
    assert "chiasm.compare(models=['m0', 'm1', 'm2', 'm3'], " in page
    assert not (tmp_path / "run" / "shards").exists()


@pytest.mark.heavy
def test_a_stopped_comparison_repeats_no_finished_model(views, tmp_path, monkeypatch):
    read = []
    run_align = study.run_align

    def counted(spec, *args):
        read.append(spec.model)
        if len(read) == 3:
            raise KeyboardInterrupt
        run_align(spec, *args)

    monkeypatch.setattr(study, "run_align", counted)
    with pytest.raises(KeyboardInterrupt):
        compare(views, EXAMPLES, out=tmp_path / "run")
    assert RunDirectory.load(tmp_path / "run").manifest["status"] == "interrupted"
    run = compare(views, EXAMPLES, out=tmp_path / "run", resume=True)
    assert read == ["m0", "m1", "m2", "m2", "m3"]
    assert run.table("compare")["model"].n_unique() == 4


def test_questions_on_one_image_count_together_in_every_table(views):
    """Six images asked about four times are six draws: score and outcomes must give one interval."""
    examples = [replace(e, id=f"{e.id}/{k}") for e in EXAMPLES for k in range(4)]
    examples = [replace(e, answer="yes" if k % 3 else "no") for k, e in enumerate(examples)]
    run = compare(views[:2], examples)
    rows = run.table("compare").select("model", "accuracy", "accuracy_low", "accuracy_high").unique()
    outcomes = run.table("outcomes").filter((pl.col("metric") == "accuracy") & (pl.col("task") == "qa"))
    both = rows.join(outcomes, on="model")
    assert both.height == 2
    assert (both["accuracy"] == both["value"]).all()
    assert (both["accuracy_low"] == both["low"]).all()
    assert (both["accuracy_high"] == both["high"]).all()


@pytest.mark.heavy
def test_captions_without_labels_have_no_accuracy(views, tmp_path):
    examples = [replace(e, answer="", captions=("a cat", "an owl")) for e in EXAMPLES]
    run = compare(views[:2], examples, out=tmp_path / "run")
    assert run.table("compare")["accuracy"].null_count() == run.table("compare").height
    assert run.table("correlation").height == 0
    assert "cider_d" in set(run.table("outcomes")["metric"])
    text = " ".join(run.findings)
    assert "n = 2 models cannot show a relation" in text
    assert "no labels" in text
    assert "Spearman" not in text
    for name in run.charts:
        run.chart(name)


def test_one_model_is_no_comparison(views):
    with pytest.raises(ChiasmError, match="two or more"):
        compare(views[:1], EXAMPLES)


@pytest.mark.heavy
def test_further_tasks_give_outcomes_and_their_relations(views, tmp_path):
    examples = [
        replace(e, captions=(f"a {name}",), boxes=(Box(name, 1, 1, 5, 5),))
        for e, name in zip(EXAMPLES, ("cat", "dog", "owl", "cat", "fox", "dog"), strict=True)
    ]
    run = compare(views[:3], examples, tasks=("caption", "pope-popular"), out=tmp_path / "run")
    outcomes = run.table("outcomes")
    assert set(outcomes.select("task", "metric").iter_rows()) >= {
        ("qa", "accuracy"), ("caption", "cider_d"), ("caption", "chair_s"), ("pope-popular", "pope_f1"),
    }  # fmt: skip
    assert set(outcomes.filter(outcomes["metric"].str.starts_with("chair_s"))["kind"]) == {"hallucination"}
    alone = run_study("eval", model=views[1], data=examples, task="pope-popular").table("metrics")
    value = alone.filter(alone["metric"] == "pope_f1")["value"][0]
    row = outcomes.filter((outcomes["metric"] == "pope_f1") & (outcomes["model"] == "m1"))
    assert row["value"].to_list() == [value]
    related = run.table("outcome_correlation")
    assert set(related["metric"]) <= set(study.RELATED)
    assert related.height
    drawn = [name for name in run.charts if name.startswith(("compare-caption", "compare-pope"))]
    assert drawn
    for name in drawn:
        run.chart(name)
    assert "tasks=['caption', 'pope-popular']" in unescape((tmp_path / "run" / "report.html").read_text())


def test_the_relation_is_of_the_measure_named():
    scores = pl.DataFrame(
        {"model": list("abcde"), "name": ["ima_0"] * 5, "statistic": ["mean_token"] * 5, "a": ["image"] * 5,
         "b": ["question"] * 5, "value": [1.0, 2, 3, 4, 5]}
    )  # fmt: skip
    outcome = pl.DataFrame({"model": list("edcba"), "outcome": [0.1, 0.2, 0.3, 0.4, 0.5]})
    [row] = study._relations(scores, outcome, 0)
    assert (row["spearman"], row["models"]) == (-1, 5)
    [fewer] = study._relations(scores, outcome.head(3), 0)
    assert fewer["models"] == 3
    assert study._relations(scores, outcome.head(1), 0) == []


@pytest.mark.parametrize("tasks", [("qa",), ("caption", "caption"), ("pope",)])
def test_a_further_task_is_another_one(views, tasks):
    with pytest.raises(ChiasmError, match="task"):
        compare(views, EXAMPLES, tasks=tasks)
