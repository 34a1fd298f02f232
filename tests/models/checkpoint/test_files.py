"""Only whole safetensors of the directory itself are opened; everything else is named."""

import pytest
import torch
from safetensors.torch import save_file
from tests.support.checkpoints import change_json

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint import files
from chiasm.models.loading import load

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(saved, tmp_path):
    view = load(saved)
    view.model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    view.processor.save_pretrained(tmp_path / "sharded")
    return tmp_path / "sharded"


@pytest.fixture
def opened(monkeypatch):
    """The paths of weights that were opened."""
    seen, whole = [], files.safe_open

    def watched(path, **options):
        seen.append(path)
        return whole(path, **options)

    monkeypatch.setattr(files, "safe_open", watched)
    return seen


@pytest.mark.parametrize("outside", ["../other.safetensors", "a/../../other.safetensors", "{}", "C:\\w.safetensors"])
def test_nothing_outside_the_directory_is_read(sharded, opened, outside):
    other = sharded.parent / "other.safetensors"
    save_file({"lm_head.weight": torch.zeros(420, 48)}, other)
    name = outside.format(other)
    change_json(sharded / INDEX, lambda held: held["weight_map"].update({"lm_head.weight": name}))
    with pytest.raises(ChiasmError, match=r"which lies outside its directory.*Nothing outside is read"):
        load(sharded)
    assert not opened


@pytest.mark.parametrize("named", ["../other.safetensors", "/etc/other.safetensors", "weights.bin"])
def test_weights_that_the_configuration_names_elsewhere(copied, opened, named):
    change_json(copied / "config.json", lambda held: held.update(transformers_weights=named))
    with pytest.raises(ChiasmError, match=r"its config\.json names"):
        load(copied)
    assert not opened


def test_missing_shards_are_counted(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    for shard in shards[:2]:
        shard.unlink()
    with pytest.raises(ChiasmError, match=rf"{shards[0].name}, .* \(2 of {len(shards)} files are missing\)"):
        load(sharded)


def test_two_sets_of_weights(sharded):
    save_file({"lm_head.weight": torch.zeros(420, 48)}, sharded / "model.safetensors")
    with pytest.raises(ChiasmError, match="it holds its weights twice"):
        load(sharded)


def test_a_tensor_in_two_shards(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    with files.safe_open(shards[0], framework="pt") as first, files.safe_open(shards[1], framework="pt") as second:
        name = next(iter(first.keys()))
        both = {key: second.get_tensor(key) for key in second.keys()} | {name: first.get_tensor(name)}  # noqa: SIM118
    save_file(both, shards[1], {"format": "pt"})
    with pytest.raises(ChiasmError, match=f"`{name}` stands in both"):
        load(sharded)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "\x00"])
def test_a_damaged_index(sharded, text):
    (sharded / INDEX).write_text(text)
    with pytest.raises(ChiasmError, match=r"index\.json"):
        load(sharded)


def test_links_may_lead_elsewhere(copied, tmp_path):
    """The hub's own cache is made of links."""
    there = (copied / "model.safetensors").rename(tmp_path / "blob")
    (copied / "model.safetensors").symlink_to(there)
    assert load(copied).n_layers == 4
