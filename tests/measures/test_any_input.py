"""Other modalities, lacking parts, and very many examples: measures do not ask what a span is, nor how often."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.measure import peak_bytes, reset_peak
from tests.support.factories import build, example
from tests.support.runs import encoded, view_of
from tests.support.states import feed, rows_of, wanted
from torch import nn

from chiasm import api
from chiasm.core.spans import Spans
from chiasm.measures.noise import NoiseTokens
from chiasm.measures.registry import measures
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Batch, Seen, Segment
from chiasm.models.view import ModelView


def renamed(item: Encoded, modality: str) -> Encoded:
    """The same with its image called otherwise."""
    named = {name.replace("image", modality): p for name, p in item.spans.positions.items()}
    return replace(item, spans=Spans(item.spans.length, named))


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_all_measures_read_other_modalities_as_they_read_images(modality):
    view = view_of("llava")
    items = [encoded(view, seed=seed) for seed in range(8)]
    others = [renamed(item, modality) for item in items]
    spans = (modality, "question")
    images = feed(measures(wanted(view, items)), view, [items])
    sounds = feed(measures(wanted(view, others, spans)), view, [others], spans)
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
    found = api.align(view, [example(seed=seed) for seed in range(3)], controls=False)
    assert found.table("vocabulary").height
    states = torch.randn(2, view.width)
    torch.testing.assert_close(view.unembed(states), view.head(states))


@pytest.mark.heavy
def test_ten_thousand_examples_need_no_more_memory_than_a_hundred():
    view = view_of("llava")
    few = [encoded(view, seed=seed) for seed in range(8)]
    wish = wanted(view, few)
    rng = np.random.default_rng(0)
    layers, width = view.n_layers, view.width
    states = torch.from_numpy(rng.standard_normal((8, 24, width)).astype(np.float32))
    inputs = {
        names: torch.randn(24, view.layers[0].get_submodule(names[0]).in_features)
        for names in (("self_attn.q_proj",), ("mlp.down_proj",))
    }
    segments = tuple(
        Segment(e, s, 8 * e + 4 * k, 8 * e + 4 * k + 4) for e in range(3) for k, s in enumerate(("image", "question"))
    )

    def peak(examples: int) -> tuple[int, int]:
        made = [m for m in measures(wish) if m.name != "geometry"]
        reservoirs = [m for m in measures(wish) if m.name == "geometry"]
        for measure in reservoirs:
            measure.reservoir.size = 32
        made += reservoirs
        for first in range(0, examples, 3):
            batch = Batch(tuple(f"e{first + k}" for k in range(3)), segments, np.arange(24))
            for layer in range(layers + 1):
                seen = Seen(batch, layer, "residual", states[layer])
                for measure in made:
                    measure.see(seen)
                for names, x in inputs.items() if layer < layers else ():
                    for measure in made:
                        if measure.wants_inputs:
                            measure.see_inputs(layer, names, batch, x)
            for measure in made:
                measure.end(batch)
            if first == 0:
                reset_peak("cpu")
        kept = sum(value.nbytes for measure in made for value in measure.state().values())
        return peak_bytes("cpu"), kept

    peak(100)  # what is loaded and compiled on first use stays
    small, large = peak(100), peak(10_000)
    assert large[1] == small[1]
    # One kilobyte for each example would be ten megabytes.
    assert large[0] - small[0] < 6e6
