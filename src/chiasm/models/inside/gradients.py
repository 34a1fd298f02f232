"""What every patch of one run would do, by its gradient: one backward pass for all sites, layers and positions.

Legend: L layers, n rows, T positions, D width.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ExampleError
from chiasm.interventions import Site
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import log_probabilities
from chiasm.models.frame import change_arguments, keep_logits, layer_output
from chiasm.models.inside.rerun import frozen_model, require_gradients
from chiasm.models.masks import branch_of
from chiasm.models.view import ModelView


def linear_effects(
    view: ModelView,
    encoded: Encoded,
    token: int,
    others: Mapping[Site, Float[Tensor, "L n D"]],
    rows: Int[np.ndarray, " n"],
) -> dict[Site, Float[np.ndarray, "L n"]]:
    """(other - own) . gradient of the log-probability (nat) of `token` at the last position, by site, layer and row.

    `others`: the states that would stand at `rows` in place of the own ones: of each layer's input (residual stream),
    or of what its attention or MLP adds. The first order of what a patch of that row alone does.

    Source: Nanda 2023 (attribution patching); Syed et al. 2023 (arXiv 2310.10348). Assumption: the log-probability is
    nearly linear in the state on the way from one to the other, which is measured, not given.

    **Errors:** `ChiasmError` for models without gradients; `ExampleError` for NaN.
    """
    require_gradients(view)
    at = torch.from_numpy(np.asarray(rows)).to(view.device)
    found: dict[Site, np.ndarray] = {site: np.zeros((len(view.layers), len(rows))) for site in others}
    with ExitStack() as stack:
        stack.enter_context(frozen_model(view))
        stack.enter_context(torch.enable_grad())
        for index, layer in enumerate(view.layers):
            read = partial(_read, found, others, index, at)
            change_arguments(layer, partial(_watch, index, read, "residual" in others), stack)
            for site in others:
                if site != "residual":
                    keep = partial(_output, partial(read, site))
                    stack.callback(branch_of(view, layer, site).register_forward_hook(keep).remove)
        logits = view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False).logits[0, -1]
        log_probabilities(logits)[token].backward()
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ExampleError("the gradient holds NaN or infinite values for this example")
    return found


def _watch(index: int, read: Any, wanted: bool, hidden: Tensor, named: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The input of a layer, through which gradients pass from the first layer on."""
    if index == 0:
        # Nothing before it is asked about.
        hidden = hidden.detach().requires_grad_(True)
    if wanted:
        read("residual", hidden)
    return hidden, named


def _output(read: Any, module: nn.Module, args: Any, output: Any) -> None:
    read(layer_output(output))


def _read(
    found: dict[Site, np.ndarray],
    others: Mapping[Site, Tensor],
    index: int,
    rows: Tensor,
    site: Site,
    states: Tensor,
) -> None:
    """When the gradient of `states` comes, keep its product with how much the other states differ from them."""
    own = states.detach().reshape(-1, states.shape[-1])[rows]
    difference = others[site][index].to(own) - own

    def keep(gradient: Tensor) -> None:
        theirs = gradient.reshape(-1, gradient.shape[-1])[rows]
        found[site][index] = (theirs.double() * difference.double()).sum(-1).cpu().numpy()

    states.register_hook(keep)
