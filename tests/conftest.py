"""Tests never reach a network, and torchvision's CPU wheel imports."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two workers on two cores: one thread each, or they fight. Commands that tests start get it too: sums over another
# number of threads differ in their last bits, and a resumed run is compared bit by bit.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from hypothesis import HealthCheck, settings
from tests.support import torchvision_shim

torchvision_shim.install_lazily()
torch.set_num_threads(1)
settings.register_profile(
    "chiasm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("chiasm")
