"""States in words: planted words are read, by plain computations as well, and random directions keep their norms."""

import numpy as np
import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support.states import hidden_states

from chiasm.core.example import Example
from chiasm.models.inside.lenses import CONTEXTS, ContextLens, InputLens, OutputLens, random_directions

TEXT = "a red circle and a blue square"


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def states(view):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(6, view.width)))


def test_a_state_that_is_the_words_own_unembedding_row_reads_the_word(view):
    lens = OutputLens(view)
    [circle] = lens.numbers("circle")
    # What the final norm turns into the row.
    row = (view.head.weight[circle] / view.final_norm.weight).detach()
    found = lens.nearest(5 * row[None], 3)
    assert found.ids[0, 0] == circle
    assert lens.word(int(found.ids[0, 0])) == "circle"
    assert found.values[0].tolist() == sorted(found.values[0].tolist(), reverse=True)


def test_the_output_lens_is_the_models_own_head(view, states):
    found = OutputLens(view).nearest(states, 4)
    with torch.no_grad():
        p = torch.softmax(view.head(view.final_norm(states)), dim=-1)
    assert found.ids.tolist() == p.argsort(dim=-1, descending=True)[:, :4].tolist()
    torch.testing.assert_close(found.values, p.sort(dim=-1, descending=True).values[:, :4])


@pytest.mark.parametrize("rows", [64, 8192])
def test_the_input_lens_compares_with_every_row(view, states, rows, monkeypatch):
    monkeypatch.setattr("chiasm.models.inside.lenses._ROWS", rows)
    weight = view.embeddings.weight.detach()
    cosines = torch.nn.functional.cosine_similarity(states[:, None], weight[None], dim=-1)
    found = InputLens(view).nearest(states, 4)
    assert found.ids.tolist() == cosines.argsort(dim=-1, descending=True)[:, :4].tolist()
    torch.testing.assert_close(found.values.double(), cosines.sort(dim=-1, descending=True).values[:, :4])
    [square] = InputLens(view).numbers("square")
    assert InputLens(view).nearest(0.01 * weight[square][None], 1).ids.item() == square


def test_words_in_context_are_the_states_of_their_last_tokens(view):
    lens = ContextLens(view, [TEXT], (0, 2, 4))
    assert lens.words == ["red", "circle", "and", "blue", "square"]  # single letters are no words
    encoded = view.encode(Example(id="t", question=TEXT), instruction="")
    every = hidden_states(view, encoded)
    [token] = OutputLens(view).numbers("circle")
    at = encoded.input_ids[0].tolist().index(token)
    found = lens.nearest(torch.from_numpy(every[[0, 2, 4], at]), 2)
    assert [lens.word(int(one)) for one in found.ids[:, 0]] == ["circle"] * 3
    assert found.values[:, 0].tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert lens.token(int(found.ids[0, 0])) == token
    assert lens.numbers("Circle") == {lens.words.index("circle")}
    assert not lens.numbers("triangle")


def test_a_model_that_takes_no_text_alone_has_no_words_in_context(view, states, monkeypatch, caplog):
    def forward(*args, **more):
        raise ValueError("You have to specify either `pixel_values` or `image_embeds`.")

    monkeypatch.setattr(view.model, "forward", forward)
    lens = ContextLens(view, [TEXT, TEXT], (0, 2))
    assert lens.words == []
    assert lens.nearest(states, 3).ids.shape == (len(states), 0)
    assert caplog.text.count("Words in context are left out") == 1
    assert "takes no text without an input (You have to specify" in caplog.text


def test_a_word_is_read_at_few_places_and_counts_once(view):
    texts = [f"a red circle {'and a square ' * k}" for k in range(7)]
    lens = ContextLens(view, texts, (1, 3))
    assert len(lens.words) == len(set(lens.words))
    assert len(lens._states) <= len(lens.words) * CONTEXTS * 2
    state = torch.from_numpy(np.random.default_rng(1).normal(size=(3, view.width)))
    found = lens.nearest(state, 99)
    assert found.ids.shape == (3, len(lens.words))
    assert all(sorted(row) == list(range(len(lens.words))) for row in found.ids.tolist())


def test_without_texts_there_are_no_words(view, states):
    found = ContextLens(view, [], (0, 4)).nearest(states, 3)
    assert found.ids.shape == found.values.shape == (6, 0)


def test_pieces_of_words_count_from_three_letters_on(view):
    lens = OutputLens(view)
    assert {lens.word(one).lower() for one in lens.numbers("what")} <= {"what", "wha"}
    assert not lens.numbers("zzz")


def test_random_directions_keep_the_norm_and_nothing_else(states):
    drawn = random_directions(states, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.norm(dim=-1), states.norm(dim=-1))
    again = random_directions(states, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, again, rtol=0, atol=0)
    many = random_directions(states[:1].expand(4000, -1), torch.Generator().manual_seed(1))
    cosines = torch.nn.functional.cosine_similarity(many, states[:1], dim=-1)
    assert abs(float(cosines.mean())) < 4 / (4000 * states.shape[1]) ** 0.5
