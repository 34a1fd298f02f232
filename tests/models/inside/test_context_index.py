"""An index of LatentLens: read as what it is, equal to words read here, and refused where it is another model's."""

import pickle
from pathlib import Path

import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support.states import hidden_states

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.models.inside import context_index
from chiasm.models.inside.context_index import IndexLens, index_digest
from chiasm.models.inside.lenses import ContextLens

TEXTS = ("a red circle, a blue square", "is the square left of the circle?")
LAYERS = (1, 2)


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


def records_and_states(view, layers=LAYERS):
    """Every token of the texts behind their first, in the layout that `build_index` of LatentLens 0.1.0 makes."""
    records, states = [], {layer: [] for layer in layers}
    for text in TEXTS:
        encoded = view.encode(Example(id=text, question=text), instruction="")
        every = hidden_states(view, encoded)
        for position in encoded.spans["question"].tolist():
            token = int(encoded.input_ids[0, position])
            written = view.tokenizer.decode([token])
            records.append({"token_str": written, "token_id": token, "caption": text, "position": position})
            for layer in layers:
                states[layer].append(torch.as_tensor(every[layer][position]))
    return records, {
        layer: torch.nn.functional.normalize(torch.stack(of).float(), dim=-1) for layer, of in states.items()
    }


def save(folder: Path, records, states, dtype=torch.float16) -> Path:
    for layer, of in states.items():
        place = folder / f"layer_{layer}"
        place.mkdir(parents=True)
        torch.save(
            {"embeddings": of.to(dtype) if of.is_floating_point() else of, "metadata": records},
            place / "embeddings_cache.pt",
        )
    return folder


def test_nearest_words_are_those_of_the_same_states_read_here(view, tmp_path, monkeypatch):
    records, states = records_and_states(view)
    lens = IndexLens(view, save(tmp_path, records, states, torch.float32))
    own = ContextLens(view, TEXTS, LAYERS)
    assert lens.layers == LAYERS
    assert set(lens.words) == set(own.words)
    assert lens.token(lens.words.index("circle")) == own.token(own.words.index("circle"))
    asked = torch.randn(9, view.width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for rows in (1 << 15, 3):
        monkeypatch.setattr(context_index, "_ROWS", rows)
        found, expected = lens.nearest(asked, 4), own.nearest(asked, 4)
        torch.testing.assert_close(found.values, expected.values, atol=1e-6, rtol=0)
        for mine, theirs in zip(found.ids.tolist(), expected.ids.tolist(), strict=True):
            assert [lens.word(k) for k in mine] == [own.word(k) for k in theirs]


def test_a_state_of_the_index_reads_its_own_word(view, tmp_path):
    records, states = records_and_states(view)
    lens = IndexLens(view, save(tmp_path, records, states))
    place = next(k for k, one in enumerate(records) if one["token_str"].strip() == "blue")
    best = lens.nearest(7 * states[2][place][None], 1)
    assert lens.word(int(best.ids[0, 0])) == "blue"
    assert float(best.values[0, 0]) == pytest.approx(1, abs=1e-3)
    assert lens.numbers("BLUE") == {int(best.ids[0, 0])}
    assert lens.numbers("purple") == frozenset()


def test_pieces_of_words_are_no_words_and_the_last_state_is_left_out(view, tmp_path):
    records, states = records_and_states(view, (1, view.n_layers))
    records = [one | {"caption": "squares"} if one["token_str"].strip() == "square" else one for one in records]
    lens = IndexLens(view, save(tmp_path, records, states))
    assert lens.layers == (1,)
    assert "square" not in lens.words
    assert "circle" in lens.words


class _Runs:
    """What a hostile file would have done where it is read."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_no_code_of_a_file_runs(view, tmp_path):
    (tmp_path / "layer_1").mkdir()
    torch.save({"embeddings": _Runs(tmp_path / "ran"), "metadata": []}, tmp_path / "layer_1" / "embeddings_cache.pt")
    with pytest.raises(ChiasmError, match="cannot be read as tensors and texts alone"):
        IndexLens(view, tmp_path)
    assert not (tmp_path / "ran").exists()


def _wider(records, states):
    return records, {layer: torch.cat([of, of], dim=1) for layer, of in states.items()}


def _renamed(records, states):
    return [one | {"token_str": "zebra"} for one in records], states


def _fewer(records, states):
    return records[:-1], states


def _deeper(records, states):
    return records, {layer + 90: of for layer, of in states.items()}


def _without_tokens(records, states):
    return [{"token_str": one["token_str"]} for one in records], states


def _pieces(records, states):
    return [one | {"caption": ""} for one in records], states


def _unsound(records, states):
    return records, {layer: of.index_fill(0, torch.tensor([1]), torch.nan) for layer, of in states.items()}


def _unknown(records, states):
    return [one | {"token_id": 2**40} for one in records], states


def _whole_numbers(records, states):
    return records, {layer: of.mul(100).int() for layer, of in states.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unsound, "NaN or infinite"),
        (_unknown, "it has a token 1099511627776, and"),
        (_whole_numbers, "no table of states"),
        (_wider, "wide, and those of"),
        (_renamed, "its token .* is 'zebra', and that of"),
        (_fewer, "not one record for each"),
        (_deeper, "of none of its . layers before the last"),
        (_without_tokens, "names no token"),
        (_pieces, "no token of it is a whole word"),
    ],
)
def test_an_index_of_another_model_is_refused(view, tmp_path, change, message):
    save(tmp_path, *change(*records_and_states(view)))
    with pytest.raises(ChiasmError, match=message):
        IndexLens(view, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a file of torch", pickle.dumps({"embeddings": 1}), b"PK\x03\x04" + b"\0" * 64]
)
def test_a_damaged_file_is_refused(view, tmp_path, content):
    (tmp_path / "layer_1").mkdir()
    (tmp_path / "layer_1" / "embeddings_cache.pt").write_bytes(content)
    with pytest.raises(ChiasmError, match="layer_1"):
        IndexLens(view, tmp_path)


def test_a_folder_without_an_index_is_refused(view, tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ChiasmError, match="it holds states of no layer"):
            IndexLens(view, folder)


def test_its_digest_is_of_all_that_it_holds(view, tmp_path):
    records, states = records_and_states(view)
    save(tmp_path / "a", records, states)
    save(tmp_path / "b", records, states)
    assert index_digest(tmp_path / "a") == index_digest(tmp_path / "b")
    file = tmp_path / "b" / "layer_2" / "embeddings_cache.pt"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert index_digest(tmp_path / "a") != index_digest(tmp_path / "b")
