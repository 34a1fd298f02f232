"""How weights are kept: a variant holds what it does not share with its base, and comes back whole."""

import pytest
import torch
from recipes.tiny.stages import export
from safetensors.torch import load_file
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextVideoForConditionalGeneration,
    Qwen2AudioForConditionalGeneration,
)

from chiasm.models.projectors.swap import swapped_class
from chiasm.tiny import registry, shapes, store
from chiasm.tiny.tokens import tokenizer

CLASSES = {
    "llava": LlavaForConditionalGeneration,
    "resampler": swapped_class(LlavaConfig),
    "video": LlavaNextVideoForConditionalGeneration,
    "audio": Qwen2AudioForConditionalGeneration,
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Random models that share what the stages share, exported into a folder of their own."""
    words, target = tokenizer(), tmp_path_factory.mktemp("weights")
    tiny, text = shapes.llava(words, 1).state_dict(), shapes.llava(words, 2).state_dict()
    text = {key: tiny[key] if "vision_tower" in key else value for key, value in text.items()}
    aligned = {key: value + 1 if "projector" in key else value for key, value in text.items()}
    video, audio = shapes.llava_next_video(words, 3).state_dict(), shapes.qwen2_audio(words, 4).state_dict()
    few = shapes.resampler(words, 5).state_dict()
    words_of = {key: value for key, value in text.items() if "language_model" in key or "lm_head" in key}
    eyes = {key: value for key, value in tiny.items() if "vision_tower" in key}
    states = {
        "tiny@audio": audio | words_of,
        "tiny": tiny,
        "tiny@video": video | words_of | eyes,
        "tiny@text": text,
        "tiny@aligned": aligned,
        "tiny@resampler": few | words_of | eyes,
    }
    export(states, target)
    return target, states


def test_a_file_holds_what_is_not_shared(shipped):
    target, _ = shipped
    held = {path.stem: load_file(path) for path in target.iterdir()}
    assert all("vision_tower" not in key for key in held["text"])
    assert all("projector" in key for key in held["aligned"])
    assert {key for key in held["video"] if "projector" not in key} == {"model.image_newline"}
    assert all("audio_tower" in key or "projector" in key for key in held["audio"])
    assert (target / "aligned.safetensors").stat().st_size < 70_000


@pytest.mark.parametrize("name", ["tiny", "tiny@text", "tiny@aligned", "tiny@resampler", "tiny@video", "tiny@audio"])
def test_a_model_comes_back_whole(shipped, name, monkeypatch, tmp_path):
    target, states = shipped
    monkeypatch.setattr(registry.weights_file, "__defaults__", (target,))
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path))
    store._fingerprint.cache_clear()
    made = CLASSES[registry.MODELS[name].kind].from_pretrained(store.directory(name)).state_dict()
    store._fingerprint.cache_clear()
    assert made.keys() == states[name].keys()
    assert all(torch.equal(made[key], states[name][key].half().float()) for key in made)


def test_a_base_stands_before_what_is_built_on_it():
    order = list(registry.MODELS)
    for name, model in registry.MODELS.items():
        assert model.base is None or order.index(model.base) < order.index(name)


def test_the_first_opening_draws_no_bar_into_a_log(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path))
    store.directory(registry.RANDOM)
    assert "shards" not in capfd.readouterr().err
