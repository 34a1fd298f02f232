"""`chiasm chart`: what `run.chart(...)` draws, from the command line."""

import inspect
import json

import pytest
from PIL import Image
from tests.support import factories

import chiasm
from chiasm.cli.chart import chart
from chiasm.cli.main import main
from chiasm.results.charts.files import specification
from chiasm.studies.flow import charts, curves
from chiasm.studies.look import maps

CUT = "image->question"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model, processor = factories.build("llava")
    view = chiasm.load(model=model, processor=processor)
    chosen = [factories.example(seed=seed) for seed in range(3)]
    out = tmp_path_factory.mktemp("chart") / "run"
    return chiasm.flow(view, chosen, cuts=[CUT, "image->last"], window=1, keep="all", controls=False, out=out)


def typed(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_it_draws_what_python_draws(run, tmp_path, capsys):
    file = tmp_path / "made.json"
    assert typed("chart", run.path, "flow", "--width", "3.3in", "--cut", CUT, "--out", file) == 0
    wanted = specification(run.chart("flow", width="3.3in", cuts=[CUT]))
    found = json.loads(file.read_text())
    assert (found["title"], found["datasets"]) == (wanted["title"], wanted["datasets"])
    assert len(found["datasets"])
    assert "image → last" not in file.read_text()
    assert capsys.readouterr().out == f"Chart: {file}\n"


@pytest.mark.parametrize("kind", ["svg", "pdf", "png", "html"])
def test_it_writes_every_kind_of_file(kind, run, tmp_path):
    file = tmp_path / f"made.{kind}"
    assert typed("chart", run.path, "flow", "--width", "3.3in", "--out", file) == 0
    assert file.stat().st_size > 1000
    if kind == "png":
        with Image.open(file) as image:
            assert 0.9 * 660 < image.width < 1.15 * 660  # 3.3 in at 200 dots


def test_without_a_place_it_writes_a_pdf_here_and_prints_the_caption(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert typed("chart", run.path, "flow") == 0
    assert (tmp_path / "flow.pdf").read_bytes().startswith(b"%PDF")
    assert capsys.readouterr().out == f"{run.caption('flow')}\n\nChart: flow.pdf\n"


def test_without_a_name_it_lists_charts_and_what_can_be_chosen(run, capsys):
    assert typed("chart", run.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flow [--cut ...]: At which layers does each route carry the answer?"
    assert len(lines) == len(run.charts)
    assert typed("chart", run.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)["charts"]
    assert [one["name"] for one in found] == run.charts
    assert found[0]["choices"] == ["cuts"]
    assert found[0]["caption"] == run.caption("flow")


def test_programs_get_the_file_and_the_caption(run, tmp_path, capsys):
    file = tmp_path / "made.svg"
    assert typed("chart", run.path, "flow", "--out", file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"run": str(run.path), "chart": "flow", "caption": run.caption("flow"), "file": str(file)}
    assert typed("chart", run.path, "flow", "--cut", CUT, "--out", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["caption"] is None


WRONG = {
    ("flo",): "Did you mean flow?",
    ("flow", "--layer", "1"): "the chart `flow` with --layer: what can be chosen is --cut",
    ("answers", "--cut", CUT): "nothing in it can be chosen but --width",
    ("flow", "--cut", "image->lst"): "this run has image->question, image->last",
    ("flow", "--width", "3"): "Write 3.3in or 17cm",
    ("flow", "--out", "x.gif"): "`gif` is no kind of file for charts",
    ("--width", "3in"): "with --width: no chart is named",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_mistakes_are_answered(words, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert typed("chart", run.path, *words) == 2
    assert WRONG[words] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_there_is_a_flag_for_everything_that_can_be_chosen_in_a_chart():
    chosen = set()
    for module in (charts, curves, maps):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            taken = inspect.signature(function).parameters
            if function.__module__ == module.__name__ and "size" in taken:
                chosen |= {one.name for one in taken.values() if one.default == () and one.name != "claims"}
    assert chosen == {"cuts", "layers", "states"}
    assert chosen <= set(inspect.signature(chart).parameters)
