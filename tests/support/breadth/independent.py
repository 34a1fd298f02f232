"""Cuts computed a second way, which shares no code with the engine: a mask built on the spot for each attention module.

Only the names of the layers' attention and the encoded example are taken from the package.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView


@torch.no_grad()
def cut_logprobs(
    view: ModelView, encoded: Encoded, layers: Sequence[int], queries: Sequence[int], keys: Sequence[int]
) -> Float[Tensor, " N"]:
    """Log-probabilities at the last token with `queries` blind to `keys` in `layers`; `keys` empty: nothing is cut."""
    handles = []
    attended = 0

    def block(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal attended
        attended += 1
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        length, given = hidden.shape[-2], kwargs.get("attention_mask")
        if given is None:
            open_ = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
        elif given.dtype == torch.bool:
            open_ = given.clone()
        else:
            open_ = given > torch.finfo(given.dtype).min / 2
        open_ = open_.expand(-1, 1, -1, -1).clone()
        for query in queries:
            open_[:, :, query, list(keys)] = False
        bias = torch.zeros(open_.shape, dtype=hidden.dtype).masked_fill(~open_, torch.finfo(hidden.dtype).min)
        return args, kwargs | {"attention_mask": bias}

    for number in layers if len(keys) else ():
        if view.kinds[number] == "attention":
            module = view.attention_of(view.layers[number])
            handles.append(module.register_forward_pre_hook(block, with_kwargs=True))
    try:
        with view.readable_attention():
            logits = view.model(**encoded.inputs, use_cache=False).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()
    if handles and not attended:
        raise AssertionError("no attention was called")
    return logits.double().log_softmax(-1)
