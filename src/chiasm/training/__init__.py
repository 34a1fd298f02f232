"""Fine-tuning: which parameters train, on which text, at which rate; the loop is transformers' Trainer."""

from chiasm.training.batches import collator, encode_training
from chiasm.training.features import Features, frozen_tower, tower_features
from chiasm.training.loop import TRAINED, tune
from chiasm.training.options import Options, Tuned
from chiasm.training.parts import Original, trainable
from chiasm.training.settings import SETTINGS, Setting, setting_of

__all__ = [
    "SETTINGS",
    "TRAINED",
    "Features",
    "Options",
    "Original",
    "Setting",
    "Tuned",
    "collator",
    "encode_training",
    "frozen_tower",
    "setting_of",
    "tower_features",
    "trainable",
    "tune",
]
