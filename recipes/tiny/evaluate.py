"""What the embedded models get right, measured through transformers' own generation."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoProcessor,
    CLIPModel,
    LlavaForConditionalGeneration,
    LlavaNextVideoForConditionalGeneration,
    Qwen2AudioForConditionalGeneration,
)

from chiasm.core.example import Example
from chiasm.data.scenes import AUDIO_TYPES, TYPES, VIDEO_TYPES, blank, render, scenes, scenes_audio, scenes_video
from chiasm.data.scenes.draw import BLANK
from chiasm.data.scenes.melodies import RATE
from chiasm.data.scenes.world import COLORS, SHAPES, stream
from chiasm.interventions.projectors import spec_of
from chiasm.models.projectors.swap import swapped_class
from chiasm.tiny.tokens import INSTRUCTION

Shown = Literal["media", "blank", "caption"]
_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class World:
    """A stream of examples, its types of questions, and how its media are given to a processor."""

    types: tuple[str, ...]
    stream: Callable[..., Iterator[Example]]
    part: str
    argument: str
    media: Callable[[Example], Any]
    blank: Callable[[Example], Any]


WORLDS: Final = {
    "scenes": World(TYPES, scenes, "image", "images", lambda e: e.image, lambda e: blank()),
    "scenes-video": World(
        VIDEO_TYPES,
        scenes_video,
        "video",
        "videos",
        lambda e: e.videos[0].frames,
        lambda e: np.full_like(e.videos[0].frames, BLANK[0]),
    ),
    "scenes-audio": World(
        AUDIO_TYPES,
        scenes_audio,
        "audio",
        "audio",
        lambda e: e.audios[0].samples,
        lambda e: np.zeros_like(e.audios[0].samples),
    ),
}
_CLASSES: Final[dict[str, tuple[Any, str]]] = {
    "llava": (LlavaForConditionalGeneration, "scenes"),
    "llava_next_video": (LlavaNextVideoForConditionalGeneration, "scenes-video"),
    "qwen2_audio": (Qwen2AudioForConditionalGeneration, "scenes-audio"),
}


def world_of(directory: Path) -> str:
    """The world that the model in a directory is made for."""
    return _CLASSES[json.loads((directory / "config.json").read_text())["model_type"]][1]


class Judge:
    """A model opened from a directory, ready to answer examples of a world greedily, in float32."""

    def __init__(self, directory: Path, world: str | None = None) -> None:
        config = AutoConfig.from_pretrained(directory)
        kind = config.model_type
        opened = _CLASSES[kind][0] if spec_of(config) is None else swapped_class(type(config))
        self._model = opened.from_pretrained(directory, dtype=torch.float32).eval()
        self._processor = AutoProcessor.from_pretrained(directory)
        self._world = WORLDS[world or _CLASSES[kind][1]]

    def answers(self, examples: Sequence[Example], shown: Shown = "media") -> list[str]:
        """The generated answers, stripped. `shown` is what stands before the question."""
        found: list[str] = []
        for start in range(0, len(examples), _BATCH):
            found += self._answer(examples[start : start + _BATCH], shown)
        return found

    @torch.inference_mode()
    def _answer(self, examples: Sequence[Example], shown: Shown) -> list[str]:
        given: dict[str, Any] = {"text": [self._prompt(example, shown) for example in examples]}
        if shown != "caption":
            source = self._world.media if shown == "media" else self._world.blank
            given[self._world.argument] = [source(example) for example in examples]
            if self._world.part == "audio":
                given["sampling_rate"] = RATE
        inputs = self._processor(**given, padding=True, return_tensors="pt")
        made = self._model.generate(**inputs, max_new_tokens=4, do_sample=False)
        answered = made[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self._processor.batch_decode(answered, skip_special_tokens=True)]

    def _prompt(self, example: Example, shown: Shown) -> str:
        asked = f"{example.question}\n{INSTRUCTION}"
        if shown == "caption":
            content: list[dict[str, str]] = [{"type": "text", "text": f"{example.captions[0]}\n{asked}"}]
        else:
            content = [{"type": self._world.part}, {"type": "text", "text": asked}]
        return self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def right(example: Example, answer: str) -> bool:
    """Whether the answer is the example's, case aside."""
    return answer.lower() == example.answer.lower()


def accuracy(
    directory: Path, shown: Shown = "media", each: int = 200, seed: int = 1, world: str | None = None
) -> dict[str, Any]:
    """Accuracy on held-out examples of the model's own world, `each` questions of every type.

    In all, by type, and the majority answer's share. `world` is another one, of which captions can be asked about.
    """
    place = WORLDS[world or world_of(directory)]
    examples = list(place.stream(seed, "heldout", limit=each * len(place.types)))
    answers = Judge(directory, world).answers(examples, shown)
    marks = [right(e, a) for e, a in zip(examples, answers, strict=True)]
    by_type = {}
    for kind in place.types:
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
