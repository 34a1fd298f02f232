"""`chiasm prune` as a user meets it."""

import json

import pytest
from tests.support import factories
from transformers import AutoModelForImageTextToText

from chiasm.cli.main import main
from chiasm.results.rundir import RunDirectory


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(factories.save("llava", tmp_path_factory.mktemp("model"), layers=2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for seed in range(8):
        example = factories.example(seed=seed)
        example.images[0].save(folder / f"{seed}.png")
        lines.append(
            json.dumps({"id": example.id, "image": f"{seed}.png", "question": example.question, "answer": "red"})
        )
    (folder / "data.jsonl").write_text("\n".join(lines))
    return str(folder / "data.jsonl")


def chiasm(*arguments):
    """The exit code of a command run in this process."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def quick(model, data, out, *more):
    options = ("--no-combine", "--no-controls", "--max-new-tokens", 2, "--out", out, *more)
    return chiasm("prune", model, "--data", data, *options)


def test_a_run_ends_with_findings_and_a_pruned_model(model, data, tmp_path, capsys):
    assert quick(model, data, tmp_path / "run", "--pattern", "2:4", "--export", tmp_path / "pruned") == 0
    told = capsys.readouterr()
    assert "4 of 4 examples kept" in told.out
    assert "1. " in told.out
    assert "3. " in told.out
    assert "Pruned model: pruned" in told.out
    assert "MB on the CPU" in told.err
    assert (tmp_path / "run" / "report.html").exists()
    masks = RunDirectory.load(tmp_path / "run").table("masks")
    assert masks.filter(mask="wanda").select("sparsity", "pattern").unique().rows() == [(0.5, "2:4")]
    weight = AutoModelForImageTextToText.from_pretrained(tmp_path / "pruned").get_decoder().layers[0].mlp.up_proj.weight
    assert ((weight.reshape(-1, 4) == 0).sum(dim=1) == 2).all()


def test_a_finished_run_is_exported_elsewhere(model, data, tmp_path, capsys):
    asked = (model, data, tmp_path / "run", "--sparsity", 0.5)
    assert quick(*asked) == 0
    assert "Pruned model" not in capsys.readouterr().out
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert quick(*asked, "--resume", "--export", folder) == 0
        assert f"Pruned model: {folder.name}" in capsys.readouterr().out
        assert (folder / "config.json").exists()
    assert chiasm("report", tmp_path / "run") == 0
    assert "Pruned model: two" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ablate", 1), "--ablate 1.0: it must be < 1"),
        (("--tokens", 0), "--tokens 0: it must be >= 1"),
        (("--sparsity", 0), "sparsity 0: it leaves every weight"),
        (("--sparsity", 1), "sparsity 1: it leaves no weight"),
        (("--pattern", "2:5"), "48 inputs, which 5 does not divide"),
        (("--calibration", 1), "calibrate on 128 tokens"),
        (("--tokens", 99999), "calibrate on 99999 tokens"),
        (("--calibrate-on", "/no/such.jsonl"), "there is no such file"),
        (("--sparsity", 0.5, "--export", "pruned", "--export-mask", "majority"), "makes no `majority`: it has no comb"),
        (
            ("--sparsity", 0.5, "--export", "pruned", "--export-mask", "magnitude"),
            "makes no `magnitude`: it has no con",
        ),
    ],
)
def test_a_mistake_exits_with_2_and_no_traceback(model, data, tmp_path, capsys, options, told):
    assert quick(model, data, tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
