"""A slip of the pen is answered with the nearest name there is, in a sentence, before a model is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from chiasm.cli.main import main
from chiasm.core.errors import ChiasmError
from chiasm.core.spans import require_known

SLIPS = {
    ("flwo",): 'Did you mean "flow"?',
    ("flow", "tiny", "--windw", "3"): "Did you mean --window?",
    ("flow", "tiny", "--keep", "corect"): 'Did you mean "correct"?',
    ("flow", "tiny", "--cut", "imag->question"): "there is no span `imag`. Did you mean image?",
    ("flow", "tiny", "--cut", "image->question+sufix"): "there is no span `sufix`. Did you mean suffix?",
    ("flow", "tiny", "--cut", "zero:mlp@quesion"): "there is no span `quesion`. Did you mean question?",
    ("flow", "tiny", "--cut", "image->lst@heads=all"): "there is no span `lst`. Did you mean last?",
    ("flow", "tiny", "--cut", "image->last@heads=some"): "`some` is neither `all`, `groups` nor numbers of heads.",
    ("align", "tiny", "--span", "image", "--span", "qestion"): "Did you mean question?",
    ("compare", "tiny", "tiny-random", "--span", "imge"): "Did you mean image?",
    ("paper", "--span", "imge"): "Did you mean image?",
    ("look", "tiny", "--query", "lst"): "Did you mean last?",
    ("skip", "tiny", "--span", "imge"): 'Did you mean "image"?',
    ("project", "tiny", "--setting", "ft-prj"): 'Did you mean "ft-proj"?',
    ("align", "tiny", "--spann", "image"): "Did you mean --span?",
    ("flow", "tiny", "--spann", "image"): "`chiasm skip` have --span. For what can be given here",
    ("diff", "nowhere", "elsewhere"): "there is no manifest.json",
    ("diff",): "none was named",
    ("check", "tinny"): "Did you mean tiny?",
    ("flow", "tiny", "--baseline", "tiny-randm"): "Did you mean tiny-random?",
    ("eval", "tinny"): "Did you mean tiny?",
    ("eval", "tiny", "--data", "scens"): "Did you mean scenes?",
    ("eval", "tiny", "--data", "COLUMNS"): "it has the unknown field `qestion`. Did you mean `question`?",
}


@pytest.mark.parametrize("words", SLIPS, ids=" ".join)
def test_the_nearest_name_is_offered(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "columns.jsonl").write_text('{"id": "a", "qestion": "What is it?"}\n')
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path / "columns.jsonl") if word == "COLUMNS" else word for word in words])
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert left.value.code == 2
    assert SLIPS[words] in error
    assert "Traceback" not in error
    assert error.startswith(("chiasm: ", "╭─ Error")), "something stands before the error"


def test_a_head_that_the_model_does_not_have(tmp_path, capsys, monkeypatch):
    """How many there are is known once the model is loaded."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["flow", "tiny", "--limit", "2", "--cut", "image->last@heads=4"])
    error = " ".join(capsys.readouterr().err.split())
    assert left.value.code == 2
    assert "--cut image->last@heads=4: each layer of this model has heads 0 to 3, and no head 4. Name heads" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("span", ["image", "image[0]+image[12]", "video.frame[3]", "question.option.true", "answer"])
def test_spans_of_some_examples_are_let_through(span):
    require_known("a cut", span)


@pytest.mark.parametrize("span", ["", "image[x]", "image+", "video.frame", "Image"])
def test_what_no_example_can_have_is_refused(span):
    with pytest.raises(ChiasmError, match="there is no span"):
        require_known("a cut", span)


@pytest.mark.parametrize("words", [("--data", ""), ("--data", " "), ("--out", ""), ("--out=",)])
def test_an_empty_name_is_not_the_current_folder(words, capsys):
    """As a variable that is not set gives it."""
    with pytest.raises(SystemExit) as ended:
        main(["eval", "tiny", "--limit", "2", *words])
    assert ended.value.code == 2
    assert "it is empty" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_terminal_is_not_answered_with_an_option_that_the_command_lacks(tmp_path):
    command = [sys.executable, "-c", "from chiasm.cli.main import main; main()", "models"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device. Give the command again where there is room" in done.stderr
    assert "--resume" not in done.stderr
