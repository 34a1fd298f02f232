"""From an example to what the model's forward accepts, with the spans of its tokens."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.core.spans import Spans
from chiasm.data import check_boxes
from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.models.families.base import Family, Placed
from chiasm.models.prompts import DEFAULT_INSTRUCTION, Prompt, continuation, render
from chiasm.models.spans import image_parts, overlapping, partition, question_parts, within

MAX_ASPECT = 200
"""Longest side over shortest. Qwen2-VL's processor refuses more; CLIP's would first stretch such a picture to
millions of pixels and then look at its middle only."""


def encode(
    processor: Any,
    family: Family,
    config: Any,
    example: Example,
    *,
    instruction: str = DEFAULT_INSTRUCTION,
    answer: str | None = None,
    ends: bool = False,
    overlap: float = 0.0,
    device: torch.device | str | None = None,
) -> Encoded:
    """`example` as this model takes it: a batch of one, never truncated.

    `answer` is teacher-forced after the prompt and gives the span `answer`; the top-level spans cover the prompt only.
    `ends`: the answer's last token is the tokenizer's end of sequence, as answers are trained.
    `overlap`: which share of a patch a box must cover for `image.object` (0: any; see `geometry.touched`).

    **Errors:** `ExampleError` for a picture that cannot be used, a question that writes control tokens, an answer
    without tokens, more tokens than the context holds; `ChiasmError` for a template or processor that does not fit.
    """
    _check_media(example, family)
    images = tuple(load_image(image) for image in example.images)
    for index, image in enumerate(images):
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise ExampleError(f"image {index} is {image.width} x {image.height}: more than {MAX_ASPECT} to 1")
    if images:
        example = check_boxes(example, *images[0].size)
    prompt = render(processor, family, ("image",) * len(images), example.question, instruction)
    raw = _process(processor, prompt, images)
    offsets = np.asarray(raw.pop("offset_mapping"))[0]
    placed, shift = _placed(raw, offsets, prompt, images)
    layouts = tuple(family.layout(image, raw, processor, config) for image in placed)
    accepted = accepted_inputs(type(config))
    inputs = {key: value for key, value in raw.items() if accepted is None or key in accepted}
    spans = _spans(family, example, prompt, layouts, offsets, shift, overlap)
    tokens: tuple[int, ...] = ()
    if answer is not None:
        tokens = answer_tokens(processor, continuation(processor, family, prompt, answer), prompt)
        tokens += (processor.tokenizer.eos_token_id,) if ends else ()
        spans["answer"] = len(offsets) + np.arange(len(tokens))
        inputs = extended(inputs, tokens, family)
    length = len(offsets) + len(tokens)
    context = config.get_text_config(decoder=True).max_position_embeddings
    if length > context:
        raise ExampleError(f"{length} tokens do not fit the context of {context}")
    inputs = {key: value.to(device) for key, value in inputs.items()}
    return Encoded(example.id, inputs, Spans(length, spans), prompt.text, images, layouts, tokens)


def encode_batch(
    processor: Any,
    family: Family,
    config: Any,
    encoded: Sequence[Encoded],
    *,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """Several encoded examples as one batch with padding on the left, as the processor itself would make it.

    Nothing is tokenised or resized again: rows are padded, and what belongs to images is put one after the other,
    zero-padded where its other sizes differ (as tiles of any-resolution processors).
    """
    pad = processor.tokenizer.pad_token_id
    fill = {"input_ids": processor.tokenizer.eos_token_id if pad is None else pad}
    rows, length = _row_keys(encoded[0]), max(e.length for e in encoded)
    batch = {}
    # An example without images lacks their keys.
    for key in dict.fromkeys(key for e in encoded for key in e.inputs):
        parts = [e.inputs[key] for e in encoded if key in e.inputs]
        if key in rows:
            parts = [F.pad(part, (length - part.shape[1], 0), value=fill.get(key, 0)) for part in parts]
        batch[key] = torch.cat(_same_size(parts)).to(device)
    return batch


@functools.cache
def accepted_inputs(config_class: type) -> frozenset[str] | None:
    """The names that the architecture's forward declares; None for a class that transformers does not map.

    Anything else would travel through `**kwargs` down to the layers.
    """
    if config_class not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return None
    return frozenset(inspect.signature(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[config_class].forward).parameters)


def _check_media(example: Example, family: Family) -> None:
    given = {"image": example.images, "video": example.videos, "audio": example.audios}
    wrong = [kind for kind, items in given.items() if items and kind not in family.modalities]
    if wrong:
        takes = " and ".join(sorted(family.modalities))
        raise ExampleError(f"it brings {' and '.join(wrong)}, but `{family.name}` takes text and {takes}")


def _process(processor: Any, prompt: Prompt, images: Sequence[Any]) -> dict[str, Any]:
    bos = processor.tokenizer.bos_token
    try:
        raw = processor(
            text=[prompt.text],
            images=list(images) or None,
            return_tensors="pt",
            return_offsets_mapping=True,
            return_text_replacement_offsets=True,
            truncation=False,
            # A template that writes the first token itself must not get a second one.
            add_special_tokens=bos is None or not prompt.text.startswith(bos),
        )
    except NotImplementedError as error:
        raise ChiasmError(
            "to map characters to tokens", f"the tokenizer has no offsets ({error})", "Use a fast tokenizer"
        ) from error
    return dict(raw)


def _placed(
    raw: dict[str, Any], offsets: np.ndarray, prompt: Prompt, images: Sequence[Any]
) -> tuple[list[Placed], int]:
    """The tokens of each image, and how far the question moved when placeholders were written out."""
    ids, shift, placed = raw["input_ids"][0].numpy(), 0, []
    replaced = raw.pop("text_replacement_offsets", [[]])
    for index, (place, image) in enumerate(zip(replaced[0] if replaced else [], images, strict=True)):
        start, stop = place["new_span"]
        positions = within(offsets, start, stop)
        placed.append(Placed(index, positions, ids[positions], image.width, image.height))
        if place["span"][1] <= prompt.question[0]:
            shift = stop - place["span"][1]
    return placed, shift


def _spans(
    family: Family,
    example: Example,
    prompt: Prompt,
    layouts: Sequence[ImageLayout],
    offsets: np.ndarray,
    shift: int,
    overlap: float,
) -> dict[str, np.ndarray]:
    start, stop = (place + shift for place in prompt.question)
    asked = overlapping(offsets, start, stop)
    image = np.concatenate([np.empty(0, dtype=np.int64), *(layout.positions for layout in layouts)])
    # Where an empty question would stand: at the first token that ends behind its place.
    behind = asked if len(asked) else np.flatnonzero(offsets[:, 1] > start)
    anchor = int(behind[0]) if len(behind) else len(offsets) - 1
    top = partition(len(offsets), image, asked, anchor)
    return {
        **top,
        **image_parts(family, layouts, example, overlap),
        **question_parts(top["question"], offsets, start, prompt.asked, example),
    }


def answer_tokens(processor: Any, written: str, prompt: Prompt) -> tuple[int, ...]:
    """Token ids of the answer as `written` after the prompt, whose own tokens stay as they are."""
    joined = processor.tokenizer(prompt.text + written, add_special_tokens=False, return_offsets_mapping=True)
    places, end = joined["offset_mapping"], len(prompt.text)
    if any(start < end < stop for start, stop in places):
        ids = processor.tokenizer(written, add_special_tokens=False)["input_ids"]
    else:
        ids = [i for i, (start, stop) in zip(joined["input_ids"], places, strict=True) if start >= end and stop > start]
    if not ids or not written.strip():
        raise ExampleError("the answer has no token")
    return tuple(ids)


def extended(inputs: Mapping[str, Any], tokens: Sequence[int], family: Family) -> dict[str, Any]:
    """The inputs of a batch of one with text tokens after the prompt."""

    def longer(key: str, row: Tensor) -> Tensor:
        if key == "input_ids":
            return torch.cat([row, torch.tensor([tokens], dtype=row.dtype)], dim=1)
        return F.pad(row, (0, len(tokens)), value=family.row_value(key))

    length = inputs["input_ids"].shape[1]
    return {k: longer(k, v) if v.shape == (1, length) else v for k, v in inputs.items()}


def _row_keys(encoded: Encoded) -> set[str]:
    return {key for key, value in encoded.inputs.items() if value.shape == encoded.input_ids.shape}


def _same_size(parts: Sequence[Tensor]) -> list[Tensor]:
    """`parts` zero-padded at the end of every axis but the first to their largest size."""
    sizes = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
    padding = [
        [side for n, m in zip(reversed(part.shape[1:]), reversed(sizes)) for side in (0, m - n)] for part in parts
    ]
    return [F.pad(part, pad) for part, pad in zip(parts, padding)]
