"""What a type checker says of code that uses the Python interface."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAD = "import chiasm\n\nrun = chiasm."


def diagnostics(folder: Path, call: str) -> list[tuple[str, str]]:
    """The rule and the message of all that pyright reports of `call`."""
    (folder / "snippet.py").write_text(f"{HEAD}{call}\nreveal_type(run)\n")
    settings = {"include": ["snippet.py"], "extraPaths": [str(REPOSITORY / "src")], "typeCheckingMode": "basic"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return [(one.get("rule", ""), one["message"]) for one in json.loads(done.stdout)["generalDiagnostics"]]


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ('flow("tiny", window=3, cuts=["image->last"])', "Run"),
        ('compare(["tiny", "tiny-random"], "scenes", tasks=["caption"])', "Run"),
        ('attribute("tiny", "scenes", methods=["kernel-shap"], limit=3)', "Inside"),
        ('recover("tiny", "plan.json", steps=3)', "Recovery"),
        ('check("tiny", device="cpu")', "list[Law]"),
    ],
)
def test_a_call_is_accepted_and_what_it_gives_is_known(tmp_path: Path, call: str, given: str) -> None:
    assert diagnostics(tmp_path, call) == [("", f'Type of "run" is "{given}"')]


def test_an_option_that_there_is_none_of_is_rejected(tmp_path: Path) -> None:
    assert ("reportCallIssue", 'No parameter named "windw"') in diagnostics(tmp_path, 'flow("tiny", windw=3)')
