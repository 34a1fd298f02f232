"""One vector per image and place, for every place at once: a single pass over the images, nothing but means kept.

Legend: B images of a batch, V width of the tower, D of the decoder.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.models.encoded import Encoded
from chiasm.models.frame import record_frame
from chiasm.models.hooks import first_tensor
from chiasm.models.observe import SiteStates, lay_out, observe
from chiasm.models.view import ModelView

_SPANS = ("image", "last")


def layer_name(state: int, span: str) -> str:
    """How the mean image token or the last token of hidden state `state` is called: `layer.3.image`, `layer.3.last`."""
    return f"layer.{state}.{span}"


@torch.no_grad()
def read_states(
    view: ModelView, rows: Sequence[Encoded], batch_size: int, folder: Path, *, together: bool
) -> dict[str, Float[np.ndarray, "n D"]]:
    """Means over the tokens of each image, by place, in files in `folder` that are mapped into memory.

    `pre`: what the projector reads; `post`: what it makes of it, as it enters the decoder; `layer.K.image` and
    `layer.K.last`: the image tokens and the last token of the prompt at hidden state K (K = 0: what enters the first
    block, so `layer.0.image` is `post`; K: what leaves block K - 1); `cls`: the tower's own summary, where it has one.
    `together`: the projector is given one row per image, so that several images may share a batch.

    **Errors:** `ChiasmError` where states are NaN or infinite, with the image and the layer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = _MappedArrays(folder, len(rows))
    size = batch_size if together else 1
    for start in range(0, len(rows), size):
        batch = [rows[k] for k in range(start, min(start + size, len(rows)))]
        with _encoder_means(view, len(batch)) as encoded_means:
            seen = observe(view, (), batch, _SPANS, lambda found, at=start: _keep_means(found, at, kept))
        for example, reason in seen.failures.items():
            raise ChiasmError(
                f"read the states of {seen.ids[example]}", reason, "Leave this setting out, or lower its rate"
            )
        for name, values in encoded_means.items():
            kept.put(name, slice(start, start + len(batch)), values)
    return kept.arrays | {POST: kept.arrays[layer_name(0, "image")]}


@torch.no_grad()
def read_projected(view: ModelView, rows: Sequence[Encoded], batch_size: int) -> Float[np.ndarray, "n D"]:
    """The mean image token that enters the decoder, without running the decoder."""
    found = []
    for start in range(0, len(rows), batch_size):
        batch = [rows[k] for k in range(start, min(start + batch_size, len(rows)))]
        inputs, padding = view.collate(batch)
        layout = lay_out(batch, ("image",), padding, inputs["input_ids"].shape[1])
        with view.readable_attention():
            hidden = record_frame(view, inputs).hidden.float().flatten(0, 1).cpu()
        found += [hidden[torch.from_numpy(layout.rows[s.start : s.stop])].mean(dim=0) for s in layout.segments]
    return torch.stack(found).numpy()


@contextmanager
def permuted_projector(view: ModelView, seed: int) -> Iterator[None]:
    """While this is open, every parameter of the projector has its own entries in a random order.

    Sizes and distributions are those of the trained one; what it has learned is gone.
    """
    assert view.projector is not None
    generator = torch.Generator().manual_seed(seed)
    before = {name: p.detach().clone() for name, p in view.projector.named_parameters()}
    with torch.no_grad():
        for parameter in view.projector.parameters():
            mixed = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[mixed].view_as(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in view.projector.named_parameters():
                parameter.copy_(before[name])


def _keep_means(seen: SiteStates, start: int, kept: "_MappedArrays") -> None:
    means = seen.means.cpu().numpy()
    for span in _SPANS:
        _, places = seen.batch.places(span)
        kept.put(layer_name(seen.layer, span), slice(start, start + len(places)), means[places])


@contextmanager
def _encoder_means(view: ModelView, count: int) -> Iterator[dict[str, np.ndarray]]:
    """What the projector reads, meaned over tokens, and the tower's summary, of a forward of `count` images."""
    found: dict[str, np.ndarray] = {}

    def into(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states = first_tensor((*args, *kwargs.values()))
        if states is not None:
            found[PRE] = _mean(states, count)

    def out(module: nn.Module, args: Any, output: Any) -> None:
        summary = output.get("pooler_output") if isinstance(output, dict) else None
        if isinstance(summary, Tensor) and summary.ndim == 2:
            found[CLS] = _mean(summary, count)

    assert view.vision_tower is not None, "a model without a tower has no tower states"
    with ExitStack() as stack:
        if view.projector is not None:
            stack.callback(view.projector.register_forward_pre_hook(into, with_kwargs=True).remove)
        stack.callback(view.vision_tower.register_forward_hook(out).remove)
        yield found


def _mean(states: Float[Tensor, "*rows V"], count: int) -> Float[np.ndarray, "B V"]:
    """Rows of one image stand together; a batch of one holds all of them."""
    return states.float().reshape(count, -1, states.shape[-1]).mean(dim=1).cpu().numpy()


@final
class _MappedArrays:
    """Arrays of `n` rows in files, each made when its first rows come."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, name: str, rows: slice, values: np.ndarray) -> None:
        if name not in self.arrays:
            shape = (self.n, values.shape[1])
            self.arrays[name] = np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", np.float32, shape)
        self.arrays[name][rows] = values
