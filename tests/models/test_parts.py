"""Parts of a decoder are found by what they are, under whatever name."""

import pytest
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.models.parts import ATTENTION, MLP, TOKEN_MIXER, has_part, kind_of, part_of


class NamedAttention(nn.Module):
    pass


class StateSpaceMixer(nn.Module):
    pass


class NamedMoE(nn.Module):
    pass


class OneBranch(nn.Module):
    def __init__(self, mixer):
        super().__init__()
        self.norm = nn.LayerNorm(2)
        self.mixer = mixer


@pytest.mark.parametrize(
    ("branch", "kind", "names"),
    [
        (NamedAttention(), "attention", ATTENTION),
        (StateSpaceMixer(), "token_mixer", TOKEN_MIXER),
        (NamedMoE(), "token_mixer", MLP),
    ],
)
def test_a_layer_of_one_branch_is_what_its_class_says(branch, kind, names):
    layer = OneBranch(branch)
    assert kind_of(layer) == kind
    assert part_of(layer, names, "branch") is branch
    others = [name for group in (ATTENTION, TOKEN_MIXER, MLP) if group is not names for name in group]
    assert not any(has_part(layer, name) for name in others)
    with pytest.raises(ChiasmError, match="its parts are norm, mixer"):
        part_of(layer, others, "branch")
