"""What is read of a model in one pass: the same as its own hidden states, whatever the batches."""

import numpy as np
import pytest
import torch
from tests.support.factories import example
from tests.support.runs import view_of

from chiasm.core.errors import ChiasmError
from chiasm.measures.probes.states import permuted_projector, read_projected, read_states


@pytest.fixture(scope="module")
def view():
    return view_of("llava", layers=2)


@pytest.fixture(scope="module")
def rows(view):
    made = [example(seed=k, question=q) for k, q in enumerate(("what?", "is it a very red one?", "which shape?"))]
    return [view.encode(one) for one in made]


def test_states_are_the_models_own(view, rows, tmp_path):
    found = read_states(view, rows, 2, tmp_path, together=True)
    for k, row in enumerate(rows):
        seen = {}
        hooks = [view.projector.register_forward_hook(lambda m, a, o, s=seen: s.update(pre=a[0], post=o))]
        with torch.no_grad():
            states = view.model(**row.inputs, output_hidden_states=True).hidden_states
        hooks[0].remove()
        image = row.spans["image"]
        assert np.allclose(found["pre"][k], seen["pre"].mean(dim=(0, 1)), atol=1e-5)
        assert np.allclose(found["post"][k], seen["post"].mean(dim=(0, 1)), atol=1e-5)
        # transformers gives the last state behind the final norm; the one before it is raw.
        for state in (0, 1):
            assert np.allclose(found[f"layer.{state}.image"][k], states[state][0, image].mean(0), atol=1e-5)
            assert np.allclose(found[f"layer.{state}.last"][k], states[state][0, -1], atol=1e-5)
        with torch.no_grad():
            last = view.final_norm(torch.tensor(np.array(found["layer.2.last"][k])))
        assert np.allclose(last, states[2][0, -1], atol=1e-5)
    assert "cls" in found
    one_by_one = read_states(view, rows, 1, tmp_path / "again", together=False)
    assert found.keys() == one_by_one.keys()
    assert all(np.allclose(found[name], one_by_one[name], atol=1e-5) for name in found)
    assert np.allclose(read_projected(view, rows, 2), found["post"], atol=1e-5)


def test_a_permuted_projector_keeps_its_numbers_and_is_put_back(view, rows):
    before = {name: value.clone() for name, value in view.projector.state_dict().items()}
    own = read_projected(view, rows, 3)
    with permuted_projector(view, 0):
        for name, value in view.projector.state_dict().items():
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
        assert not np.allclose(read_projected(view, rows, 3), own, atol=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in view.projector.state_dict().items())


def test_a_packed_model_is_read_one_picture_at_a_time(tmp_path):
    view = view_of("qwen2_vl", layers=2)
    rows = [view.encode(example(seed=k, size=size)) for k, size in enumerate(((56, 56), (84, 56)))]
    found = read_states(view, rows, 8, tmp_path, together=False)
    assert found["pre"].shape[0] == found["post"].shape[0] == 2
    assert not np.allclose(found["pre"][0], found["pre"][1])


def test_states_that_are_no_numbers_are_named(view, rows, tmp_path):
    weight = view.layers[1].mlp.down_proj.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    try:
        with pytest.raises(ChiasmError, match="layer 1"):
            read_states(view, rows, 3, tmp_path, together=True)
    finally:
        with torch.no_grad():
            weight.copy_(before)
