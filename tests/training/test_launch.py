"""Two processes share a batch, started by accelerate's launcher as a larger model would be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chiasm.training import TRAINED

_ROOT = Path(__file__).parents[2]
_ASKED = ("tiny", "--domain", "surfaces", "--setting", "ft-proj", "--limit", "12", "--batch", "4")


@pytest.mark.heavy
def test_two_processes_train_what_one_does(tmp_path):
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    single = ("--mixed_precision", "no", "--dynamo_backend", "no")
    _run(("-m", "recipes.tune", *_ASKED, "--out", str(tmp_path / "one")))
    _run((*launch, *single, "-m", "recipes.tune", *_ASKED, "--out", str(tmp_path / "two")))
    one, two = (load_file(tmp_path / name / TRAINED) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert len(one) == 4
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=1e-3)


def _run(arguments: tuple[str, ...]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run([sys.executable, *arguments], cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
