"""Plain PyTorch hooks on transformers: what a careful user writes by hand, and the yardstick of the other peers."""

from typing import Any

import torch
from harness import Cut, Engine, StatePatch, main


class Hooks(Engine):
    """A forward pre-hook per cut layer that replaces the attention mask; one that replaces a layer's input."""

    def forward(self, inputs: dict[str, Any], cut: Cut | StatePatch | None) -> torch.Tensor:
        handles = []
        if isinstance(cut, StatePatch):

            def patch(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
                return (cut.put_into(args[0]), *args[1:]), kwargs

            handles = [self.layers[cut.layer].register_forward_pre_hook(patch, with_kwargs=True)]
        elif cut is not None:
            mask = cut.mask(inputs["input_ids"].shape[1])

            def replace(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
                return args, {**kwargs, "attention_mask": mask}

            handles = [
                self.layers[index].self_attn.register_forward_pre_hook(replace, with_kwargs=True)
                for index in cut.layers
            ]
        try:
            return self.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        finally:
            for handle in handles:
                handle.remove()


if __name__ == "__main__":
    main("transformers", Hooks)
