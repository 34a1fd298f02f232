"""What a family made of found rules says of its model: which examples go together, which ids stand for an input."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from chiasm.core.positions import Spans
from chiasm.models.generic.family import generic_family
from chiasm.models.generic.rules import GenericRules

CONFIG = SimpleNamespace(model_type="unheard_of")


def prompt(kind, tiles=2):
    pixels = {"pixel_values": torch.zeros(1, tiles, 3, 4, 4), "input_ids": torch.zeros(1, 4 + tiles)}
    return SimpleNamespace(spans=Spans(4, {kind: np.arange(2)}), inputs=pixels)


@pytest.mark.parametrize(
    ("rules", "kinds", "together"),
    [
        (GenericRules(), ("image", "audio"), True),
        (GenericRules(alone=("audio",)), ("image", "image"), True),
        (GenericRules(alone=("audio",)), ("image", "audio"), False),
        (GenericRules(alone=("audio",)), ("audio",), True),
        (GenericRules(batches=False), ("image", "image"), False),
        (GenericRules(batches=False), ("image",), True),
    ],
)
def test_a_kind_whose_padding_goes_wrong_is_computed_alone(rules, kinds, together):
    assert generic_family(CONFIG, rules).can_batch([prompt(kind) for kind in kinds], CONFIG) is together


@pytest.mark.parametrize(
    ("rules", "together"),
    [
        (GenericRules(), False),
        (GenericRules(pads=True), True),
        (GenericRules(joins={"pixel_values": 1}), True),
        (GenericRules(pads=True, batches=False), False),
    ],
)
def test_inputs_of_other_sizes_go_together_only_where_padding_was_seen_to_go_right(rules, together):
    family = generic_family(CONFIG, rules)
    assert family.can_batch([prompt("image", 2), prompt("image", 3)], CONFIG) is together
    assert family.can_batch([prompt("image", 2), prompt("image", 2)], CONFIG) is rules.batches


def test_tokens_are_found_by_ids_that_nothing_else_has():
    rules = GenericRules(ids={"image": (7, 8), "audio": (9,)}, distinct=("audio",))
    assert generic_family(CONFIG, rules).span_ids(CONFIG) == {"audio": (9,)}


def test_rules_come_back_from_json():
    rules = GenericRules(modalities=("image",), ids={"image": (7,)}, distinct=("image",), alone=("audio",))
    assert GenericRules.from_json(rules.as_json()) == rules


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 2)


class Hears(nn.Module):
    """Names no tower by transformers' accessors; its image tower comes first and has an `encoder` too."""

    def __init__(self):
        super().__init__()
        self.img_processor = Tower()
        self.audio_embed = Tower()

    def get_encoder(self, modality):
        return self

    def get_decoder(self):
        return self


def test_an_encoder_of_images_is_no_tower_of_sounds():
    model = Hears()
    family = generic_family(CONFIG, GenericRules(modalities=("image", "audio")))
    assert family.tower(model, "audio") is model.audio_embed.encoder
    assert family.tower(model, "image") is model.img_processor
    assert {id(one) for one in family.towers(model)} == {id(model.audio_embed.encoder), id(model.img_processor)}
