"""From examples to training batches: the answer is what is learned, everything before it is only read."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.core.positions import Spans
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import append_tokens
from chiasm.models.view import ModelView

IGNORED: Final = -100
"""The label of tokens that are not learned."""


def encode_training(view: ModelView, example: Example, *, plain: bool = False) -> Encoded:
    """The example with its answer behind it. `plain`: the image and the label alone, as the released code trains.

    There LLaVA's `--version plain` overwrites the user's turn by the image's placeholder and ends the label with a
    newline: question, classes, instruction and roles are absent.

    **Errors:** `ExampleError` for a broken image and the like.
    """
    if not plain:
        return view.encode(example, instruction="", answer=example.answer, ends=True)
    encoded = view.encode(example, instruction="")
    ids = encoded.input_ids[0]
    image = torch.from_numpy(encoded.spans.require("image")).to(ids.device)
    tokenizer = view.tokenizer
    first = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    label = tuple(tokenizer(f"{example.answer}\n", add_special_tokens=False)["input_ids"])
    seen = torch.cat([torch.tensor(first, dtype=ids.dtype, device=ids.device), ids[image]])[None]
    kept = {k: v for k, v in encoded.inputs.items() if not isinstance(v, Tensor) or v.shape != encoded.input_ids.shape}
    inputs = {"input_ids": seen.cpu(), "attention_mask": torch.ones_like(seen).cpu()}
    inputs = {k: v.to(view.device) for k, v in append_tokens(inputs, label, view.family).items()}
    length = seen.shape[1] + len(label)
    spans = {"image": range(len(first), seen.shape[1]), "answer": range(seen.shape[1], length)}
    held = Spans(length, {name: list(places) for name, places in spans.items()})  # type: ignore[arg-type]
    return Encoded(encoded.example_id, inputs | kept, held, "", encoded.images, (), label)


def padded_to_square(image: Any, colour: tuple[int, int, int]) -> Image.Image:
    """The image in the middle of a square of its longer side (LLaVA's `expand2square`, `image_aspect_ratio=pad`)."""
    loaded = load_image(image)
    side = max(loaded.size)
    if loaded.width == loaded.height:
        return loaded
    square = Image.new("RGB", (side, side), colour)
    square.paste(loaded, ((side - loaded.width) // 2, (side - loaded.height) // 2))
    return square


def mean_colour(view: ModelView) -> tuple[int, int, int]:
    """The colour that the tower's preprocessing takes as zero."""
    red, green, blue = (int(255 * value) for value in view.processor.image_processor.image_mean)
    return red, green, blue


def collator(view: ModelView) -> Callable[[Sequence[Encoded]], dict[str, Tensor]]:
    """Left-padded batches with `labels`: the tokens of each answer, and `IGNORED` everywhere else."""
    served = view.as_served()

    def collate(rows: Sequence[Encoded]) -> dict[str, Tensor]:
        inputs = served.cast(view.collate(rows)[0])
        if "position_ids" not in inputs and view.family.positions_from_mask:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        labels = torch.full_like(inputs["input_ids"], IGNORED)
        for row, encoded in zip(labels, rows, strict=True):
            answer = torch.tensor(encoded.answer_tokens, device=row.device)
            row[len(row) - len(answer) :] = answer
        return inputs | {"labels": labels}

    return collate
