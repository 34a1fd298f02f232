"""What was found of a model, kept with its view as long as the model's weights are what they were."""

from typing import Any, final

import torch
from torch import Tensor, nn

from chiasm.models.weights import kept_weight

_SAMPLES = 64


@final
class Remembered:
    """Answers by question; all are forgotten once a weight has changed. Copies of a view share one."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._signature: tuple[Any, ...] = ()
        self._answers: dict[Any, Any] = {}

    def refresh(self) -> None:
        """Forget everything if a weight is not what it was. Takes milliseconds, so it is asked for once per run."""
        signature = weights_signature(self._model)
        if signature != self._signature:
            self._signature = signature
            self._answers.clear()

    def get(self, question: Any) -> Any:
        """The answer, or None."""
        return self._answers.get(question)

    def put(self, question: Any, answer: Any) -> None:
        """Keep `answer`, which is about the model as it is now, until a weight changes.

        transformers hooks into its own modules at the first forward: answers are of the model after that.
        """
        self.refresh()
        self._answers[question] = answer


@torch.no_grad()
def weights_signature(model: nn.Module) -> tuple[Any, ...]:
    """Changes where a module is another or has another hook, whenever torch knows that a parameter was written to, and
    nearly always when that was behind torch's back.

    torch counts writes to a tensor, except those through `.data`: for them, and for tensors put in another's place,
    some 64 numbers of each are added up. Whether weights are raised or read from disk at the moment makes no
    difference.
    """
    tensors = [kept_weight(parameter) for parameter in model.parameters()]
    tensors = [tensor for tensor in tensors if not tensor.is_meta]
    versions = tuple(0 if tensor.is_inference() else tensor._version for tensor in tensors)
    sums: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        sums.setdefault(tensor.device, []).append(_sampled(tensor))
    numbers = tuple(value for of_device in sums.values() for value in torch.stack(of_device).tolist())
    return (*(_hooked(module) for module in model.modules()), *versions, *numbers)


def _hooked(module: nn.Module) -> tuple[type, int, int]:
    return type(module), len(module._forward_pre_hooks), len(module._forward_hooks)


def _sampled(tensor: Tensor) -> Tensor:
    # Of a class of a package's own (quantised, sharded) not every operation is there: their writes count alone.
    if type(tensor.data) is not Tensor:
        return torch.zeros((), dtype=torch.float64, device=tensor.device)
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, len(flat) // _SAMPLES)].double().sum()
