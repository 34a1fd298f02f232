"""What the embedded model gets right, measured through transformers' own generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from PIL.Image import Image
from transformers import AutoProcessor, CLIPModel, LlavaForConditionalGeneration

from chiasm.core.example import Example
from chiasm.data.scenes import TYPES, blank, render, scenes
from chiasm.data.scenes.world import COLORS, SHAPES, stream
from chiasm.tiny.tokens import INSTRUCTION

Shown = Literal["image", "blank", "caption"]
_BATCH: Final = 50


class Judge:
    """A model opened from a directory, ready to answer examples greedily, in float32."""

    def __init__(self, directory: Path) -> None:
        self._model = LlavaForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
        self._processor = AutoProcessor.from_pretrained(directory)

    def answers(self, examples: Sequence[Example], shown: Shown = "image") -> list[str]:
        """The generated answers, stripped. `shown` is what stands before the question."""
        found: list[str] = []
        for start in range(0, len(examples), _BATCH):
            found += self._answer(examples[start : start + _BATCH], shown)
        return found

    @torch.inference_mode()
    def _answer(self, examples: Sequence[Example], shown: Shown) -> list[str]:
        prompts, images = zip(*(self._prompt(example, shown) for example in examples), strict=True)
        inputs = self._processor(
            text=list(prompts), images=None if shown == "caption" else list(images), padding=True, return_tensors="pt"
        )
        made = self._model.generate(**inputs, max_new_tokens=4, do_sample=False)
        return [
            text.strip()
            for text in self._processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        ]

    def _prompt(self, example: Example, shown: Shown) -> tuple[str, Image | None]:
        asked = f"{example.question}\n{INSTRUCTION}"
        if shown == "caption":
            content: list[dict[str, str]] = [{"type": "text", "text": f"{example.captions[0]}\n{asked}"}]
        else:
            content = [{"type": "image"}, {"type": "text", "text": asked}]
        prompt = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return prompt, None if shown == "caption" else blank() if shown == "blank" else example.image


def right(example: Example, answer: str) -> bool:
    """Whether the answer is the example's, case aside."""
    return answer.lower() == example.answer.lower()


def accuracy(directory: Path, shown: Shown = "image", each: int = 200, seed: int = 1) -> dict[str, Any]:
    """Accuracy on held-out scenes, `each` questions of every type: in all, by type, and the majority answer's share."""
    examples = list(scenes(seed, "heldout", limit=each * len(TYPES)))
    marks = [right(e, a) for e, a in zip(examples, Judge(directory).answers(examples, shown), strict=True)]
    by_type = {}
    for kind in TYPES:
        own = [mark for mark, example in zip(marks, examples, strict=True) if example.type == kind]
        most = Counter(e.answer for e in examples if e.type == kind).most_common(1)[0][1]
        by_type[kind] = {"right": sum(own), "n": len(own), "majority": most}
    return {"right": sum(marks), "n": len(marks), "types": by_type}


@torch.inference_mode()
def zero_shot(directory: Path, n: int = 500, seed: int = 1) -> dict[str, int]:
    """How often the contrastive head names a single held-out object right among all 64 of "a red circle" and so on."""
    model = CLIPModel.from_pretrained(directory, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(directory)
    names = [(color, shape) for color in COLORS for shape in SHAPES]
    drawn = [stream(f"{seed}/{number}", "heldout", 1) for number in range(n)]
    texts = [f"a {color} {shape}" for color, shape in names]
    inputs = processor(text=texts, images=[render(scene) for scene in drawn], padding=True, return_tensors="pt")
    chosen = [names[index] for index in model(**inputs).logits_per_image.argmax(-1).tolist()]
    truth = [(scene.things[0].color, scene.things[0].shape) for scene in drawn]
    return {
        "n": n,
        "names": len(names),
        "both": sum(a == b for a, b in zip(chosen, truth, strict=True)),
        "color": sum(a[0] == b[0] for a, b in zip(chosen, truth, strict=True)),
        "shape": sum(a[1] == b[1] for a, b in zip(chosen, truth, strict=True)),
    }
