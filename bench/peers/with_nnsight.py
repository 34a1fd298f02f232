"""nnsight: the mask argument of each cut layer's attention module is replaced inside a trace."""

from typing import Any

import torch
from harness import Cut, Engine, StatePatch, main
from nnsight import NNsight


class Nnsight(Engine):
    """Interventions must be written in the order in which the layers run."""

    def __init__(self, model: Any, folder: str) -> None:
        super().__init__(model, folder)
        self.traced = NNsight(model)

    def forward(self, inputs: dict[str, Any], cut: Cut | StatePatch | None) -> torch.Tensor:
        traced = self.traced
        if isinstance(cut, StatePatch):
            layer, rows, states = traced.model.language_model.layers[cut.layer], cut.rows, cut.states[cut.rows]
            with traced.trace(**inputs, use_cache=False, logits_to_keep=1):
                layer.input[:, rows] = states
                logits = traced.lm_head.output[:, -1].save()
            return logits  # noqa: RET504 (a return inside the trace would be traced)
        indices = [] if cut is None else sorted(cut.layers)
        mask = None if cut is None else cut.mask(inputs["input_ids"].shape[1])
        with traced.trace(**inputs, use_cache=False, logits_to_keep=1):
            for index in indices:
                attention = traced.model.language_model.layers[index].self_attn
                args, kwargs = attention.inputs
                attention.inputs = (args, {**kwargs, "attention_mask": mask})
            logits = traced.lm_head.output[:, -1].save()
        return logits  # noqa: RET504 (a return inside the trace would be traced)


if __name__ == "__main__":
    main("nnsight", Nnsight)
