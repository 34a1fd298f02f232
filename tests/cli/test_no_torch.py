"""What computes nothing never loads torch: a report redrawn, help, a typing error."""

import subprocess
import sys

import pytest
from tests.support import factories

import chiasm

PROBE = """
import sys
from chiasm.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    code = left.code
print("torch" in sys.modules, "transformers" in sys.modules, code or 0)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    view = chiasm.load(model=factories.build("llava")[0], processor=factories.build("llava")[1])
    chosen = [factories.example(seed=seed) for seed in range(3)]
    return chiasm.flow(
        view, chosen, window=1, keep="all", patches=1, out=tmp_path_factory.mktemp("no_torch") / "run"
    ).path


@pytest.mark.parametrize(
    ("words", "code"),
    [
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
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_torch_is_not_loaded(words, code, run):
    arguments = [str(run) if word == "RUN" else word for word in words]
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"False False {code}", done.stderr


def test_the_probe_can_fail():
    done = subprocess.run(
        [sys.executable, "-c", "import torch\n" + PROBE, "flow", "--help"], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "True False 0"
