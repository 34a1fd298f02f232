"""Which part of a vision tower the rest of the model reads."""

from torch import nn

from chiasm.models.view import ModelView


def unread_parameters(view: ModelView) -> set[int]:
    """Ids of the parameters that lie behind the deepest tower layer whose states the projector is given.

    They get no gradient from an answer. Towers whose configuration names no layer are read to their end.
    """
    chosen = getattr(view.config, "vision_feature_layer", None)
    stacks = [module for module in view.vision_tower.modules() if isinstance(module, nn.ModuleList)]
    if chosen is None or not stacks:
        return set()
    depths = [chosen] if isinstance(chosen, int) else list(chosen)
    # Hidden state k is the output of layer k - 1, and -1 the last one's.
    deepest = max(depth if depth >= 0 else len(stacks[0]) + 1 + depth for depth in depths)
    behind = {id(p) for layer in stacks[0][deepest:] for p in layer.parameters()}
    norms = [m for name, m in view.vision_tower.named_modules() if name.rpartition(".")[2] == "post_layernorm"]
    return behind | {id(p) for norm in norms for p in norm.parameters()}


def tower_width(view: ModelView) -> int:
    """The width that a tower computes in: that of its layers' norms, whatever its configuration calls it."""
    inside = [m for m in view.vision_tower.modules() if isinstance(m, nn.ModuleList)]
    vectors = [p for m in inside[:1] for p in m.parameters() if p.ndim == 1]
    return len(vectors[0]) if vectors else view.width
