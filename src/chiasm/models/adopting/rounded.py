"""Whether what breaks a law by little is rounding: in float64 nothing is left of that."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch

from chiasm.models.conformance import Law, check
from chiasm.models.conformance.suite import CAPABILITIES, WALK
from chiasm.models.executors.rounding import TOLERANCE
from chiasm.models.precision import Precision
from chiasm.models.view import ModelView

_LITTLE: Final = 100.0
"""Times what is allowed: what is off by more is not looked at again."""


def unrounded(view: ModelView, laws: Sequence[Law]) -> list[Law]:
    """`laws` of a float32 model, with those that were broken by little as they are in float64.

    A law that cannot be tried there, for want of memory or of a kernel, stays as it was.
    """
    most = _LITTLE * TOLERANCE[torch.float32]
    doubtful = [law.name for law in laws if law.ok is False and law.value is not None and law.value <= most]
    if not doubtful or not _is_float32(view):
        return list(laws)
    try:
        with _in_float64(view.model):
            exact = ModelView(view.model, view.processor, view.name, family=view.family)
            # Whether there is a walk decides how the others are tried.
            again = {law.name: law for law in check(exact, names={*CAPABILITIES[WALK], *doubtful})}
    except (torch.OutOfMemoryError, RuntimeError):
        return list(laws)
    held = {name for name in doubtful if name in again and again[name].ok}
    return [again[law.name] if law.name in held else law for law in laws]


def _is_float32(view: ModelView) -> bool:
    tensors = [*view.model.parameters(), *view.model.buffers()]
    floating = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return floating == {torch.float32} and view.precision == Precision.of(view.model)


@contextmanager
def _in_float64(model: Any) -> Iterator[None]:
    """Within: `model` in float64. Its float32 weights come back as they were, to the last bit."""
    # Versions of transformers before 5.23 know one setting for all parts.
    whole = getattr(model, "get_experts_implementation", None)
    experts = model.config._experts_implementation if whole is None else whole()
    try:
        model.double()
        model.set_experts_implementation("eager")  # other kernels know no float64
        yield
    finally:
        model.float()
        model.set_experts_implementation(experts)
