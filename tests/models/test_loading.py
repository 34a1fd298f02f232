"""Every way in which a model argument can be wrong is reported as a ChiasmError before anything is computed."""

import json
import shutil

import pytest
import torch
from tests.support import factories
from transformers import BertConfig, BertModel

from chiasm.core.errors import ChiasmError
from chiasm.models.loading import as_device, as_dtype, load, wrap


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return factories.save("llava", tmp_path_factory.mktemp("saved") / "model", dtype=torch.bfloat16)


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def test_a_saved_model_comes_back_with_its_dtype(saved):
    view = load(saved)
    assert next(view.model.parameters()).dtype == torch.bfloat16
    assert (view.precision.weights, view.dtype) == (torch.bfloat16, torch.float32)
    assert view.attention_implementation == "sdpa"
    assert not view.model.training
    example = factories.example()
    assert view.model(**view.encode(example).inputs).logits.isfinite().all()


@pytest.mark.parametrize("family", factories.EVERY)
def test_every_family_comes_back_as_it_was_saved(family, tmp_path, caplog):
    model, processor = factories.build(family)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert load(tmp_path).fingerprint() == wrap(model, processor).fingerprint()
    assert not [record for record in caplog.records if record.name.startswith("chiasm")]


def test_a_model_that_only_an_older_automatic_class_maps(tmp_path):
    view = load(factories.save("audioflamingo3", tmp_path, dtype=torch.float32))
    assert type(view.model).__name__ == "AudioFlamingo3ForConditionalGeneration"
    assert view.fingerprint() == wrap(*factories.build("audioflamingo3")).fingerprint()
    found = view.encode(factories.example("audioflamingo3"))
    assert view.model(**found.inputs).logits.isfinite().all()
    assert len(found.spans["audio"])


def test_dtype_is_changed_on_request(saved):
    assert load(saved, dtype="float64").dtype == torch.float64


def test_loading_leaves_the_weights_as_they_are(saved):
    model, processor = factories.build("llava", dtype=torch.bfloat16)
    assert load(saved).fingerprint() == wrap(model, processor).fingerprint()


def test_the_fingerprint_sees_one_changed_weight(saved):
    view = load(saved)
    before = view.fingerprint()
    with torch.no_grad():
        view.final_norm.weight[3] += 0.5
    assert view.fingerprint() != before


def test_a_sharded_checkpoint_loads(saved, tmp_path):
    view = load(saved)
    view.model.save_pretrained(tmp_path, max_shard_size="100KB")
    view.processor.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load(tmp_path).fingerprint() == view.fingerprint()


@pytest.mark.parametrize("source", ["/nowhere/at/all", "./nowhere", "a/b/c"])
def test_a_missing_directory(source):
    with pytest.raises(ChiasmError, match="there is no such directory"):
        load(source)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(ChiasmError, match="it is a file"):
        load(tmp_path / "weights.safetensors")


def test_a_directory_without_config(tmp_path):
    with pytest.raises(ChiasmError, match=r"not a model: it holds no config\.json"):
        load(tmp_path)


def test_an_adapter_alone(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ChiasmError, match="only an adapter"):
        load(tmp_path)


def test_a_broken_config(copied):
    (copied / "config.json").write_text('{"model_type": ')
    with pytest.raises(ChiasmError, match=r"its config\.json cannot be read"):
        load(copied)


def test_an_unknown_architecture_is_refused_before_its_weights_are_read(tmp_path):
    model = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ChiasmError, match="nearest supported family"):
        load(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 100, 20_000])
def test_truncated_weights(copied, kept):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ChiasmError, match=r"`model\.safetensors` is damaged"):
        load(copied)


def test_missing_weights(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(ChiasmError, match=r"model\.safetensors is not there"):
        load(copied)


def test_pickled_weights_are_not_opened(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ChiasmError, match="could run programs"):
        load(copied)


def test_a_missing_shard(copied):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ChiasmError, match=r"model-00001-of-00002\.safetensors is not there"):
        load(copied)


def test_a_missing_processor(copied):
    for file in copied.iterdir():
        if file.name not in ("config.json", "model.safetensors", "generation_config.json"):
            file.unlink()
    with pytest.raises(ChiasmError, match=r"processor"):
        load(copied)


def test_wrapping_without_a_processor():
    model, _ = factories.build("llava")
    with pytest.raises(ChiasmError, match="no processor was given"):
        wrap(model, None)


def test_a_hub_id_without_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ChiasmError, match="Check the name and the network"):
        load("nobody/has-this-model")


def test_unknown_dtype_and_device():
    with pytest.raises(ChiasmError, match="Name one of float64"):
        as_dtype("int8")
    with pytest.raises(ChiasmError, match="the device `abacus`"):
        as_device("abacus")
