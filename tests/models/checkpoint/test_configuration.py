"""A configuration that cannot be that of the files is refused before a model is built from it."""

import time

import pytest
from tests.support.checkpoints import change_json
from transformers import CONFIG_MAPPING

from chiasm.core.errors import ChiasmError
from chiasm.models.loading import load


def altered(folder, part, **entries):
    change_json(folder / "config.json", lambda held: (held[part] if part else held).update(entries))
    return folder


@pytest.mark.parametrize("layers", [10**6, 10**9, 2000, 300])
def test_more_layers_than_there_are_weights_for(copied, layers):
    altered(copied, "text_config", num_hidden_layers=layers)
    start = time.perf_counter()
    with pytest.raises(ChiasmError, match=rf"`text_config.num_hidden_layers` .* is {layers}, .* weights of 4 layers"):
        load(copied)
    assert time.perf_counter() - start < 5


def test_a_few_layers_too_many_are_missing(copied):
    with pytest.raises(ChiasmError, match=r"9 tensors are missing .*layers\.4\."):
        load(altered(copied, "text_config", num_hidden_layers=5))


def test_a_size_that_no_machine_holds(copied):
    with pytest.raises(ChiasmError, match=r"describes [\d,]+ parameters, and its files hold 158,672"):
        load(altered(copied, "text_config", intermediate_size=10**9))


@pytest.mark.parametrize(
    ("part", "entries", "place"),
    [
        ("text_config", {"rms_norm_eps": float("nan")}, "text_config.rms_norm_eps"),
        ("text_config", {"rms_norm_eps": 0.0}, "text_config.rms_norm_eps"),
        ("vision_config", {"patch_size": 0}, "vision_config.patch_size"),
        ("text_config", {"num_attention_heads": -4}, "text_config.num_attention_heads"),
        ("text_config", {"rope_theta": 0.5}, "text_config.rope_theta"),
        ("text_config", {"initializer_range": float("nan")}, "text_config.initializer_range"),
        ("", {"deepstack_visual_indexes": [0, 10**9]}, r"deepstack_visual_indexes\[1\]"),
    ],
)
def test_values_that_no_model_has(copied, part, entries, place):
    with pytest.raises(ChiasmError, match=rf"`{place}` in its config\.json is"):
        load(altered(copied, part, **entries))


@pytest.mark.parametrize(
    ("part", "entries"),
    [
        ("text_config", {"hidden_act": "none such"}),
        ("text_config", {"num_attention_heads": "four"}),
        ("text_config", {"num_attention_heads": 5}),
        ("text_config", {"num_key_value_heads": 4}),
        ("vision_config", {"image_size": 56}),
        ("", {"vision_feature_layer": 40}),
        ("", {"text_config": 3}),
        ("", {"model_type": 3}),
        ("", {"image_token_index": 7}),
    ],
)
def test_values_that_contradict_the_weights_or_each_other(copied, part, entries):
    with pytest.raises(ChiasmError):
        load(altered(copied, part, **entries))


@pytest.mark.parametrize("name", ["t5gemma2", "udop", "whisper", "florence2"])
def test_an_encoder_decoder_is_called_one(tmp_path, name):
    CONFIG_MAPPING[name]().save_pretrained(tmp_path)
    with pytest.raises(ChiasmError, match="an encoder-decoder: an encoder and a decoder"):
        load(tmp_path)
