"""What a concept's direction is made from: states of the image's tokens, and the answer's gradients, by layer.

Legend: L layers, D width. State k is the input of block k; state 0 is what the projector gave. Behind the last block
the image's tokens have no way to the answer any more.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.models.encoded import Encoded
from chiasm.models.inside.rerun import Rerun, frozen_model
from chiasm.models.observe import observe
from chiasm.models.view import ModelView


def mean_states(view: ModelView, encoded: Encoded) -> Float[Tensor, "L D"]:
    """The mean over the image's tokens of the state before every block."""
    found: list[Tensor] = []
    observe(view, (), [encoded], ["image"], lambda seen: found.append(seen.states.mean(0).cpu()))
    return torch.stack(found[:-1])


def summed_gradients(rerun: Rerun) -> Float[Tensor, "L D"]:
    """The target's gradient (nat) at the state before every block, summed over the image's tokens.

    Its product with a direction says how the answer changes when all of the image's tokens move that way together.
    """
    with frozen_model(rerun.view), torch.enable_grad():
        states = rerun.hidden(rerun.states[None]).detach().requires_grad_(True)
        passed = [states, *rerun.through(states)]
        found = torch.autograd.grad(rerun.score(passed[-1]).sum(), passed[:-1])
    return torch.stack([g[0, rerun.rows.to(g.device)].double().sum(0).cpu() for g in found])
