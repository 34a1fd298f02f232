"""A first input, put to a model as it is loaded: what its files say is then tried before a run begins."""

from typing import Final

import torch
from PIL import Image

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.checkpoint.calling import failing_as
from chiasm.models.conformance.trial import modalities, noise, noise_example
from chiasm.models.frame import record_frame
from chiasm.models.view import ModelView

_SIDE: Final = 56


@torch.no_grad()
def require_takes_input(asked: str, view: ModelView) -> None:
    """Refuse a model that a question about a small input cannot be put to.

    The processor makes inputs, the tower and the projector see them, and the first layer of the decoder computes on
    them: entries of a configuration that contradict each other, or the weights, fail here and not in the run. The price
    is one image through the tower; the other layers are short-circuited.

    **Errors:** `ChiasmError` with the reason.
    """
    modality = modalities(view)[0]
    given = Image.new("RGB", (_SIDE, _SIDE), (90, 140, 200)) if modality == "image" else noise(modality, 0)
    found = f"a first question about its {modality} cannot be put to it"
    try:
        with failing_as(asked, True, found), view.readable_attention():
            encoded = view.encode(noise_example(modality, (given,)))
            frame = record_frame(view, encoded.inputs)
            view.layers[0](frame.hidden, **frame.arguments[0])
    except ExampleError as error:
        raise ChiasmError(
            asked, f"{found} ({error})", "Take configuration and processor from one checkpoint"
        ) from error
