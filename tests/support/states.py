"""Hidden states as transformers gives them, and measures fed by observing."""

from collections.abc import Sequence

import numpy as np
import torch
from tests.support.float64 import no_upcasts

from chiasm.measures.base import Measure, MeasureConfig
from chiasm.measures.centres import Centres, Pilot
from chiasm.measures.registry import measures
from chiasm.models.encoded import Encoded
from chiasm.models.hooks import SITES, find_blocks
from chiasm.models.observe import SiteStates, observe
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

    def listen(seen: SiteStates) -> None:
        for m in made:
            if seen.site in m.sites():
                m.update(seen)

    def listen_inputs(*read: object) -> None:
        for m in made:
            if m.needs_inputs:
                m.update_inputs(*read)

    for encoded in batches:
        with no_upcasts(view.dtype):
            batch = observe(view, blocks, encoded, spans, listen, sites=sites, on_inputs=listen_inputs)
        for m in made:
            m.end_batch(batch)
    return made


def pilot(view: ModelView, batches: Sequence[Sequence[Encoded]], spans: tuple[str, ...]) -> Centres:
    """The centres that all examples give, at all sites."""
    found = Pilot()
    for encoded in batches:
        with no_upcasts(view.dtype):
            blocks = find_blocks(view, encoded[0])
            found.end_batch(observe(view, blocks, encoded, spans, found.update, sites=frozenset(SITES)))
    return found.centres()


def all_measures(
    view: ModelView, items: Sequence[Encoded], spans: tuple[str, ...] = ("image", "question")
) -> tuple[Measure, ...]:
    """Everything that can be measured, fresh."""
    return measures(MeasureConfig(spans, view, pilot(view, [items], spans), as_released=True))


def rows_of(measure: Measure, table: str) -> list[dict]:
    return measure.tables()[table]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
