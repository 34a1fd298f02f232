"""Tests never reach a network, and torchvision's CPU wheel imports."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from hypothesis import HealthCheck, settings
from tests.support import torchvision_shim

torchvision_shim.install_lazily()
# Two workers on two cores: one thread each, or they fight.
torch.set_num_threads(1)
settings.register_profile(
    "chiasm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("chiasm")
