"""What computes nothing never loads torch: a report redrawn, help, a typing error."""

import json
import subprocess
import sys

import pytest
from tests.support import factories

import chiasm

# Several commands one after another, in one process: what one of them loads stays loaded.
PROBE = """
import json, sys
from chiasm.cli.main import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as left:
        code = left.code
    print("\\nLOADED", "torch" in sys.modules, "transformers" in sys.modules, code or 0)
"""


def probed(*commands, before=""):
    """After each of the commands: whether torch and transformers are loaded, and the exit code."""
    done = subprocess.run(
        [sys.executable, "-c", before + PROBE, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert len(told) == len(commands), done.stderr
    return told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    view = chiasm.load(model=factories.build("llava")[0], processor=factories.build("llava")[1])
    chosen = [factories.example(seed=seed) for seed in range(3)]
    return chiasm.flow(
        view, chosen, window=1, keep="all", patches=1, out=tmp_path_factory.mktemp("no_torch") / "run"
    ).path


COMMANDS = (
    (["report", "RUN"], 0),
    (["flow", "--help"], 0),
    (["flow", "tiny", "--windw", "3"], 2),
    (["flow", "tiny", "--window", "0"], 2),
    (["flow", "tiny", "--cut", "imag->question"], 2),
    (["align", "tiny", "--span", "imaeg"], 2),
    (["look", "tiny", "--query", "lst"], 2),
    (["patch", "tiny", "--span", "lst"], 2),
    (["patch", "--help"], 0),
    (["report", "RUN", "--json"], 0),
    (["chart", "RUN"], 0),
    (["completion", "bash"], 0),
    (["check", "--help"], 0),
    (["check", "tiny", "--dtype", "float3"], 2),
    (["nothing"], 2),
)


def test_torch_is_not_loaded(run):
    commands = [[str(run) if word == "RUN" else word for word in words] for words, _ in COMMANDS]
    told = dict(zip(map(" ".join, commands), probed(*commands), strict=True))
    assert told == {
        " ".join(words): f"LOADED False False {code}" for words, (_, code) in zip(commands, COMMANDS, strict=True)
    }


def test_the_probe_can_fail():
    assert probed(["flow", "--help"], before="import torch\n") == ["LOADED True False 0"]
