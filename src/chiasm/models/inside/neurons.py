"""Neurons of the decoder's feed-forward branches: what they add to an answer, their words, and the loss without them.

A neuron is one dimension of what the branch's last projection reads: for gated branches act(gate) x up, for plain ones
the activation itself. Legend: L layers, K neurons of a layer, B variants, n image tokens, D width, N vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits
from chiasm.models.inside.rerun import Rerun, frozen_model, max_variants, projected_positions
from chiasm.models.view import ModelView


class _Branch(NamedTuple):
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
        kept: list[Tensor] = []

        with frozen_model(self.view), self._reading(lambda layer, states: kept.append(states)), torch.enable_grad():
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
        kept: list[Tensor] = []
        with frozen_model(self.view), self._reading(lambda layer, states: kept.append(states)):
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

        handles = [branch.gate.register_forward_hook(count) for branch in self._branches]
        try:
            with self.view.readable_attention():
                self.view.model(**encoded.inputs, **keep_logits(self.view, slice_to=1), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
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
        return [self.view.tokenizer.decode([int(token)]).strip() for token in logits.topk(count).indices]

    @contextmanager
    def _reading(self, on_states: Callable[[int, Tensor], None]) -> Iterator[None]:
        """While open `on_states` is given each layer's number and what its last projection reads."""

        def hook(layer: int) -> Any:
            def read(module: nn.Module, args: tuple[Any, ...]) -> None:
                on_states(layer, args[0])

            return read

        handles = [b.down.register_forward_pre_hook(hook(layer)) for layer, b in enumerate(self._branches)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _silenced(self, off: Bool[Tensor, "B L K"]) -> Iterator[None]:
        def hook(layer: int) -> Any:
            def silence(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                return (args[0].masked_fill(off[:, layer, None].to(args[0].device), 0), *args[1:])

            return silence

        chosen = [layer for layer in range(len(self._branches)) if bool(off[:, layer].any())]
        handles = [self._branches[layer].down.register_forward_pre_hook(hook(layer)) for layer in chosen]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


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
def _branches(view: ModelView, encoded: Encoded) -> tuple[_Branch, ...]:
    last: list[tuple[nn.Module, Tensor]] = []
    gates: dict[int, nn.Module] = {}
    length = encoded.length

    def hook(index: int) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            given = args[0] if args and isinstance(args[0], Tensor) else torch.empty(0)
            while len(last) <= index:
                last.append((module, given))
            last[index] = (module, given)
            if not any(True for _ in module.parameters()):
                gates[index] = module

        return record

    branches: Sequence[nn.Module] = [view.mlp_of(layer) for layer in view.layers]
    handles = [c.register_forward_hook(hook(k)) for k, branch in enumerate(branches) for c in branch.children()]
    try:
        with view.readable_attention():
            view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    for index in range(len(branches)):
        known = index < len(last) and index in gates
        down, given = last[index] if known else (nn.Identity(), torch.empty(0))
        plain = given.ndim == 3 and given.shape[1] == length and getattr(down, "in_features", -1) == given.shape[-1]
        if not (known and plain):
            raise ChiasmError(
                f"the neurons of {view.name}",
                f"the feed-forward branch of layer {index} is no activation between two projections of every token",
                "Neurons of experts are not supported: use attribution and concepts",
            )
    return tuple(_Branch(last[k][0], gates[k]) for k in range(len(branches)))
