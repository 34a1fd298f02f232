"""TransformerLens: a hook on the attention scores of each cut layer, through the bridge over the same model."""

from typing import Any

import torch
from harness import Cut, Engine, StatePatch, main
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer


class Lens(Engine):
    """Scores exist only in the eager implementation, so every layer materialises them."""

    attention = "eager"

    def __init__(self, model: Any, folder: str) -> None:
        super().__init__(model, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.bridge = TransformerBridge.boot_transformers(folder, hf_model=model, tokenizer=tokenizer)

    def forward(self, inputs: dict[str, Any], cut: Cut | StatePatch | None) -> torch.Tensor:
        hooks: list[tuple[str, Any]] = []
        if isinstance(cut, StatePatch):
            hooks = [(f"blocks.{cut.layer}.hook_in", lambda hidden, hook: cut.put_into(hidden))]
        elif cut is not None:
            blocked = ~cut.mask(inputs["input_ids"].shape[1])

            def block(scores: torch.Tensor, hook: Any) -> torch.Tensor:
                return scores.masked_fill(blocked, torch.finfo(scores.dtype).min)

            hooks = [(f"blocks.{index}.attn.hook_attn_scores", block) for index in cut.layers]
        given = {name: value for name, value in inputs.items() if name != "input_ids"}
        return self.bridge.run_with_hooks(inputs["input_ids"], fwd_hooks=hooks, **given)[:, -1]


if __name__ == "__main__":
    main("transformer-lens", Lens)
