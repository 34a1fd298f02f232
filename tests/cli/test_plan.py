"""`chiasm plan`."""

import json

import pytest

import chiasm
from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError


def said(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["plan", *words])
    return stop.value.code, capsys.readouterr()


def test_a_plan_as_one_object(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown = said(capsys, "eval", "tiny", "--limit", "300", "--seconds", "1", "--hourly", "3.6", "--json")
    found = json.loads(shown.out)
    assert code == 0
    assert found["examples"] == 300
    assert found["price"] == pytest.approx(found["seconds"]["estimate"] / 1000)
    assert found["trials"][0]["first"]
    assert not list(tmp_path.iterdir())


def test_a_plan_in_words(capsys):
    code, shown = said(capsys, "eval", "tiny", "--limit", "4", "--seconds", "1")
    assert code == 0
    for word in ("time", "processor time", "memory", "disk", "measured"):
        assert word in shown.out
    assert "price" not in shown.out


@pytest.mark.parametrize(("words", "told"), [
    (("evil", "tiny"), "eval"),
    (("eval", "tiny", "--limti", "3"), "--limit"),
    (("eval", "tinny"), "tiny"),
])  # fmt: skip
def test_a_mistake_ends_with_2_and_without_a_traceback(capsys, words, told):
    code, shown = said(capsys, *words)
    assert code == 2
    assert told in shown.err + shown.out
    assert "Traceback" not in shown.err


def test_python_gives_the_same_object():
    found = chiasm.plan("eval", model="tiny", limit=300, seconds=1)
    assert found.facts()["examples"] == 300
    with pytest.raises(ChiasmError, match="there are"):
        chiasm.plan("evil", model="tiny")
    with pytest.raises(TypeError, match="limti"):
        chiasm.plan("eval", model="tiny", limti=3)
