"""What probes are shown: one vector per picture and part, standardised by the training part."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class Cloud(NamedTuple):
    """One representation of a domain's pictures, part by part (n x D each). A validation part may be empty."""

    train: Float[np.ndarray, "n D"]
    validation: Float[np.ndarray, "v D"]
    test: Float[np.ndarray, "m D"]

    @property
    def width(self) -> int:
        return self.train.shape[1]


class Labels(NamedTuple):
    """The class of each picture as a number below `classes`, part by part."""

    train: Int[Tensor, " n"]
    validation: Int[Tensor, " v"]
    test: Int[Tensor, " m"]
    classes: int


class Task(NamedTuple):
    """One probe to train: on which cloud, from which seed, on labels in their own order or (a control) shuffled."""

    cloud: int
    seed: int
    shuffled: bool = False


class Fitted(NamedTuple):
    """Log-probabilities of the test pictures, and the epochs behind the state of the probe that counts."""

    logprobs: Float[np.ndarray, "m C"]
    epochs: int


def standardised(cloud: Cloud, dtype: type[np.floating] = np.float32) -> Cloud:
    """Every dimension with mean 0 and deviation 1 over the training part; a dimension that does not vary becomes 0."""
    mean, spread = cloud.train.mean(axis=0, dtype=np.float64), cloud.train.std(axis=0, dtype=np.float64)
    # What varies by rounding alone is constant.
    varies = spread > 1e-6 * np.maximum(np.abs(mean), 1e-12)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    return Cloud(*(((part - mean) * scale).astype(dtype) if len(part) else part for part in cloud))


def judged_by(cloud: Cloud) -> Float[np.ndarray, "v D"]:
    """The part whose loss stops a probe: validation, or training where there is none."""
    return cloud.validation if len(cloud.validation) else cloud.train


def numpy_type(dtype: torch.dtype) -> type[np.floating]:
    """float64 for float64, else float32."""
    return np.float64 if dtype == torch.float64 else np.float32
