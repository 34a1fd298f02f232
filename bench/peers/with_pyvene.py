"""pyvene: interventions see outputs of modules, and attention masks are not among them, so each attention module gets
an identity through which its mask passes.
"""

from typing import Any

import pyvene
import torch
from harness import Cut, Engine, main
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


class Anchor(torch.nn.Identity):
    """Where pyvene takes hold of a layer's additive mask."""


def anchored(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
    """sdpa; in layers with an intervention the mask goes through the layer's anchor."""
    anchor = dict(module.named_children()).get("mask_anchor")
    if anchor is not None and anchor._forward_hooks:
        length = query.shape[-2]
        causal = torch.zeros(1, 1, length, length, dtype=query.dtype)
        blocked = torch.ones(length, length, dtype=torch.bool).triu(1)
        attention_mask = anchor(causal.masked_fill_(blocked, torch.finfo(query.dtype).min))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register("anchored", anchored)
AttentionMaskInterface.register("anchored", sdpa_mask)


class Pyvene(Engine):
    """The configuration is fixed when the wrapper is made, so every window makes its own."""

    attention = "anchored"

    def __init__(self, model: Any, folder: str) -> None:
        super().__init__(model, folder)
        for layer in self.layers:
            layer.self_attn.mask_anchor = Anchor()

    def forward(self, inputs: dict[str, Any], cut: Cut | None) -> torch.Tensor:
        # pyvene removes all forward hooks of a model, also those by which transformers collects hidden states: let
        # transformers install them anew.
        for module in self.model.modules():
            if getattr(module, "_output_capturing_hooks_installed", False):
                module._output_capturing_hooks_installed = False
        given = {**inputs, "use_cache": False, "logits_to_keep": 1}
        if cut is None:
            return self.model(**given).logits[:, -1]
        blocked = ~cut.mask(inputs["input_ids"].shape[1])

        def block(base: torch.Tensor, source: Any) -> torch.Tensor:
            return base.masked_fill(blocked, torch.finfo(base.dtype).min)

        wrapped = pyvene.IntervenableModel(
            [
                {
                    "component": f"model.language_model.layers[{index}].self_attn.mask_anchor.output",
                    "intervention": block,
                }
                for index in cut.layers
            ],
            model=self.model,
        )
        return wrapped(base=given)[1].logits[:, -1]


if __name__ == "__main__":
    main("pyvene", Pyvene)
