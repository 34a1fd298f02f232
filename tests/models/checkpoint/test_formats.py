"""Weights in other formats are named, with the way to a directory that can be loaded, and never opened."""

import pickle

import pytest
from tests.support.checkpoints import change_json

from chiasm.core.errors import ChiasmError
from chiasm.models.loading import load


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def exploded(tmp_path):
    return tmp_path / "exploded"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model-Q4_K_M.gguf", r"GGUF, the format of llama\.cpp.*gguf_file"),
        ("pytorch_model.bin", r"only pickled weights, which could run programs \(`pytorch_model\.bin`\)"),
        ("pytorch_model-00001-of-00002.bin", "could run programs"),
        ("consolidated.00.pth", "layout of the model's authors"),
        ("consolidated.safetensors", "layout of the model's authors, not in transformers'"),
        ("tf_model.h5", "those of TensorFlow"),
        ("flax_model.msgpack", "those of Flax"),
    ],
)
def test_another_format_alone(copied, exploded, name, words):
    (copied / "model.safetensors").unlink()
    (copied / name).write_bytes(pickle.dumps(Bomb(exploded)))
    with pytest.raises(ChiasmError, match=words):
        load(copied)
    assert not exploded.exists()


def test_a_file_of_llama_cpp_in_an_empty_directory(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ChiasmError, match=r"`model\.gguf` is in GGUF.*no config\.json"):
        load(tmp_path)


def test_pickled_weights_beside_safetensors_are_left_alone(copied, exploded):
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(exploded)))
    assert load(copied).n_layers == 4
    assert not exploded.exists()


@pytest.mark.parametrize(
    "entries",
    [
        {"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]},
        {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]},
        {"model_type": "llava_mistral", "architectures": None},
        {"model_type": "llama", "mm_vision_tower": "openai/clip-vit-large-patch14-336"},
    ],
)
def test_llava_as_its_authors_save_it(copied, entries):
    change_json(copied / "config.json", lambda held: held.update(entries))
    with pytest.raises(ChiasmError, match=r"format of LLaVA's own code.*`-hf`"):
        load(copied)


@pytest.mark.parametrize("name", ["non_lora_trainables.bin", "mm_projector.bin"])
def test_what_the_training_of_llava_leaves_beside_a_model(copied, exploded, name):
    (copied / name).write_bytes(pickle.dumps(Bomb(exploded)))
    with pytest.raises(ChiasmError, match=rf"`{name}`.*which transformers does not read.*-hf"):
        load(copied)
    assert not exploded.exists()
