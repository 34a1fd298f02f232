"""Hidden states as transformers gives them, and measures fed by observing."""

from collections.abc import Sequence

import numpy as np
import torch
from tests.support.float64 import no_upcasts

from chiasm.measures.base import Measure
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Seen, observe
from chiasm.models.sites import find_blocks
from chiasm.models.view import ModelView


def hidden_states(view: ModelView, encoded: Encoded) -> np.ndarray:
    """(L + 1) x T x D from a plain forward; the last state is taken before the final norm."""
    last = []
    handle = view.final_norm.register_forward_pre_hook(lambda module, args: last.append(args[0]))
    with torch.no_grad(), no_upcasts(view.dtype):
        out = view.model(**encoded.inputs, output_hidden_states=True)
    handle.remove()
    # Transformers gives the last state after the norm.
    with torch.no_grad(), no_upcasts(view.dtype):
        assert torch.allclose(view.final_norm(last[0]), out.hidden_states[-1])
    return np.stack([s[0].double().numpy() for s in (*out.hidden_states[:-1], last[0])])


def feed(
    made: Sequence[Measure],
    view: ModelView,
    batches: Sequence[Sequence[Encoded]],
    spans: tuple[str, ...] = ("image", "question"),
) -> Sequence[Measure]:
    """The measures after they have seen all batches."""
    sites = frozenset().union(*(m.sites() for m in made))
    blocks = find_blocks(view, batches[0][0])

    def listen(seen: Seen) -> None:
        for m in made:
            m.see(seen)

    for encoded in batches:
        with no_upcasts(view.dtype):
            batch = observe(view, blocks, encoded, spans, listen, sites=sites)
        for m in made:
            m.end(batch)
    return made


def rows_of(measure: Measure, table: str) -> list[dict]:
    return measure.tables()[table]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
