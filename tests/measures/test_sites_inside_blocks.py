"""What is read inside the blocks equals plain float64 computations on what the blocks' own modules hand on."""

import numpy as np
import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, view_of
from tests.support.states import cosine, feed, pilot, rows_of

from chiasm.measures.norms import InsideBlocks
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs

SPANS = ("image", "question")


@pytest.fixture(scope="module")
def case():
    """A float64 view of Llama blocks, examples, and states by tap: for each example a list over layers of T x D."""
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(4)]
    states = []
    for item in items:
        found = {}
        with torch.no_grad(), no_upcasts(torch.float64):
            handles = []
            for layer in view.layers:
                for tap, module, side in (
                    ("residual", layer, 0),
                    ("norm1", layer.input_layernorm, 1),
                    ("attention", layer.self_attn, 1),
                    ("attention_added", layer.post_attention_layernorm, 0),
                    ("norm2", layer.post_attention_layernorm, 1),
                    ("gate_up", layer.mlp.down_proj, 0),
                    ("down", layer.mlp, 1),
                ):
                    handles.append(module.register_forward_hook(recorder(found, tap, side), with_kwargs=True))
            view.model(**item.inputs)
            for handle in handles:
                handle.remove()
        states.append(found)
    return view, items, states


def recorder(found, tap, side):
    def hook(module, args, kwargs, output):
        given = args[0] if args else kwargs["hidden_states"]
        gave = output[0] if isinstance(output, tuple) else output
        found.setdefault(tap, []).append((gave if side else given)[0].numpy())

    return hook


def test_norms_and_change_at_every_tap(case):
    view, items, states = case
    (measure,) = feed([InsideBlocks()], view, [items[:3], items[3:]])
    rows = [r for r in rows_of(measure, "inside") if r["tap"] != "residual" or r["layer"] < 3]
    assert len(rows) == 2 * (6 * (4 + 3) + 2 * 3)
    for row in rows:
        values = []
        for item, found in zip(items, states, strict=True):
            at, here = item.spans[row["span"]], found[row["tap"]]
            x = here[row["layer"]][at]
            later = here[row["layer"] + 1][at] if row["quantity"] == "change" else x
            values.append(np.linalg.norm(x, axis=-1).mean() if row["quantity"] == "norm" else cosine(x, later).mean())
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-9), row
        assert row["n"] == 4


def test_token_pairs_inside_are_opt_in(case):
    view, items, states = case
    centres = pilot(view, [items], SPANS)
    (plain,) = feed([TokenPairs(SPANS, (0, 2), centres)], view, [items])
    assert {r["tap"] for r in rows_of(plain, "similarity")} == {"residual"}
    (measure,) = feed([TokenPairs(SPANS, (0, 2), centres, inside=True)], view, [items])
    done = set()
    for row in rows_of(measure, "similarity"):
        if row["paired"] and row["variant"] == "raw" and row["mode"] in ("max", "median"):
            function = {"max": np.max, "median": np.median}[row["mode"]]
            values = []
            for item, found in zip(items, states, strict=True):
                x, y = (found[row["tap"]][row["layer"]][item.spans[s]] for s in SPANS)
                values.append(function(cosine(x[:, None], y[None])))
            assert row["mean"] == pytest.approx(np.mean(values), rel=1e-9), row
            done.add((row["tap"], row["mode"], row["layer"]))
    assert len(done) == 7 * 2 * 2


def test_similarity_inside_is_that_of_mean_tokens(case):
    view, items, states = case
    centres = pilot(view, [items], SPANS)
    (measure,) = feed([Similarity(SPANS, centres)], view, [items])
    rows = [r for r in rows_of(measure, "similarity") if r["paired"] and r["mode"] == "avg" and r["tap"] != "residual"]
    assert len(rows) == 6 * 4 * 3
    for row in rows:
        keep = 1.0
        if row["variant"] == "no_outliers":
            keep = centres[row["tap"], row["layer"]].keep.double().numpy()
        values, means = (
            [],
            {
                s: [f[row["tap"]][row["layer"]][i.spans[s]].mean(0) for i, f in zip(items, states, strict=True)]
                for s in SPANS
            },
        )
        if row["variant"] == "centred":
            means = {s: [m - np.mean(ms, axis=0) for m in ms] for s, ms in means.items()}
        values = [cosine(a * keep, b * keep) for a, b in zip(*means.values(), strict=True)]
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-7, abs=1e-9), row
