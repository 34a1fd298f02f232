"""Box-to-patch geometry, seen from the outside: paint a box, and see which tokens of the image changed.

The image goes through the model's own processor, tower and projector, so every step between pixel and token is
tried: resizing, cropping, padding, tiles, merging, the order of rows and columns. It works with random weights, since
within the tower every patch is made to attend to itself alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from chiasm.core.example import Box
from chiasm.models.conformance.trial import BrokenLawError, NotApplicableError, Trial, noise, noise_example
from chiasm.models.encoded import ImageLayout
from chiasm.models.frame import record_frame
from chiasm.models.geometry import touched
from chiasm.models.view import attending_by

MIN_SHARE = 0.9
"""Share of (token in the box, token outside) of which the first changed more. A grid that is mirrored, turned or
shifted by a tile comes out near one half for at least one of the boxes."""

_NAME = "chiasm_own_patch"
# Left half, upper half, and a corner that no symmetry keeps, in shares of the image (x, y, width, height).
_BOXES = ((0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5), (0.5, 0.5, 0.5, 0.5))


def painted_boxes_are_found(trial: Trial) -> float:
    """The lowest share, over boxes, images and kinds of tile, of pairs of tokens in the right order."""
    if trial.modality != "image":
        raise NotApplicableError("it is given no image")
    shares = [share for seed in (0, 1) for share in _shares(trial, noise("image", seed), seed)]
    if not shares:
        raise NotApplicableError("its image tokens look at the image as a whole, not at parts of it")
    worst = min(shares)
    if worst < MIN_SHARE:
        raise BrokenLawError(
            f"tokens outside a painted box change as much as those in it ({worst:.2f} of pairs)", worst
        )
    return worst


def _shares(trial: Trial, image: Image.Image, seed: int) -> Iterator[float]:
    view = trial.view
    with patches_alone(view.towers):
        before, layout = _tokens(trial, image)
        # A class token or a query sees everything, and so has no place.
        if not np.isfinite(layout.rects).all(axis=1).any():
            return
        for x, y, w, h in _BOXES:
            box = Box("painted", x * image.width, y * image.height, w * image.width, h * image.height)
            after, _ = _tokens(trial, _painted(image, box, seed + 2))
            change = (after - before).double().norm(dim=-1).cpu().numpy()
            inside = touched(layout.rects, [box], image.width, image.height, fraction=0.5)
            outside = ~touched(layout.rects, [box], image.width, image.height) & np.isfinite(layout.rects[:, 0])
            for tile in np.unique(layout.tile):
                own = layout.tile == tile
                if (inside & own).any() and (outside & own).any():
                    yield _share(change, inside & own, outside & own)


def _share(change: Float[np.ndarray, " n"], inside: Bool[np.ndarray, " n"], outside: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: ties count half."""
    a, b = change[inside][:, None], change[outside][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


@torch.no_grad()
def _tokens(trial: Trial, image: Image.Image) -> tuple[Float[Tensor, "n D"], ImageLayout]:
    """What the decoder is given at the tokens of the image, and where they look."""
    view = trial.view
    encoded = view.encode(noise_example("image", (image,)))
    (layout,) = encoded.layouts
    maps: list[Tensor] = []

    def keep(tower: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-2:].numel() == len(layout.positions):
            maps.append(output[0].flatten(1).T)

    with ExitStack() as stack:
        if view.projector is None and view.vision_tower is not None:
            stack.callback(view.vision_tower.register_forward_hook(keep).remove)
        stack.enter_context(view.readable_attention())
        hidden = record_frame(view, encoded.inputs).hidden
    if maps:
        # Tokens of a codebook hide every change that keeps the code: look at what is quantised.
        return maps[0], layout
    return hidden[0, torch.from_numpy(layout.positions).to(hidden.device)], layout


def _painted(image: Image.Image, box: Box, seed: int) -> Image.Image:
    """The image with other noise in the box."""
    pixels = np.array(image)
    rows, columns = slice(round(box.y), round(box.y + box.h)), slice(round(box.x), round(box.x + box.w))
    fresh = np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    pixels[rows, columns] = fresh[rows, columns]
    return Image.fromarray(pixels)


@contextmanager
def patches_alone(towers: tuple[nn.Module, ...]) -> Iterator[None]:
    """Within: every patch attends to itself alone, where a tower takes its attention function from transformers."""
    AttentionInterface.register(_NAME, _own_value)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    with ExitStack() as stack:
        for tower in towers:
            if isinstance(tower, PreTrainedModel):
                stack.enter_context(attending_by(tower, _NAME))
        yield


def _own_value(
    module: nn.Module,
    query: Float[Tensor, "B H T E"],
    key: Float[Tensor, "B K S E"],
    value: Float[Tensor, "B K S E"],
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    if query.shape[2] != value.shape[2]:
        # Queries over patches: whom they read is what they are.
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0], None
    return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2), None
