"""Other modalities, lacking parts, and very many examples: measures do not ask what a span is, nor how often."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.measure import peak_bytes, reset_peak
from tests.support.factories import build, example
from tests.support.runs import encoded, view_of
from tests.support.states import all_measures, feed, pilot, rows_of
from torch import nn

import chiasm
from chiasm.core.positions import Spans
from chiasm.measures.base import MeasureConfig
from chiasm.measures.registry import measures
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Batch, Segment, SiteStates
from chiasm.models.view import ModelView
from chiasm.studies.align.measured_model import NoiseTokens


def renamed(item: Encoded, modality: str) -> Encoded:
    """The same with its image called otherwise."""
    named = {name.replace("image", modality): p for name, p in item.spans.positions.items()}
    return replace(item, spans=Spans(item.spans.length, named))


@pytest.mark.parametrize("modality", ["video", pytest.param("audio", marks=pytest.mark.heavy)])
def test_all_measures_read_other_modalities_as_they_read_images(modality):
    view = view_of("llava")
    items = [encoded(view, seed=seed) for seed in range(8)]
    others = [renamed(item, modality) for item in items]
    spans = (modality, "question")
    images = feed(all_measures(view, items), view, [items])
    sounds = feed(all_measures(view, others, spans), view, [others], spans)
    for one, other in zip(images, sounds, strict=True):
        if one.name in ("geometry", "vocabulary"):
            continue  # which tokens are drawn, and where t-SNE ends, depends on the name
        for table, rows in one.tables().items():
            told = [
                {k: v.replace("image", modality) if isinstance(v, str) else v for k, v in row.items()} for row in rows
            ]
            key = lambda row: sorted((k, str(v)) for k, v in row.items() if not isinstance(v, float))  # noqa: E731
            for mine, theirs in zip(sorted(told, key=key), sorted(rows_of(other, table), key=key), strict=True):
                for column, value in mine.items():
                    assert theirs[column] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)


def test_noise_replaces_every_modality():
    view = view_of("llava")
    item = renamed(encoded(view), "audio")
    states = torch.randn(1, item.length, 8)
    changed = NoiseTokens([item], 0)(states, [0])
    differs = (changed != states).any(-1)[0].nonzero().flatten().numpy()
    np.testing.assert_array_equal(differs, item.spans["audio"])


def test_a_decoder_without_a_final_norm():
    model, processor = build("llava")
    decoder = model.get_decoder()
    del decoder.norm
    object.__setattr__(decoder, "norm", lambda states: states)
    view = ModelView(model, processor, name="bare")
    assert isinstance(view.final_norm, nn.Identity)
    found = chiasm.align(view, [example(seed=seed) for seed in range(3)], controls=False)
    assert found.table("vocabulary").height
    states = torch.randn(2, view.width)
    torch.testing.assert_close(view.unembed(states), view.head(states))


@pytest.mark.heavy
def test_ten_thousand_examples_need_no_more_memory_than_a_hundred():
    view = view_of("llava")
    spans = ("image", "question")
    centres = pilot(view, [[encoded(view, seed=seed) for seed in range(8)]], spans)
    at_once, tokens = 50, 4
    states = torch.randn(2, at_once * 2 * tokens, view.width)
    block = view.layers[0]
    inputs = {
        (name,): torch.randn(states.shape[1], block.get_submodule(name).in_features)
        for name in ("self_attn.q_proj", "mlp.down_proj")
    }
    places = [(example, span) for example in range(at_once) for span in spans]
    segments = tuple(Segment(e, span, tokens * k, tokens * (k + 1)) for k, (e, span) in enumerate(places))

    def peak(examples: int) -> tuple[int, int]:
        made = measures(MeasureConfig(spans, view, centres, as_released=True))
        for measure in made:
            if measure.name == "geometry":
                measure.reservoir.size = 32  # else a hundred examples would not fill it
        for first in range(0, examples, at_once):
            batch = Batch(tuple(f"e{first + k}" for k in range(at_once)), segments, np.arange(states.shape[1]))
            for measure in made:
                for layer in (0, 1):
                    measure.update(SiteStates(batch, layer, "residual", states[layer]))
                for names, x in inputs.items() if measure.needs_inputs else ():
                    measure.update_inputs(0, names, batch, x)
                measure.end_batch(batch)
            if first == 0:
                reset_peak("cpu")
        return peak_bytes("cpu"), sum(value.nbytes for measure in made for value in measure.state().values())

    peak(100)  # what is loaded and compiled on first use stays
    small, large = peak(100), peak(10_000)
    assert large[1] == small[1]
    # One kilobyte for each example would be ten megabytes.
    assert large[0] - small[0] < 6e6
