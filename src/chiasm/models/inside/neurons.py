"""Neurons of the decoder's feed-forward branches: what they add to an answer, their words, and the loss without them.

A neuron is one dimension of what the branch's last projection reads: for gated branches act(gate) x up, for plain ones
the activation itself. Legend: L layers, K neurons of a layer, B variants, n image tokens, D width, N vocabulary.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits
from chiasm.models.inside.rerun import Rerun, frozen_model, max_variants, projected_positions
from chiasm.models.view import ModelView
from chiasm.models.words import text_of


class _NeuronModules(NamedTuple):
    """`down` reads the neurons; `gate` gives the activations whose sign says whether a neuron is active."""

    down: nn.Module
    gate: nn.Module


@final
class Neurons:
    """The neurons of every decoder layer of `view`, found by one recorded forward of `encoded`.

    Adapters around the projections (PEFT) count as part of them.

    **Errors:** `ChiasmError` for branches without one projection that every token passes (experts, ...).
    """

    def __init__(self, view: ModelView, encoded: Encoded) -> None:
        self.view = view
        self._branches = _branches(view, encoded)
        with torch.no_grad():
            self.columns: Float[Tensor, "L K D"] = torch.stack([_columns(b.down, view) for b in self._branches])

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and neurons in each."""
        return self.columns.shape[0], self.columns.shape[1]

    def by_gradient(self, rerun: Rerun) -> Float[Tensor, "L K"]:
        """Activation times the target's gradient at it (nat), summed over the image's tokens.

        The first-order estimate of what setting the neuron to zero at the image's tokens takes away.

        Source: Schwettmann et al. 2023 (ICCV workshops), section 3; there summed or maximised over patches: unknown.
        """
        with frozen_model(self.view), self._reading() as kept, torch.enable_grad():
            states = rerun.states[None].clone().requires_grad_(True)
            found = torch.autograd.grad(rerun(states).sum(), kept)
        rows = rerun.rows
        parts = [(a[0, rows.to(a.device)] * g[0, rows.to(a.device)]).detach() for a, g in zip(kept, found, strict=True)]
        return torch.stack([p.double().sum(0).cpu() for p in parts])

    @torch.no_grad()
    def by_unembedding(self, rerun: Rerun, token: int, *, released: bool = False) -> Float[Tensor, "L K"]:
        """Activation where `token` is predicted times what the neuron writes along that token's row of the head.

        The gain of the final norm is part of the way; `released` leaves it out, as the code does.

        Source: Pan et al. 2024 (arXiv 2311.07470) and its code. Assumption: what is written early is still there at
        the end, and later layers do not read it.
        """
        with frozen_model(self.view), self._reading() as kept:
            rerun(rerun.states[None])
        at = rerun.first_read
        gain = 1.0 if released else _gain(self.view)
        written = (self.columns * gain) @ self.view.head.weight[token].to(self.columns)
        return torch.stack([states[0, at].to(written) for states in kept]).mul(written).double().cpu()

    @torch.no_grad()
    def active(self, encoded: Encoded) -> tuple[Int[Tensor, "L K"], int]:
        """At how many of the image's tokens each neuron is active (activation above 0), and how many tokens there are.

        Source: Huo et al. 2024 (EMNLP, arXiv 2406.11193), released code: the activation of the gate is what counts.
        """
        counts: list[Tensor] = []
        rows = torch.from_numpy(projected_positions(encoded))

        def count(module: nn.Module, args: Any, output: Tensor) -> None:
            counts.append((output[0, rows.to(output.device)] > 0).sum(0).cpu())

        with ExitStack() as stack:
            for branch in self._branches:
                stack.enter_context(branch.gate.register_forward_hook(count))
            stack.enter_context(self.view.readable_attention())
            self.view.model(**encoded.inputs, **keep_logits(self.view, slice_to=1), use_cache=False)
        return torch.stack(counts), len(rows)

    @torch.no_grad()
    def without(self, rerun: Rerun, off: Bool[Tensor, "B L K"]) -> Float[Tensor, " B"]:
        """The target (nat) with the marked neurons at zero, at all positions."""
        found = []
        with frozen_model(self.view):
            for part in off.split(max_variants(rerun, gradients=False)):
                with self._silenced(part):
                    found.append(rerun(rerun.states.expand(len(part), -1, -1)).double().cpu())
        return torch.cat(found)

    @torch.no_grad()
    def words(self, layer: int, neuron: int, count: int = 5) -> list[str]:
        """The tokens that the neuron's output vector is closest to, by final norm and head.

        Source: Schwettmann et al. 2023.
        """
        logits = self.view.unembed(self.columns[layer, neuron][None].to(self.view.dtype))[0]
        return [text_of(self.view.tokenizer, [token]).strip() for token in logits.topk(count).indices.tolist()]

    @contextmanager
    def _reading(self) -> Iterator[list[Tensor]]:
        """While open, what each layer's last projection reads is put behind what is in the list."""
        kept: list[Tensor] = []
        with ExitStack() as stack:
            for branch in self._branches:
                stack.enter_context(branch.down.register_forward_pre_hook(lambda module, args: kept.append(args[0])))
            yield kept

    @contextmanager
    def _silenced(self, off: Bool[Tensor, "B L K"]) -> Iterator[None]:
        with ExitStack() as stack:
            for branch, own in zip(self._branches, off.unbind(dim=1), strict=True):
                if bool(own.any()):
                    stack.enter_context(branch.down.register_forward_pre_hook(partial(_silence, own)))
            yield


def _silence(off: Bool[Tensor, "B K"], module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].masked_fill(off[:, None].to(args[0].device), 0), *args[1:])


def _columns(down: nn.Module, view: ModelView) -> Float[Tensor, "K D"]:
    """What each neuron writes into the residual stream when it is 1, in float32 at least."""
    ones = torch.eye(down.in_features, dtype=view.dtype, device=next(down.parameters()).device)
    nothing = down(torch.zeros_like(ones[:1]))
    return (down(ones) - nothing).to(torch.promote_types(view.dtype, torch.float32)).to(view.device)


def _gain(view: ModelView) -> Tensor:
    """The final norm's factor per dimension: of RMS norms, what they make of a vector of ones."""
    ones = torch.ones(1, view.width, dtype=view.dtype, device=view.head.weight.device)
    return view.final_norm(ones)[0]


@torch.no_grad()
def _branches(view: ModelView, encoded: Encoded) -> tuple[_NeuronModules, ...]:
    last: dict[int, tuple[nn.Module, Tensor]] = {}
    gates: dict[int, nn.Module] = {}

    def record(index: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        last[index] = (module, args[0] if args and isinstance(args[0], Tensor) else torch.empty(0))
        if not any(True for _ in module.parameters()):
            gates[index] = module

    with ExitStack() as stack:
        for index, layer in enumerate(view.layers):
            for child in view.mlp_of(layer).children():
                stack.enter_context(child.register_forward_hook(partial(record, index)))
        stack.enter_context(view.readable_attention())
        view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False)
    for index in range(view.n_layers):
        down, given = last.get(index, (nn.Identity(), torch.empty(0)))
        by_token = given.ndim == 3 and given.shape[1] == encoded.length
        if index not in gates or not by_token or getattr(down, "in_features", -1) != given.shape[-1]:
            raise ChiasmError(
                f"the neurons of {view.name}",
                f"the feed-forward branch of layer {index} is no activation between two projections of every token",
                "Neurons of experts are not supported: use attribution and concepts",
            )
    return tuple(_NeuronModules(last[k][0], gates[k]) for k in range(view.n_layers))
