"""A frozen tower computes each image once: its features then travel where pixels would.

Training and answering read the tower's states at one layer only; while `frozen_tower` is open, the tower hands on what
it is given as that layer's states, and the rest of the model runs unchanged.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward

PIXELS = "pixel_values"


def reusable(view: ModelView) -> bool:
    """Whether this model reads its tower's states at one layer, from one image per row."""
    return view.family.reads_tower_states and isinstance(view.config.vision_feature_layer, int)


@final
class TowerFeatures:
    """The tower's states (class token first) of many images, in a file that is read where it is needed.

    `pooled` (n x V): the tower's own summary of each image (CLS after its last norm).
    """

    def __init__(self, path: Path, states: Float[np.ndarray, "n P V"], pooled: Float[Tensor, "n V"]) -> None:
        self.path, self._states, self.pooled = path, states, pooled

    def states(self, index: int, dtype: torch.dtype) -> Float[Tensor, "1 P V"]:
        """The states of one image as the tower gave them."""
        return torch.from_numpy(np.array(self._states[index]))[None].to(dtype)

    def put_into(self, encoded: Encoded, index: int, view: ModelView) -> Encoded:
        """The example with the features of its one image in place of its pixels."""
        states = self.states(index, view.dtype).to(view.device)
        return replace(encoded, inputs=encoded.inputs | {PIXELS: states}, images=())


@torch.no_grad()
def tower_features(view: ModelView, batches: Iterable[Sequence[Tensor]], path: Path, count: int) -> TowerFeatures:
    """The features of `count` images, given in batches as the processor prepared them (each 1 x 3 x H x W).

    They are kept in `path` in float32: 2.4 GB per thousand images of LLaVA-1.5's.
    """
    assert view.vision_tower is not None, "a model without one is not `reusable`"
    file: Any = None
    pooled, layer, start = [], view.config.vision_feature_layer, 0
    for pixels in batches:
        given = torch.cat(list(pixels)).to(view.device, view.dtype)
        output = view.vision_tower(given, output_hidden_states=True)
        states = output.hidden_states[layer].float().cpu().numpy()
        if file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = np.lib.format.open_memmap(path, "w+", np.float32, (count, *states.shape[1:]))
        file[start : start + len(states)] = states
        start += len(states)
        pooled.append(output.pooler_output.float().cpu())
    file.flush()
    return TowerFeatures(path, np.load(path, mmap_mode="r"), torch.cat(pooled))


@contextmanager
def frozen_tower(view: ModelView) -> Iterator[None]:
    """While this is open, `pixel_values` holds features and the tower passes them on."""

    def forward(pixel_values: Tensor, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        return BaseModelOutputWithPooling(
            last_hidden_state=pixel_values,
            hidden_states=_SameAtEveryLayer((pixel_values,)),
            pooler_output=pixel_values[:, 0],
        )

    assert view.vision_tower is not None, "features are a tower's"
    with replaced_forward(view.vision_tower, forward):
        yield


class _SameAtEveryLayer(tuple):
    """The same states, whichever layer is asked for: they are those of the one layer that this model reads."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(0)
