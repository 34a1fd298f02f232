"""Answers are the model's own, right means equal to the label, and blind means that no pixel is left."""

import re
from dataclasses import replace
from io import StringIO
from typing import get_args

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from tests.support import factories

import chiasm
from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.data.metrics import names
from chiasm.models.generation import generate
from chiasm.models.loading import wrap
from chiasm.runners.examples import run_examples
from chiasm.studies.eval import STUDY
from chiasm.studies.eval.run import EvalWork, blanked, completed, compute
from chiasm.studies.eval.spec import EvalSpec, MetricName
from chiasm.studies.inputs import limit_of


@pytest.fixture(scope="module")
def view():
    return wrap(*factories.build("llava"))


def run(view, examples, **options):
    return compute(EvalSpec(**{"model": view, "data": examples, "max_new_tokens": 3, "batch_size": 2} | options))


def test_answers_are_scored_by_equality(view):
    examples = [factories.example(seed=seed) for seed in range(3)]
    said = [generate(view, [view.encode(example)], max_new_tokens=3)[0].text for example in examples]
    examples[0] = replace(examples[0], answer=said[0].upper())
    examples[1] = replace(examples[1], answer=f"{said[1]}.")
    rows = run(view, examples).table("eval")
    assert rows["generated"].to_list() == said
    assert rows["correct"].to_list() == [True, False, False]
    assert run(view, examples, relaxed=True).table("eval")["correct"].to_list() == [True, True, False]


def test_a_blind_run_sees_grey_of_the_same_size(view):
    examples = [factories.example(seed=seed) for seed in range(2)]
    found = run(view, examples, blind=True)
    grey = [generate(view, [view.encode(blanked(example))], max_new_tokens=3)[0].text for example in examples]
    assert found.table("blind")["generated"].to_list() == grey
    assert found.table("blind")["generated"].to_list() != found.table("eval")["generated"].to_list()


def test_blanking_keeps_sizes_and_tells_broken_images(tmp_path):
    example = factories.example(images=2)
    blind = blanked(example)
    assert [image.size for image in blind.images] == [load_image(image).size for image in example.images]
    assert all((np.asarray(image) == 128).all() for image in blind.images)
    with pytest.raises(ExampleError):
        blanked(Example(id="x", question="?", images=(tmp_path / "nothing.png",)))


def test_a_bad_example_does_not_stop_the_others(view, tmp_path):
    broken = Example(id="broken", question="What?", images=(tmp_path / "nothing.png",))
    found = run(view, [broken, factories.example()], blind=True)
    assert found.counts() == {"asked": 2, "kept": 1, "left_out": 0, "failed": 1}


def test_an_example_without_a_label_is_recorded_and_not_called_wrong(view):
    [labelled] = pictured(view, None)
    bare = replace(labelled, id="bare", answer="", answers=(), captions=())
    several = replace(bare, id="several", answers=("no", labelled.answer, labelled.answer))
    found = run(view, [labelled, bare, several])
    assert found.failures() == [{"example_id": "bare", "reason": "it has no labelled answer to be judged by"}]
    assert found.table("eval")["answer"].to_list() == [labelled.answer] * 2


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"max_new_tokens": 0}, {"task": "pope"}, {"metrics": ("bleu",)}]
)
def test_specs_that_mean_nothing(options):
    with pytest.raises(ChiasmError):
        EvalSpec(model="m", data="d", **options)


def pictured(view, *answers, **fields):
    """One picture, several questions, each answered as the model does where the answer is None."""
    made = []
    for number, answer in enumerate(answers):
        example = replace(factories.example(seed=0), id=str(number), question=f"What is {number}?", **fields)
        said = generate(view, [view.encode(example)], max_new_tokens=3)[0].text
        made.append(replace(example, answer=said if answer is None else answer))
    return made


def test_measures_are_told_with_intervals_over_pictures(view):
    examples = pictured(view, None, "nothing else", None, "nothing else", type="a")
    examples += [replace(factories.example(seed=seed), id=f"s{seed}", answer="no such", type="b") for seed in (1, 2)]
    found = run(view, examples, blind=True)
    rows = found.table("metrics").filter((pl.col("metric") == "accuracy") & (pl.col("shown") == "image"))
    told = {row["type"]: row for row in rows.iter_rows(named=True)}
    assert list(told) == ["all", "a", "b"]
    assert (told["all"]["value"], told["all"]["n"]) == (pytest.approx(2 / 6), 6)
    assert told["all"]["low"] < 2 / 6 < told["all"]["high"]
    assert (told["a"]["value"], told["a"]["low"]) == (0.5, None)  # one picture: nothing to resample
    assert told["b"]["value"] == 0
    assert told["b"]["high"] > 0.5
    assert set(found.table("metrics")["shown"]) == {"image", "blank"}
    scores = found.table("scores").filter((pl.col("metric") == "accuracy") & (pl.col("shown") == "image"))
    assert scores["part"].to_list() == found.table("eval")["correct"].cast(pl.Float64).to_list()


def test_descriptions_get_no_short_answer_instruction(view):
    whole = [replace(factories.example(seed=seed), captions=("a red circle",), answer="") for seed in range(3)]

    def asked(examples, **given):
        spec = completed(EvalSpec(model=view, **given), examples)
        return spec.instruction, spec.max_new_tokens

    assert asked(whole) == ("", 128)
    assert asked(whole, instruction="Be brief.", max_new_tokens=5) == ("Be brief.", 5)
    assert asked([replace(whole[0], answer="red")])[1] == 32
    found = run(view, whole)
    assert {"cider_d", "caption_words"} <= set(found.table("metrics")["metric"])
    assert found.table("eval")["answer"].to_list() == ["a red circle"] * 3


def test_annotators_and_chosen_metrics(view):
    [example] = pictured(view, None, answers=("x", "x", "x"))
    [agreed] = pictured(view, None)
    agreed = replace(agreed, id="agreed", answers=(agreed.answer,) * 10)
    assert agreed.answer
    found = run(view, [example, agreed], metrics=("vqa",))
    assert found.table("metrics")["metric"].unique().to_list() == ["vqa_accuracy"]
    assert found.table("scores")["part"].to_list() == [0, 1]


def test_a_resumed_run_measures_what_it_lacked(view, tmp_path):
    examples = [factories.example(seed=seed) for seed in range(4)]
    whole = run(view, examples)
    given = {"model": view, "data": examples, "max_new_tokens": 3, "batch_size": 2, "instruction": ""}
    spec = EvalSpec(out=tmp_path, **given)
    facts = {key: whole.manifest[key] for key in ("model", "data")}
    with STUDY.open(spec, facts) as directory:
        run_examples(EvalWork(spec, view), examples, directory, spec.batch, "eval")  # killed before it could measure
    found = run(view, examples, out=tmp_path, resume=True, instruction="")
    assert found.table("metrics")["n"].to_list() == [4, 4]


def test_the_names_of_metrics_are_those_there_are():
    assert set(get_args(MetricName)) == set(names())


@pytest.mark.parametrize(
    ("task", "words"), [("qa", "answered correctly"), ("caption", "CIDEr-D"), ("pope-random", "always yes would reach")]
)
def test_scenes_are_described_and_asked_for_objects(task, words, tmp_path):
    made = chiasm.evaluate("tiny", limit=8, task=task, blind=True, out=tmp_path / "run")
    assert words in made.findings[0]
    assert all("95 %" in finding for finding in made.findings)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "image blanked" in page
    assert ("--task" in page) == (task != "qa")
    value = made.table("metrics").filter(pl.col("type") == "all")["value"][0]
    assert value > (0.8 if task != "caption" else 0.5)


def test_data_without_an_end_are_cut_off_aloud(caplog):
    assert limit_of("scenes", None) == limit_of("scenes-video", None) == 240
    assert "have no end: the first 240" in caplog.text
    caplog.clear()
    assert limit_of("scenes", 7) == 7
    assert limit_of("mine.jsonl", None) is None
    assert not caplog.records


def test_an_example_whose_logits_are_no_numbers_is_recorded(view, monkeypatch):
    examples = [factories.example(seed=seed) for seed in range(3)]
    forward = type(view.final_norm).forward
    calls = []

    def overflowing(self, hidden):
        found = forward(self, hidden)
        if self is view.final_norm and len(found) == 2:
            calls.append(1)
            found = found.clone()
            found[1] = float("nan")
        return found

    monkeypatch.setattr(type(view.final_norm), "forward", overflowing)
    found = run(view, examples, blind=False)
    assert calls
    assert found.table("eval").height == 2
    (failed,) = found.failures()
    assert failed["example_id"] == examples[1].id
    assert "NaN or infinite logits" in failed["reason"]


def test_a_description_that_is_cut_off_is_noted(view):
    examples = [
        replace(factories.example(seed=seed), answer="", captions=("a thing", "another thing")) for seed in range(2)
    ]
    found = run(view, examples)
    assert [one["example_id"] for one in found.skipped()] == [example.id for example in examples]
    assert "cut off after 3 tokens" in found.skipped()[0]["reason"]
    assert not run(view, [factories.example(seed=9)]).skipped()


def test_a_model_that_takes_no_batch_is_given_one_example_at_a_time(view, monkeypatch):
    examples = [factories.example(seed=seed) for seed in range(3)]
    expected = chiasm.evaluate(view, examples, max_new_tokens=3, batch_size=1).table("eval")
    monkeypatch.setattr(type(view.family), "can_batch", lambda self, encoded, config: len(encoded) == 1)
    found = chiasm.evaluate(view, examples, max_new_tokens=3)
    assert found.directory.manifest["spec"]["batch_size"] == 1
    assert found.table("eval").equals(expected)
    # Where the first ones could go together, it is found out on the way.
    assert chiasm.evaluate(view, examples, max_new_tokens=3, batch_size=2).table("eval").equals(expected)


def test_a_label_of_any_length_leaves_numbers_their_room(view):
    examples = [replace(factories.example(seed=seed), type="t" * 5000 if seed else "short") for seed in range(2)]
    found = chiasm.evaluate(view, examples, max_new_tokens=3, batch_size=2)
    terminal = Console(width=80, file=StringIO())
    for part in found.reporter.summary():
        terminal.print(part)
    lines = terminal.file.getvalue().splitlines()
    rows = [line for line in lines if line.startswith(("short", "ttt", "all"))]
    assert len(rows) == 3
    for row in rows:
        assert len(re.findall(r"\d+\.\d to \d+\.\d %", row)) == 1
    assert max(map(len, rows)) <= 80


def test_bad_lines_and_files_outside_are_failures_of_a_run(view, tmp_path):
    (folder := tmp_path / "data").mkdir()
    factories.example().images[0].save(folder / "a.png")
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    rows = [
        '{"id": "good", "image": "a.png", "question": "What?", "answer": "red"}',
        "not JSON",
        '{"id": "outside", "image": "../secret.png", "question": "What?", "answer": "red"}',
        '{"id": "deep", "image": "a.png", "question": ' + "[" * 3000 + "]" * 3000 + "}",
        '{"id": "long", "image": "' + "n" * 300 + '.png", "question": "What?"}',
        '{"id": "\\u001b[31mred", "image": "gone.png", "question": "What?"}',
    ]
    (folder / "q.jsonl").write_text("\n".join(rows) + "\n")
    found = run(view, folder / "q.jsonl")
    reasons = {one["example_id"]: one["reason"] for one in found.failures()}
    assert found.table("eval")["example_id"].to_list() == ["good"]
    assert list(reasons) == ["line 2", "outside", "line 4", "long", "\x1b[31mred"]
    assert "line 2 of q.jsonl: it is not JSON" in reasons["line 2"]
    assert "outside the folder of the data" in reasons["outside"]
    assert "File name too long" in reasons["long"]
    assert not [reason for reason in reasons.values() if str(tmp_path) in reason]
    allowed = run(view, folder / "q.jsonl", allow_outside=True)
    assert allowed.table("eval")["example_id"].to_list() == ["good", "outside"]
