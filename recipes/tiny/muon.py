"""Muon, batched over matrices of one shape: the optimiser that makes binding appear in minutes on two cores.

Momentum, orthogonalised by five Newton-Schulz steps (Jordan et al., 2024). torch has `torch.optim.Muon`; this one
does all matrices of a shape in one batched product, which on small models and few cores is several times faster.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices to `stack` (N, rows, columns), up to the iteration's known looseness."""
    a, b, c = _COEFFICIENTS
    tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices. `lr` is the spectral norm of an update; Nesterov momentum; no weight decay."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                self._step(parameters, group["lr"], group["momentum"])

    def _step(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        moved = []
        for parameter in parameters:
            held = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            held.mul_(momentum).add_(parameter.grad)
            moved.append(parameter.grad + momentum * held)
        rows, columns = parameters[0].shape
        updates = orthogonal(torch.stack(moved)) * (-lr * max(1.0, rows / columns) ** 0.5)
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.add_(update)
