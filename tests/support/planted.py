"""A decoder with planted routes: what may flow where, layer by layer, is known by construction."""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from chiasm.core.positions import Spans


class PlantedLlama(LlamaModel):
    """Image reaches the question only in layer `enter`, the question reaches the last row only in layer `leave`.

    All other rows read themselves and the prefix. Give it its routes with `plant` before the first call.
    """

    def plant(self, spans: Spans, enter: int, leave: int) -> None:
        self._routes = (spans, enter, leave)

    def leave_one_head(self, head: int, strength: float = 1.0) -> None:
        """Let head `head` alone carry the image to the question: all others give nothing there.

        Other layers but that in which the question is read give nothing either, so that no other head matters.
        `strength`: times what it gives, and what the last row reads of the question.
        """
        _, enter, leave = self._routes
        width = self.config.hidden_size // self.config.num_attention_heads
        with torch.no_grad():
            for index, layer in enumerate(self.layers):
                weight = layer.self_attn.o_proj.weight
                kept = weight[:, head * width : (head + 1) * width].clone()
                weight.mul_(strength if index == leave else 0)
                if index == enter:
                    weight[:, head * width : (head + 1) * width] = strength * kept

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        assert inputs_embeds is not None
        hidden = inputs_embeds
        position_ids = torch.arange(hidden.shape[1], device=hidden.device)[None]
        angles = self.rotary_emb(hidden, position_ids=position_ids)
        for index, layer in enumerate(self.layers):
            hidden = layer(
                hidden,
                attention_mask=self._mask(index, hidden.shape[1]),
                position_embeddings=angles,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden))

    def _mask(self, layer: int, length: int) -> Tensor:
        spans, enter, leave = self._routes
        allowed = torch.eye(length, dtype=torch.bool)
        allowed[:, spans["prefix"]] = True
        question, last = torch.from_numpy(spans["question"]), torch.from_numpy(spans["last"])
        if layer == enter:
            allowed[question[:, None], torch.from_numpy(spans["image"])[None]] = True
        if layer == leave:
            allowed[last[:, None], question[None]] = True
        return (allowed & torch.ones(length, length, dtype=torch.bool).tril())[None, None]
