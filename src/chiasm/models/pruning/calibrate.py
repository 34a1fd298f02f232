"""Norms of the inputs of every matrix, block by block, over real tokens only.

Source: Sun et al. 2024 (Wanda), sections 3 and 4: block l is pruned by what the already pruned blocks feed it, all of
its matrices from one pass; then it is run again, pruned, for the inputs of block l + 1.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import MaskSpec
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits, layer_output, record_frame
from chiasm.models.pruning.linears import WeightMatrix, matrices
from chiasm.models.pruning.masks import keep_by, wanda_scores
from chiasm.models.view import ModelView

MIN_TOKENS: Final = 128
"""Fewer than this and a norm is known to no better than some 6 % (Gaussian inputs), more where few tokens dominate."""


@dataclass(frozen=True, eq=False)
class InputNorms:
    """`inputs`: by matrix name, the L2 norm of every input feature over `tokens` calibration tokens, in float64.

    `centred`: the same about the feature's mean, for `wanda-centred`.
    """

    inputs: Mapping[str, Float[Tensor, " I"]]
    tokens: int
    centred: Mapping[str, Float[Tensor, " I"]]


class CalibrationBatch(NamedTuple):
    """Examples on their way through the decoder, on the CPU.

    `hidden`: the inputs of layer 0. `arguments`: what each layer is given beside them. `padding`: positions of padding
    before each example.
    """

    hidden: Float[Tensor, "B T D"]
    arguments: tuple[dict[str, Any], ...]
    padding: tuple[int, ...]


def span_rows(encoded: Sequence[Encoded], span: str) -> list[Bool[Tensor, " T"]]:
    """For each example the positions that count: of `all` tokens, of `text` (all but images), or of a named span.

    `+` joins spans. Positions exclude padding, which never counts. An example that lacks the span has none.
    """
    found = []
    for one in encoded:
        marked = torch.zeros(one.length, dtype=torch.bool)
        if span in ("all", "text"):
            marked[:] = True
            for media in ("image", "video", "audio"):
                if span == "text" and media in one.spans:
                    marked[one.spans[media]] = False
        else:
            marked[one.spans[span]] = True
        found.append(marked)
    return found


def choose_tokens(rows: Sequence[Bool[Tensor, " T"]], tokens: int | None, seed: int = 0) -> list[Bool[Tensor, " T"]]:
    """`tokens` of the marked positions, drawn at random over all examples; all of them for None.

    Masks that are compared should rest on equally many tokens.

    **Errors:** `ChiasmError` if fewer are marked, or fewer than `MIN_TOKENS` remain.
    """
    there = int(sum(int(row.sum()) for row in rows))
    count = there if tokens is None else tokens
    if count < MIN_TOKENS or there < count:
        raise ChiasmError(
            f"calibrate on {max(count, MIN_TOKENS)} tokens",
            f"the calibration examples hold {there} tokens of the span"
            if there < max(count, MIN_TOKENS)
            else f"norms from fewer than {MIN_TOKENS} tokens mean little",
            f"Give more calibration examples, and at least {MIN_TOKENS} tokens",
        )
    if count == there:
        return list(rows)
    flat = torch.cat(list(rows))
    order = torch.randperm(there, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros_like(flat)
    chosen[flat.nonzero()[:, 0][order[:count]]] = True
    return list(chosen.split([len(row) for row in rows]))


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
def calibrate(
    view: ModelView,
    batches: Sequence[CalibrationBatch],
    rows: Sequence[Bool[Tensor, " T"]],
    spec: MaskSpec,
) -> InputNorms:
    """Norms for `spec` by the sequential procedure; the weights are as they were when it returns.

    `rows` (one per example, in the order of the batches) marks the positions that count; all tokens are seen by
    attention either way. Memory: the hidden states of all examples twice, on the CPU (`calibration_bytes`),
    and one layer's on the device.

    **Errors:** `ChiasmError` as in `matrices`, or if a matrix is given other rows than the layer's tokens.
    """
    chosen = matrices(view, spec.part)
    marked = _batched(batches, rows)
    states = [batch.hidden for batch in batches]
    norms: dict[str, Tensor] = {}
    centred: dict[str, Tensor] = {}
    tokens = int(sum(int(row.sum()) for row in rows))
    with view.readable_attention():
        for index, layer in enumerate(view.layers):
            here = [matrix for matrix in chosen if matrix.layer == index]
            sums, squares = _sums(view, layer, index, here, batches, states, marked)
            with ExitStack() as stack:
                for matrix in here:
                    norms[matrix.name] = squares[matrix.name].sqrt().cpu()
                    about = squares[matrix.name] - sums[matrix.name].square() / tokens
                    centred[matrix.name] = about.clamp_min(0).sqrt().cpu()
                    chosen_norms = centred if spec.method == "wanda-centred" else norms
                    scores = wanda_scores(matrix.linear.weight, chosen_norms[matrix.name])
                    kept = keep_by(spec.method, scores, spec.sparsity, spec.pattern)
                    stack.callback(matrix.linear.weight.data.copy_, matrix.linear.weight.detach().clone())
                    matrix.linear.weight.data.masked_fill_(~kept, 0)
                if index + 1 < view.n_layers:
                    states = [_run_layer(view, layer, index, b, s) for b, s in zip(batches, states, strict=True)]
    return InputNorms(norms, tokens, centred)


def _sums(
    view: ModelView,
    layer: nn.Module,
    index: int,
    here: Sequence[WeightMatrix],
    batches: Sequence[CalibrationBatch],
    states: Sequence[Tensor],
    marked: Sequence[Bool[Tensor, "B T"]],
) -> tuple[dict[str, Float[Tensor, " I"]], dict[str, Float[Tensor, " I"]]]:
    """Sums, and sums of squares, of every matrix's inputs over the marked positions, unpruned."""
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    current: list[Tensor] = []

    def add(name: str, linear: nn.Module, args: tuple[Tensor, ...]) -> None:
        flat = args[0].reshape(-1, args[0].shape[-1])
        if len(flat) != current[0].numel():
            raise ChiasmError(
                f"calibrate `{name}`",
                f"it is given {len(flat)} rows where its layer has {current[0].numel()} tokens",
                "It reads other rows (experts, attention across to an image): prune another part or a dense model",
            )
        # Masked rows are selected, not multiplied by zero: what stands at padding may be NaN.
        own = flat[current[0].reshape(-1).to(flat.device)].double()
        sums[name] = sums.get(name, 0) + own.sum(dim=0)
        squares[name] = squares.get(name, 0) + own.square().sum(dim=0)

    with ExitStack() as stack:
        for matrix in here:
            stack.enter_context(matrix.linear.register_forward_pre_hook(partial(add, matrix.name)))
        for batch, state, mark in zip(batches, states, marked, strict=True):
            current[:] = [mark]
            _run_layer(view, layer, index, batch, state)
    unseen = [matrix.name for matrix in here if matrix.name not in sums]
    if unseen:
        raise ChiasmError(f"calibrate `{unseen[0]}`", "its layer does not call it", "Prune another part")
    return sums, squares


def _batched(batches: Sequence[CalibrationBatch], rows: Sequence[Bool[Tensor, " T"]]) -> list[Bool[Tensor, "B T"]]:
    """`rows` behind each example's padding."""
    marked, start = [], 0
    for batch in batches:
        mark = torch.zeros(batch.hidden.shape[:2], dtype=torch.bool)
        for place, (padding, row) in enumerate(zip(batch.padding, rows[start:], strict=False)):
            mark[place, padding:] = row
        marked.append(mark)
        start += len(batch.padding)
    if start != len(rows):
        raise ValueError(f"{len(rows)} rows of positions for {start} examples")
    return marked


@torch.no_grad()
def _run_layer(
    view: ModelView, layer: nn.Module, index: int, batch: CalibrationBatch, state: Float[Tensor, "B T D"]
) -> Float[Tensor, "B T D"]:
    """The output of one decoder layer on a batch's states, back on the CPU."""
    device = next(layer.parameters()).device
    return layer_output(layer(state.to(device), **_moved(batch.arguments[index], device, {}))).cpu()


def _require_plain_walk(view: ModelView, inputs: dict[str, Any], batch: CalibrationBatch) -> None:
    last: list[Tensor] = []
    with view.layers[-1].register_forward_hook(lambda layer, args, output: last.append(layer_output(output).cpu())):
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    state = batch.hidden
    for index, layer in enumerate(view.layers):
        state = _run_layer(view, layer, index, batch, state)
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

    def move(leaf: Any) -> Any:
        return memo.setdefault(id(leaf), leaf.to(device)) if isinstance(leaf, Tensor) else leaf

    return tree_map(move, value)
