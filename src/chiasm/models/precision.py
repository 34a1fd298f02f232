"""In which precision a model's weights are kept and its numbers are computed, as one value."""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

HALF = frozenset({torch.bfloat16, torch.float16})
_FLOATS = HALF | {torch.float32, torch.float64}


@dataclass(frozen=True, slots=True)
class Precision:
    """`weights`: the type they are kept in. `compute`: the type of all activations.

    A half-precision checkpoint is raised: its weights are raised to float32, exactly, while a part of the model is
    called, and what it computes is float32 all along. `tf32`: matrix products on a GPU round their factors to TF32,
    which was measured to be accurate enough.
    """

    weights: torch.dtype
    compute: torch.dtype
    tf32: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Raised where weights are in half precision and can be; else as the model is served.

        Quantised weights are computed with as their package does.
        """
        served = cls.served(model)
        half = _half_type(model)
        if half is None or not _can_be_raised(model):
            return served
        return cls(half, torch.float32)

    @classmethod
    def served(cls, model: Any) -> Self:
        """As transformers runs the model."""
        dtype = model.get_input_embeddings().weight.dtype
        return cls(dtype, dtype)

    @property
    def raised(self) -> bool:
        """Whether weights are raised while they are used."""
        return self.weights != self.compute

    @property
    def half(self) -> bool:
        """Whether rounding to half precision is in every result."""
        return self.compute in HALF

    def with_tf32(self) -> Self:
        """The same with TF32 matrix products."""
        return replace(self, tf32=True)

    def __str__(self) -> str:
        """For the manifest: which results may stand beside each other in one run (TF32 changes none that is shown)."""
        kept = f"weights in {dtype_name(self.weights)}, " if self.raised else ""
        return f"{kept}computed in {dtype_name(self.compute)}"


def dtype_name(dtype: torch.dtype) -> str:
    """As `--dtype` takes it."""
    return str(dtype).removeprefix("torch.")


def is_half(tensor: Tensor) -> bool:
    """Whether the tensor holds half-precision numbers."""
    return tensor.dtype in HALF


def is_rounded(value: Any) -> bool:
    """Whether an input of a model is in the type that it computes in.

    One number for a clip is a time: rounded, it would move the clip's positions.
    """
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1


def _half_type(model: nn.Module) -> torch.dtype | None:
    """The half-precision type that weights are in; matrices before vectors, which some classes keep in float32."""
    return next((p.dtype for p in model.parameters() if p.ndim > 1 and p.dtype in HALF), None)


def _can_be_raised(model: nn.Module) -> bool:
    quantised = getattr(model.config, "quantization_config", None) is not None
    return not quantised and all(parameter.dtype in _FLOATS for parameter in model.parameters())
