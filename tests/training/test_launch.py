"""Two processes share a batch, started by accelerate's launcher as a larger model would be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chiasm.training.loop import TRAINED

_ROOT = Path(__file__).parents[2]
_ASKED = ("tiny", "--domain", "surfaces", "--setting", "ft-proj", "--limit", "12", "--batch", "4")


@pytest.mark.heavy
def test_two_processes_train_what_one_does(tmp_path):
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    single = ("--mixed_precision", "no", "--dynamo_backend", "no")
    _run(("-m", "recipes.tune", *_ASKED, "--out", str(tmp_path / "one")))
    _run((*launch, *single, "-m", "recipes.tune", *_ASKED, "--out", str(tmp_path / "two")))
    one, two = (load_file(tmp_path / name / TRAINED) for name in ("one", "two"))
    assert len(one) == 4
    _all_close(one, two)


@pytest.mark.heavy
def test_two_processes_that_share_the_weights_train_what_one_does(tmp_path):
    """The configuration for 7B, on CPUs: each process holds half of every parameter, and a broken run goes on."""
    asked = ("tiny", "--domain", "surfaces", "--setting", "ft-e2e", "--limit", "12", "--batch", "4", "--epochs", "2")
    launch = ("-m", "accelerate.commands.launch", "--config_file", "recipes/project/fsdp.yaml")
    single = ("--mixed_precision", "no", "--dynamo_backend", "no", "-m", "tests.support.sharded_on_cpu")
    _run(("-m", "recipes.tune", *asked, "--out", str(tmp_path / "one")))
    sharded = (*launch, *single, *asked, "--save-every", "3", "--out", str(tmp_path / "two"))
    said = _run(sharded, ACCELERATE_USE_CPU="true")
    assert said.count("holds 0.50 of the parameters") == 2
    one = load_file(tmp_path / "one" / TRAINED)
    _all_close(one, load_file(tmp_path / "two" / TRAINED))
    (tmp_path / "two" / TRAINED).unlink()
    shutil.rmtree(tmp_path / "two" / "checkpoint-6")
    said = _run((*sharded, "--resume"), ACCELERATE_USE_CPU="true")
    assert "6 steps" in said
    assert "holds" not in said  # the first step was not repeated
    _all_close(one, load_file(tmp_path / "two" / TRAINED))


def _all_close(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=1e-3)


def _run(arguments: tuple[str, ...], **more: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"} | more
    done = subprocess.run([sys.executable, *arguments], cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
