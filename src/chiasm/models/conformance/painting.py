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
from chiasm.models.view import ModelView, attending_by

MIN_SHARE = 0.9
"""Share of pairs (token in the box, token outside) of which the first changed more, and of tokens whose own place was
painted that changed most of all. A grid that is mirrored, turned or shifted by a tile comes out near one half for at
least one of the boxes; one that is a cell off, or a crop taken for the whole, names other tokens at its edges."""

_NAME = "chiasm_own_patch"
# Left half, upper half, and a corner that no symmetry keeps, in shares of the image (x, y, width, height).
_BOXES = ((0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5), (0.5, 0.5, 0.5, 0.5))
_PAINTED_TOKENS = 8
"""So many tokens of each kind of tile have their own place painted, the first and the last among them."""
_MIN_SIDE = 2
"""Shortest side, in pixels, of a place that is painted."""


class Painter:
    """One image of noise, painted box by box: what changes at the tokens of the image.

    Within `patches_alone` of the view's towers. What a box changes is kept, whichever rule for places asks.
    """

    def __init__(self, view: ModelView, image: Image.Image, seed: int) -> None:
        self.view, self.image, self._seed = view, image, seed
        # Whether every patch attends to itself alone: other towers are no models of transformers, but convolutions.
        self.alone = all(isinstance(tower, PreTrainedModel) for tower in view.towers)
        self._clean = _tokens(view, image)
        self._changes: dict[tuple[int, int, int, int], Float[np.ndarray, " n"]] = {}

    def change(self, box: Box) -> Float[np.ndarray, " n"]:
        """How much each token of the image changes when the pixels within `box` are others."""
        corners = (round(box.x), round(box.y), round(box.x + box.w), round(box.y + box.h))
        if corners not in self._changes:
            after = _tokens(self.view, _painted(self.image, corners, self._seed + 2))
            self._changes[corners] = (after - self._clean).double().norm(dim=-1).cpu().numpy()
        return self._changes[corners]

    def shares(self, layout: ImageLayout) -> Iterator[float]:
        """By kind of tile: the share of pairs in the right order for each box."""
        image = self.image
        for x, y, w, h in _BOXES:
            box = Box("painted", x * image.width, y * image.height, w * image.width, h * image.height)
            change = self.change(box)
            inside = touched(layout.rects, [box], image.width, image.height, fraction=0.5)
            outside = ~touched(layout.rects, [box], image.width, image.height) & np.isfinite(layout.rects[:, 0])
            for tile in np.unique(layout.tile):
                own = layout.tile == tile
                if (inside & own).any() and (outside & own).any():
                    yield _share(change, inside & own, outside & own)

    def own_shares(self, layout: ImageLayout, tokens: int = _PAINTED_TOKENS) -> Iterator[float]:
        """By kind of tile: the share of so many tokens that change most when their own place is painted."""
        for tile in np.unique(layout.tile):
            found = list(self._own(layout, layout.tile == tile, tokens))
            if found:
                yield float(np.mean(found))

    def _own(self, layout: ImageLayout, of_tile: Bool[np.ndarray, " n"], tokens: int) -> Iterator[bool]:
        """Whether the token whose place is painted changes more than every token that sees nothing of it."""
        width, height = self.image.size
        shown = [(token, box) for token in np.flatnonzero(of_tile) if (box := self._shown(layout.rects[token]))]
        for chosen in np.unique(np.linspace(0, len(shown) - 1, tokens).astype(int)) if shown else ():
            token, box = shown[chosen]
            x0, y0, x1, y1 = layout.rects[token]
            # Where convolutions look beyond a token's own place, its neighbours change with it.
            beyond = (0.0, 0.0) if self.alone else (x1 - x0, y1 - y0)
            near = Box("near", box.x - beyond[0], box.y - beyond[1], box.w + 2 * beyond[0], box.h + 2 * beyond[1])
            others = of_tile & ~touched(layout.rects, [near], width, height) & np.isfinite(layout.rects[:, 0])
            if others.any():
                change = self.change(box)
                yield bool(change[token] > change[others].max())

    def _shown(self, rect: Float[np.ndarray, " 4"]) -> Box | None:
        """The whole pixels of a token's place; None where it lies mostly in padding, or is too narrow to be painted."""
        if not np.isfinite(rect).all():
            return None
        left, top = np.ceil(np.maximum(rect[:2], 0))
        right, bottom = np.floor(np.minimum(rect[2:], self.image.size))
        if min(right - left, bottom - top) < _MIN_SIDE:
            return None
        area = (rect[2] - rect[0]) * (rect[3] - rect[1])
        half = (right - left) * (bottom - top) >= area / 2
        return Box("painted", left, top, right - left, bottom - top) if half else None


def painted_boxes_are_found(trial: Trial) -> float:
    """The lowest share, over boxes, images and kinds of tile, of pairs of tokens in the right order."""
    if trial.modality != "image":
        raise NotApplicableError("it is given no image")
    shares: list[float] = []
    with patches_alone(trial.view.towers):
        for seed in (0, 1):
            image = noise("image", seed)
            layout = layout_of(trial.view, image)
            # A class token or a query sees everything, and so has no place.
            if layout.has_places:
                painter = Painter(trial.view, image, seed)
                shares += painter.shares(layout)
                shares += painter.own_shares(layout) if painter.alone else ()
    if not shares:
        raise NotApplicableError("its image tokens look at the image as a whole, not at parts of it")
    worst = min(shares)
    if worst < MIN_SHARE:
        raise BrokenLawError(
            f"tokens outside a painted box change as much as those in it ({worst:.2f} of pairs)", worst
        )
    return worst


def layout_of(view: ModelView, image: Image.Image) -> ImageLayout:
    """Where the tokens of `image` look, as the view's family says."""
    (layout,) = view.encode(noise_example("image", (image,))).layouts
    return layout


def _share(change: Float[np.ndarray, " n"], inside: Bool[np.ndarray, " n"], outside: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: ties count half."""
    a, b = change[inside][:, None], change[outside][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


@torch.no_grad()
def _tokens(view: ModelView, image: Image.Image) -> Float[Tensor, "n D"]:
    """What the decoder is given at the tokens of the image."""
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
        return maps[0]
    return states_at(hidden, layout.positions, encoded.length)


def states_at(hidden: Tensor, positions: np.ndarray, length: int) -> Float[Tensor, "n D"]:
    """The first example's states at `positions` of `length`; several streams of them side by side.

    `hidden`: B x T x D; B x T x S x D or S x B x T x D with S streams.
    """
    at = torch.from_numpy(positions).to(hidden.device)
    if hidden.ndim == 4 and hidden.shape[1] != length:
        hidden = hidden.permute(1, 2, 0, 3)
    return hidden[0, at].flatten(1)


def _painted(image: Image.Image, corners: tuple[int, int, int, int], seed: int) -> Image.Image:
    """The image with other noise between `corners` (left, top, right, bottom)."""
    left, top, right, bottom = corners
    pixels = np.array(image)
    fresh = np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    pixels[top:bottom, left:right] = fresh[top:bottom, left:right]
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
