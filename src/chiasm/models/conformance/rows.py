"""Attention rows that `chiasm look` reads are those of the model's own eager attention."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance.law import BrokenLawError, NotApplicableError, Trial
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.inside.attention_rows import attention_rows
from chiasm.models.view import ModelView


@torch.no_grad()
def rows_are_eagers(trial: Trial) -> float:
    """One example, and a padded batch of two where the family takes it: every layer that attends, a few queries."""
    view, both = trial.view, trial.encoded[1:]
    batches = [trial.encoded[:1], both] if view.family.can_batch(both, view.config) else [trial.encoded[:1]]
    return trial.require_equal(max(_difference(view, batch, trial.kind) for batch in batches))


def _difference(view: ModelView, batch: Sequence[Encoded], kind: str) -> float:
    queries = [sorted({0, *(int(e.spans[span][-1]) for span in (kind, "question", "last"))}) for e in batch]
    rows: dict[tuple[int, int], Tensor] = {}
    try:
        attention_rows(view, batch, queries, lambda layer, index, weights: rows.update({(layer, index): weights}))
    except ChiasmError as error:
        raise NotApplicableError(str(error)) from error
    inputs, padding = view.collate(batch)
    with _eager(view) as whole:
        view.model(**inputs, use_cache=False)
    if {layer for layer, _ in rows} - whole.keys():
        raise NotApplicableError("its eager attention hands out no weights to compare with")
    worst = 0.0
    for (layer, index), found in rows.items():
        own = whole[layer][index, :, padding[index] :, padding[index] :][:, queries[index]]
        worst = max(worst, float((found - own).abs().max()))
        if not torch.allclose(found.sum(-1), torch.ones_like(found[..., 0])):
            raise BrokenLawError(f"rows of layer {layer} do not add up to 1")
    return worst


@contextmanager
def _eager(view: ModelView) -> Iterator[dict[int, Float[Tensor, "B H T T"]]]:
    """Within: the attention weights of every layer that hands them out, as the model runs."""
    whole: dict[int, Tensor] = {}
    before = view.attention_implementation
    hooks = []

    def keeper(number: int) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, tuple) and isinstance(output[1], Tensor):
                whole[number] = output[1]

        return keep

    for number, (layer, kind) in enumerate(zip(view.layers, view.kinds, strict=True)):
        if kind == "attention":
            hooks.append(view.attention_of(layer).register_forward_hook(keeper(number)))
    view.decoder.set_attn_implementation("eager")
    try:
        yield whole
    finally:
        view.decoder.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()
