"""Projectors by name, and putting one in the place of another: in memory, in a checkpoint, and back.

What is changed: the module that the family calls its projector, the configuration (which then says what stands there),
and the number of image tokens that the processor writes. Decoder and tower are not touched.
"""

import copy
import functools
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from chiasm.core.errors import ChiasmError
from chiasm.interventions.projectors import KEY, ProjectorSpec, spec_of
from chiasm.models.families import FAMILIES
from chiasm.models.projectors.modules import Orthogonal, Pooled, QFormer, Resampler, Residual, mlp

_ATTRIBUTE = "multi_modal_projector"


def build_projector(spec: ProjectorSpec, vision: int, width: int) -> nn.Module:
    """The module from B x N x `vision` patches to B x M x `width` image tokens, with random weights."""
    match spec.kind:
        case "orthogonal":
            return Orthogonal(vision, width)
        case "linear":
            return mlp(vision, width, 1, 0)
        case "mlp":
            return mlp(vision, width, spec.depth, spec.width)
        case "residual":
            blocks = [Residual(width, spec.width) for _ in range(spec.blocks)]
            return nn.Sequential(mlp(vision, width, spec.depth, spec.width), *blocks)
        case "pool":
            return Pooled(spec.stride, mlp(vision, width, spec.depth, spec.width))
        case "perceiver" | "gated":
            return Resampler(vision, width, spec.tokens, spec.depth, spec.width, gated=spec.kind == "gated")
        case "qformer":
            return QFormer(vision, width, spec.tokens, spec.depth, spec.width)


def swap_projector(model: nn.Module, processor: Any, spec: ProjectorSpec, *, seed: int = 0) -> Any:
    """Put a new projector with random weights from `seed` into `model`, and return a processor that fits it.

    The model itself is changed; the given processor is not. `save_pretrained` of both writes a directory that
    `chiasm.load` opens again (plain transformers does not know the new projector and says that its weights are new).

    **Errors:** `ChiasmError` for an architecture whose projector must keep the tower's grid or is none, or a spec that
    does not fit the grid.
    """
    config: Any = model.config
    swappable = [kind for family in FAMILIES if family.projector_can_be_swapped for kind in family.model_types]
    if config.model_type not in swappable:
        raise ChiasmError(
            f"swap the projector of `{config.model_type}`",
            "its image tokens are tied to the grid of patches, or it has no module of that kind",
            f"Use a checkpoint of {', '.join(swappable)}",
        )
    owner = _owner(model)
    before = getattr(owner, _ATTRIBUTE)
    like = next(iter(before.state_dict().values()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build_projector(spec, _vision_width(config), config.text_config.hidden_size)
    if isinstance(made, Orthogonal):
        made.scale.fill_(float(model.get_input_embeddings().weight.detach().float().square().mean().sqrt()))
    setattr(owner, _ATTRIBUTE, made.to(like.device, like.dtype).train(before.training))
    side = config.vision_config.image_size // config.vision_config.patch_size
    count = spec.tokens_for(side, side)
    setattr(config, KEY, asdict(spec))
    config.image_seq_length = count
    return _with_tokens(processor, count)


@functools.cache
def swapped_class(config_class: type) -> type:
    """The architecture of `config_class` as a class whose projector is what the configuration says."""
    base = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[config_class]

    class Swapped(base):  # pyright: ignore[reportGeneralTypeIssues] (chosen at run time)
        def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, *args, **kwargs)
            spec = spec_of(config)
            assert spec is not None
            made = build_projector(spec, _vision_width(config), config.text_config.hidden_size)
            setattr(_owner(self), _ATTRIBUTE, made)

    # Checkpoints name the class they were written by, and transformers renames weights by class and module: this is the
    # architecture's own, with another part in it.
    Swapped.__name__ = Swapped.__qualname__ = base.__name__
    Swapped.__module__ = base.__module__
    return Swapped


def _owner(model: nn.Module) -> nn.Module:
    found = [module for module in model.modules() if _ATTRIBUTE in dict(module.named_children())]
    if len(found) != 1:
        raise ChiasmError(
            f"the projector of {type(model).__name__}",
            f"{len(found)} modules hold a `{_ATTRIBUTE}`",
            "Check that the model is of the class its configuration names",
        )
    return found[0]


def _vision_width(config: Any) -> int:
    layers = config.vision_feature_layer
    return config.vision_config.hidden_size * (1 if isinstance(layers, int) else len(layers))


def _with_tokens(processor: Any, count: int) -> Any:
    """A copy of the processor that writes `count` tokens per image, in the terms of its own configuration."""
    made = copy.deepcopy(processor)
    crop = made.image_processor.crop_size
    whole, dropped = crop["height"], made.vision_feature_select_strategy == "default"
    if crop["width"] != whole:
        raise ChiasmError("swap the projector", f"images are {crop['width']} x {whole}", "Use square images")
    tokens = (whole // made.patch_size) ** 2 + made.num_additional_image_tokens - dropped
    if tokens != count:
        # One patch as large as the image: what is added to it is then all there is to count.
        made.patch_size, made.num_additional_image_tokens = whole, count - 1 + dropped
    return made
