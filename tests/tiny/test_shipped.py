"""What is shipped: small enough, opened by transformers, as good as the card says, and distinct from chance."""

import json
import subprocess
import sys

import pytest
import torch
from recipes.tiny.card import CARD, JSON, digest, render
from recipes.tiny.evaluate import accuracy
from safetensors.torch import load_file
from transformers import (
    AutoProcessor,
    CLIPModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextVideoForConditionalGeneration,
    Qwen2AudioForConditionalGeneration,
)

from chiasm.models.projectors.swap import swapped_class
from chiasm.tiny import NAMES, directory, names
from chiasm.tiny.registry import BASE, MODELS, RANDOM, SHIPPED, baseline, sources, untrained, world

CLASSES = {
    "clip": CLIPModel,
    "llava": LlavaForConditionalGeneration,
    "resampler": swapped_class(LlavaConfig),
    "video": LlavaNextVideoForConditionalGeneration,
    "audio": Qwen2AudioForConditionalGeneration,
}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHIASM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_all_stages_together_fit_into_the_wheel():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 20e6


def test_every_name_opens_with_transformers():
    assert {"tiny", "tiny@tower", "tiny@text", "tiny@aligned", "tiny-random"} <= set(names()) <= set(NAMES)
    assert set(NAMES) == set(MODELS)
    for name in names():
        place = directory(name)
        assert directory(name) == place
        model, info = CLASSES[MODELS[name].kind].from_pretrained(place, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        assert AutoProcessor.from_pretrained(place).tokenizer.convert_tokens_to_ids("<image>") == 2


def test_the_stages_differ_where_they_should():
    """What is frozen is not in a file, so a mapping onto the text decoder costs a projector and an encoder at most."""
    for name in (name for name in names() if not untrained(name) and name not in (BASE, "tiny@tower")):
        own = load_file(SHIPPED / f"{name.removeprefix('tiny@')}.safetensors")
        decoder = any("language_model" in key for key in own)
        assert decoder == (name in ("tiny@text", "tiny@noalign")), name
        if MODELS[name].kind == "llava":
            tower = any("vision_tower" in key for key in own)
            assert tower == (name in ("tiny@supervised", "tiny@mae")), name
        assert any("projector" in key for key in own), name


def test_a_mapping_has_the_decoder_of_the_text_stage():
    held = {
        name: LlavaForConditionalGeneration.from_pretrained(directory(name)).model.language_model.state_dict()
        for name in ("tiny@text", "tiny@aligned", "tiny")
    }
    assert all(torch.equal(value, held["tiny@aligned"][key]) for key, value in held["tiny@text"].items())
    assert not torch.equal(held["tiny"]["norm.weight"], held["tiny@text"]["norm.weight"])
    parts = ["model.safetensors", "text.safetensors", "aligned.safetensors"]
    assert [path.name for path in sources("tiny@aligned")] == parts


def test_the_random_weights_baseline_is_the_same_everywhere():
    code = "from chiasm.tiny import directory; print(directory('tiny-random'))"
    place = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert place == str(directory("tiny-random"))


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="tiny-random"):
        directory("tiny@nothing")


def test_tiny_answers_and_its_baseline_does_not():
    seen = accuracy(directory("tiny"), each=50, seed=11)
    # 95 % is the aim; on 300 questions three standard errors below it is 91 %.
    assert seen["right"] / seen["n"] > 0.91
    assert all(kind["right"] / kind["n"] > 0.8 for kind in seen["types"].values())
    assert accuracy(directory("tiny-random"), each=10, seed=11)["right"] == 0


def test_without_the_image_it_guesses():
    blind = accuracy(directory("tiny"), "blank", each=50, seed=11)
    # Half of each type; three standard errors of 50 are 21 points.
    assert all(abs(kind["right"] - kind["majority"]) / kind["n"] < 0.21 for kind in blind["types"].values())


def test_the_card_is_its_json():
    assert CARD.read_text() == render(json.loads(JSON.read_text()))


def test_the_card_is_of_these_weights():
    card = json.loads(JSON.read_text())
    assert {name: digest(name) for name in names()} == {
        name: part["weights"] for name, part in card["measured"].items()
    }


def test_the_card_keeps_the_promises():
    measured = json.loads(JSON.read_text())["measured"]
    tiny = measured["tiny"]["media"]
    assert tiny["right"] / tiny["n"] >= 0.95
    assert all(part["right"] / part["n"] >= 0.9 for part in tiny["types"].values())
    for part in measured["tiny"]["blank"]["types"].values():
        assert abs(part["right"] - part["majority"]) / part["n"] <= 0.05


def test_random_models_of_all_modalities_share_one_decoder():
    """As the trained ones do: tokens of two decoders lie on axes that mean different things."""
    states = [load_file(directory(n) / "model.safetensors") for n in (RANDOM, f"{RANDOM}@video", f"{RANDOM}@audio")]
    decoders = [
        {k[k.index(".layers.") :]: v for k, v in state.items() if "language_model" in k and ".layers." in k}
        for state in states
    ]
    assert len(decoders[0]) > 40
    for other in decoders[1:]:
        assert other.keys() == decoders[0].keys()
        assert all(torch.equal(value, decoders[0][key]) for key, value in other.items())


def test_every_model_has_a_control_of_its_own_shape_and_a_world():
    """A baseline with another projector or encoder would be a control of something else."""
    for name in (name for name in names() if baseline(name) is not None):
        random = baseline(name)
        assert MODELS[random].kind == MODELS[name].kind
        assert untrained(random)
        assert world(random) == world(name)
    assert baseline("tiny@tower") is None
    assert baseline(RANDOM) is None
    assert {baseline(name) for name in ("tiny", "tiny@mae", "tiny@video")} == {RANDOM, "tiny-random@video"}
