"""Hidden states of calibration examples, kept on the CPU between layers, and one layer run on them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.frame import keep_logits, record_frame
from chiasm.models.view import ModelView


class CalibrationBatch(NamedTuple):
    """Examples on their way through the decoder, on the CPU.

    `hidden`: the inputs of layer 0. `arguments`: what each layer is given beside them. `padding`: positions of padding
    before each example.
    """

    hidden: Float[Tensor, "B T D"]
    arguments: tuple[dict[str, Any], ...]
    padding: tuple[int, ...]


def calibration_bytes(view: ModelView, encoded: Sequence[Encoded], batch_size: int = 1) -> int:
    """Bytes on the CPU that calibrating on `encoded` holds: states before and after a layer, and padded masks."""
    item = torch.finfo(view.dtype).bits // 8
    total = 0
    for start in range(0, len(encoded), batch_size):
        lengths = [one.length for one in encoded[start : start + batch_size]]
        cells = len(lengths) * max(lengths)
        # A single example has no padding, so its causal mask is never written out.
        masks = len(lengths) * max(lengths) ** 2 if len(lengths) > 1 else 0
        total += 2 * cells * view.width * item + masks
    return total


@torch.no_grad()
def calibration_batches(view: ModelView, encoded: Sequence[Encoded], batch_size: int = 1) -> list[CalibrationBatch]:
    """The inputs of the decoder for every example; they serve any number of calibrations.

    Layers called one after the other on the first batch must give what the model's own forward gives.

    **Errors:** `ChiasmError` where they do not: the model does something between its layers.
    """
    batches = []
    with view.readable_attention():
        for start in range(0, len(encoded), batch_size):
            part = list(encoded[start : start + batch_size])
            inputs, padding = view.collate(part)
            frame = record_frame(view, inputs)
            memo: dict[int, Any] = {}
            arguments = tuple(_moved(named, torch.device("cpu"), memo) for named in frame.arguments)
            batches.append(CalibrationBatch(frame.hidden.cpu(), arguments, tuple(padding)))
            if not start:
                _require_plain_walk(view, inputs, batches[0])
    return batches


@torch.no_grad()
def run_layer(
    view: ModelView, layer: nn.Module, index: int, batch: CalibrationBatch, state: Float[Tensor, "B T D"]
) -> Float[Tensor, "B T D"]:
    """The output of one decoder layer on a batch's states, back on the CPU."""
    device = next(layer.parameters()).device
    output = layer(state.to(device), **_moved(batch.arguments[index], device, {}))
    return (output[0] if isinstance(output, tuple) else output).cpu()


def _require_plain_walk(view: ModelView, inputs: dict[str, Any], batch: CalibrationBatch) -> None:
    last: list[Tensor] = []

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        last.append((output[0] if isinstance(output, tuple) else output).cpu())

    handle = view.layers[-1].register_forward_hook(after)
    try:
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    finally:
        handle.remove()
    state = batch.hidden
    for index, layer in enumerate(view.layers):
        state = run_layer(view, layer, index, batch, state)
    pairs = [(state[k, p:].double(), last[0][k, p:].double()) for k, p in enumerate(batch.padding)]
    gap = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    # The same kernels on the same shapes: rounding is all that may differ.
    if not gap <= 64 * torch.finfo(view.dtype).eps:
        raise ChiasmError(
            f"calibrate `{view.name}` layer by layer",
            f"its layers in a row give other states than its own forward (relative difference {gap:.1e})",
            "This architecture does something between its layers; it cannot be pruned here",
        )


def _moved(value: Any, device: torch.device, memo: dict[int, Any]) -> Any:
    """`value` with its tensors on `device`; tensors that layers share stay shared."""
    if isinstance(value, Tensor):
        return memo.setdefault(id(value), value.to(device))
    if isinstance(value, dict):
        return {key: _moved(item, device, memo) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device, memo) for item in value)
    return value
