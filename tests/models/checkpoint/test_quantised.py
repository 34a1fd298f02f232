"""Quantised checkpoints name the package or the device that is missing, before any weight is read."""

import re

import pytest
import torch
from tests.support.checkpoints import change_json

from chiasm.core.errors import ChiasmError
from chiasm.models.loading import load

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a GPU")
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int"}}},
}


def refusal(folder, settings):
    change_json(folder / "config.json", lambda held: held.update(quantization_config=settings))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ChiasmError) as caught:
        load(folder)
    assert "its weights are quantised" in str(caught.value)
    return str(caught.value)


@NO_GPU
@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptqmodel|GPU"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "gptqmodel|GPU"),
        (COMPRESSED, "compressed-tensors"),
    ],
)
def test_what_is_missing_is_named(copied, settings, missing):
    said = refusal(copied, settings)
    assert re.search(missing, said), said
    assert "or name the checkpoint that is not quantised" in said


@pytest.mark.parametrize("settings", [{"quant_method": "of my own"}, {"bits": 4}, {}])
def test_a_method_that_nobody_knows(copied, settings):
    assert "which transformers does not know" in refusal(copied, settings)
