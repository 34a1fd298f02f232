"""`chiasm skip` as a user meets it."""

import json

import pytest
from tests.support import factories

from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError
from chiasm.models.skipping.plans import read_plan
from chiasm.studies.skip.spec import share


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(factories.save("qwen2_vl", tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for seed in range(6):
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


@pytest.mark.heavy
def test_a_run_ends_with_findings_and_a_plan(model, data, tmp_path, capsys):
    options = ("--calibration", 2, "--repeats", 1, "--no-controls", "--max-new-tokens", 2, "--max-loss", "100%")
    out = tmp_path / "run"
    assert chiasm("skip", model, "--data", data, "--out", out, *options) == 2
    assert "--max-loss 1" in capsys.readouterr().err
    assert chiasm("skip", model, "--data", data, "--out", out, *options[:-1], "5 %") == 0
    printed = capsys.readouterr()
    assert "\nPrice: 2 examples x 12 variants" in printed.err
    assert "6 of 6 examples kept" in printed.out
    assert "3. " in printed.out
    assert f"Plan: {out / 'plan.json'}" in printed.out
    assert read_plan(out).model.model_type == "qwen2_vl"
    assert (out / "report.html").exists()
    assert chiasm("skip", model, "--data", data, "--out", out, *options[:-1], "5 %", "--fresh", "--no-peers") == 0
    assert not list((out / "plans").glob("fast-v*"))


def test_shares_are_read():
    assert [share(text) for text in ("1%", "0.01", " 2.5 % ", ".5")] == [0.01, 0.01, 0.025, 0.5]
    with pytest.raises(ChiasmError, match="it is no share"):
        share("much")
