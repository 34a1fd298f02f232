"""The parts of a decoder by what they are, whatever a class calls them."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from chiasm.core.errors import ChiasmError

# Names under which decoders keep the norm before the head. The unembedding law checks the choice.
_FINAL_NORMS = (
    *("norm", "final_layernorm", "final_layer_norm", "ln_f"),
    *("embedding_norm", "norm_f", "layer_norm", "layernorm"),
)
ATTENTION = ("self_attn", "attention", "attn", "self_attention", "multi_head_attention")
CROSS_ATTENTION = ("cross_attn",)
TOKEN_MIXER = ("conv", "linear_attn", "mamba")
MLP = ("mlp", "feed_forward", "block_sparse_moe", "ffn")
_ONE_BRANCH = "mixer"
OUTPUT_PROJECTION = ("o_proj", "out_proj", "dense", "wo", "c_proj")


LayerKind = Literal["attention", "cross_attention", "token_mixer"]
"""How information moves between positions in a decoder layer: self-attention; attention to the image alone; or a
convolution, a linear attention or a state space, in which there is no pair of positions to cut."""


def decoder_stack(model: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    """The module that owns the decoder layers, and the layers, from transformers' `get_decoder()`."""
    expected = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    candidates = [
        (owner, child)
        for owner in model.get_decoder().modules()
        for child in owner.children()
        if isinstance(child, nn.ModuleList) and len(child) == expected
    ]
    # Experts and the like are lists too: the stack is the one whose members own an attention branch.
    attending = [(o, c) for o, c in candidates if any(kind_of(layer) == "attention" for layer in c)]
    if len(attending) != 1:
        seen = [f"{type(c[0]).__name__} of {', '.join(n for n, _ in c[0].named_children())}" for _, c in candidates]
        raise ChiasmError(
            f"the decoder layers of {type(model).__name__}",
            f"{len(attending)} of its lists of {expected} layers have an attention branch of a known name "
            f"({', '.join(ATTENTION)}); there are {'; '.join(seen) or 'no such lists'}",
            "Open an issue with the model's config.json",
        )
    return attending[0]


def kind_of(layer: nn.Module) -> LayerKind:
    """How information moves in a layer; one that moves none counts as a token mixer, of which nothing is assumed."""
    if any(has_part(layer, name) for name in ATTENTION):
        return "attention"
    return "cross_attention" if any(has_part(layer, name) for name in CROSS_ATTENTION) else "token_mixer"


def final_norm(decoder: nn.Module) -> nn.Module:
    """The norm before the head; the identity where the decoder has none, under whatever name."""
    if any("norm" in name or "norm" in type(child).__name__.lower() for name, child in decoder.named_children()):
        return part_of(decoder, _FINAL_NORMS, "final norm")
    return nn.Identity()


def has_part(module: nn.Module, name: str) -> bool:
    """Whether a layer has a part of that name, or one branch alone that is of that kind."""
    return name in parts_of(module)


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """The parts of a layer by name; one branch alone (`mixer`, Nemotron-H) by what its class says it is."""
    parts = dict(module.named_children())
    mixer = parts.pop(_ONE_BRANCH, None)
    if mixer is not None:
        kind = type(mixer).__name__.lower()
        feeds = any(word in kind for word in ("mlp", "moe"))
        parts[ATTENTION[0] if "attention" in kind else MLP[0] if feeds else TOKEN_MIXER[-1]] = mixer
    return parts


def part_of(module: nn.Module, names: Sequence[str], what: str) -> nn.Module:
    """The one part of `module` that is called by one of `names`; `what` it is, for the error.

    **Errors:** `ChiasmError` where there is none, or more than one.
    """
    children = parts_of(module)
    found = [name for name in names if name in children]
    if len(found) != 1:
        raise ChiasmError(
            f"the {what} of {type(module).__name__}",
            f"its parts are {', '.join(name for name, _ in module.named_children())}",
            "Give the family file a rule for this part",
        )
    return children[found[0]]
