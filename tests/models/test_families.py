"""Each supported architecture is recognised and its parts are found; others are refused with the nearest named."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.support.factories import EVERY, build
from tests.support.factories import FAMILIES as BUILT
from transformers import CONFIG_MAPPING

from chiasm.core.errors import ChiasmError
from chiasm.models.families import FAMILIES, family_of, listed_family
from chiasm.models.families.base import version_numbers


def test_every_family_has_a_test_model():
    assert sorted(family.name for family in FAMILIES) == sorted(EVERY)


def test_no_architecture_has_two_families():
    types = [model_type for family in FAMILIES for model_type in family.model_types]
    assert len(types) == len(set(types))
    assert set(types) <= set(CONFIG_MAPPING)


@pytest.mark.parametrize("name", BUILT)
def test_the_projector_ends_at_the_width_of_the_decoder(name):
    model, _ = build(name)
    family = family_of(model.config)
    assert family.name == name
    tower, projector = family.vision_tower(model), family.projector(model)
    assert any(isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d) for module in tower.modules())
    linear = [module for module in projector.modules() if isinstance(module, torch.nn.Linear)]
    assert linear[-1].out_features == model.config.get_text_config().hidden_size
    assert not any(module is projector for module in model.get_decoder().modules())


@pytest.mark.parametrize("name", BUILT)
def test_parts_are_found_through_a_lora_wrapper(name):
    model, _ = build(name)
    family = family_of(model.config)
    bare = family.vision_tower(model), family.projector(model)
    wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=2))
    assert family_of(wrapped.config) is family
    assert family.vision_tower(wrapped) is bare[0]
    assert family.projector(wrapped) is bare[1]


@pytest.mark.parametrize(
    ("model_type", "nearest"),
    [("vipllava", "llava"), ("glm4v", "glm4v_moe"), ("video_llava", "llava")],
)
def test_an_unknown_architecture_is_refused_with_the_nearest_named(model_type, nearest):
    with pytest.raises(ChiasmError, match=rf"`{model_type}`.*nearest supported family is `{nearest}"):
        family_of(CONFIG_MAPPING[model_type]())


def test_a_text_model_is_refused_as_one_that_perceives_nothing():
    with pytest.raises(ChiasmError, match="names neither a vision nor an audio part"):
        family_of(CONFIG_MAPPING["llama"]())


def test_a_family_that_needs_a_later_transformers_says_so(monkeypatch):
    (family,) = [family for family in FAMILIES if family.name == "llava"]
    config = CONFIG_MAPPING["llava"]()
    assert listed_family(config) is family
    monkeypatch.setattr(type(family), "min_transformers", "99.1")
    with pytest.raises(ChiasmError, match=r"transformers \d.* is installed, and `llava` needs 99\.1"):
        listed_family(config)


def test_versions_are_ordered_by_their_numbers():
    assert version_numbers("5.9.1") < version_numbers("5.10.0.dev0") < version_numbers("5.10.2")
