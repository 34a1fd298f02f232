"""One walk down the layers: the model's own forward computes the clean rows, and variant rows beside them.

After each layer has computed the clean rows, the same layer is called on the variants' rows. The model's cache
interface is the packing point: an object in its place keeps the clean keys and values of the layer at hand and puts
them before the variants' own, so that no clean row is computed twice, no cache over layers is kept, and the attention
code is the model's. The last layer returns the rows that are read, and the model's own norm and head finish the job.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Component, Site
from chiasm.models.executors.averages import Average
from chiasm.models.executors.donor_rows import DonorRows
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.patches import PatchedRows, patched_by_branch
from chiasm.models.executors.variant_groups import Chunk
from chiasm.models.frame import cache_name, layer_arguments, layer_output, logits_of
from chiasm.models.masks import (
    as_layer_mask,
    branch_of,
    hide_images,
    replaced_branches,
    zeroed_branches,
    zeroed_heads,
)
from chiasm.models.view import ModelView
from chiasm.models.weights import ready_while_called


class UnheldStateError(ChiasmError, AttributeError):
    """An attention layer asks its cache for something else than keys and values."""


class ContextCache:
    """Stands in for transformers' cache within one layer: keys and values, and the keys of an indexer beside them.

    **Errors:** `UnheldStateError` for whatever else a layer asks of a cache.
    """

    def __init__(self) -> None:
        self._key: Tensor | None = None
        self._value: Tensor | None = None
        self._behind: Int[Tensor, " n"] | int = 0
        self._donor_rows: DonorRows | None = None
        self._of_donors: dict[tuple[DonorRows, str], Tensor] = {}
        self._index: Tensor | None = None
        self.extending = True

    def __getattr__(self, name: str) -> Any:
        # Only what is not there comes here: `get_conv_state`, `layers`, ...
        raise UnheldStateError(
            "walking through attention layers that keep more than keys and values",
            f"they ask their cache for `{name}`, which the walk that all cuts share does not hold",
            "Use --executor reference: one masked forward for each cut",
        )

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The context's keys and values with the caller's after them; while `extending`, they become the context."""
        if self._key is not None and self._value is not None:
            key_states = torch.cat([self._context(self._key, "key"), key_states], dim=-2)
            value_states = torch.cat([self._context(self._value, "value"), value_states], dim=-2)
        if self.extending:
            self._key, self._value = key_states, value_states
        return key_states, value_states

    def update_indexer(self, indexer_key_states: Tensor, layer_idx: int) -> Tensor:
        """The same for the keys (B x rows x width) by which an indexer picks the tokens that are attended to."""
        if self._index is not None:
            indexer_key_states = torch.cat([self._context(self._index, "index"), indexer_key_states], dim=-2)
        if self.extending:
            self._index = indexer_key_states
        return indexer_key_states

    def set_row_positions(self, positions: Int[Tensor, " n"]) -> None:
        """Where in the sequence the rows of the next call stand."""
        self._behind = positions - torch.arange(len(positions), device=positions.device)

    def get_seq_length(self, layer_idx: int = 0) -> Int[Tensor, " n"] | int:
        """How far each row stands behind its number in the call: layers that count rows (Llama 4) add the two."""
        return self._behind

    def read_donors(self, rows: DonorRows | None) -> None:
        """Which rows of the context the next calls read in the donors' clean runs."""
        self._donor_rows = rows

    def _context(self, kept: Tensor, what: str) -> Tensor:
        """What is kept of the clean rows, with the donors' own in place of the rows that are read in donors."""
        rows = self._donor_rows
        if rows is None:
            return kept
        if (rows, what) not in self._of_donors:
            at, lanes = (torch.tensor(numbers, device=kept.device) for numbers in (rows.rows, rows.lanes))
            self._of_donors[rows, what] = kept.index_copy(-2, at, kept[lanes].index_select(-2, at))
        return self._of_donors[rows, what]

    @property
    def filled(self) -> bool:
        return self._key is not None


class Walk:
    """Runs one model forward with `chunks` beside it; `reads` (B x K) indexes clean rows, then the chunks' rows.

    The clean rows `state_rows` are kept at every depth in `states`, at the sites `state_sites`. `any_length`: the model
    goes on with any number of rows from its last layer (`frame.takes_other_lengths`); others are given those that are
    read in parts.
    """

    def __init__(
        self,
        view: ModelView,
        packed: PackedBatch,
        chunks: Sequence[Chunk],
        reads: Int[Tensor, "B K"],
        state_rows: np.ndarray,
        any_length: bool = True,
        state_sites: frozenset[Site] = frozenset({"residual"}),
    ) -> None:
        self._any_length = any_length
        self._state_sites = state_sites
        self._clean_branches: dict[Site, Tensor] = {}
        self._recording: list[RemovableHandle] = []
        self._read: Tensor | None = None
        self._cache_name = "past_key_values"
        self.view, self.packed, self.chunks = view, packed, list(chunks)
        self._reads = reads
        self._state_rows = torch.from_numpy(state_rows).to(packed.device)
        self.states: dict[Site, list[Float[Tensor, "B n D"]]] = {site: [] for site in state_sites}
        # The states of all suffixes, one after the other; none of a sequence that is alone.
        suffixes = [suffix.frame.hidden[:, suffix.prefix :] for suffix in packed.suffixes]
        self._suffix_states = torch.cat(suffixes, dim=1) if suffixes else packed.main.hidden[:, :0]
        self._clean_in: Tensor | None = None
        self._clean_out: Tensor | None = None
        self._cache = ContextCache()
        self._on_variants = False

    @torch.no_grad()
    def logits(self, inputs: dict[str, Any]) -> Float[Tensor, "B K N"]:
        """The model's logits at the read rows."""
        with ExitStack() as stack:
            for index, layer in enumerate(self.view.layers):
                stack.enter_context(layer.register_forward_pre_hook(partial(self._before, index), with_kwargs=True))
                stack.enter_context(layer.register_forward_hook(partial(self._after, index)))
                ready_while_called(layer, stack, raise_weights=self.view.precision.raised)
            logits = self.view.model(**inputs, use_cache=False).logits
        if self._any_length:
            return logits
        assert self._read is not None
        length = self.packed.main.length
        more = [logits_of(self.view, inputs, part) for part in self._read.split(length, dim=1)[1:]]
        return torch.cat([logits, *more], dim=1)[:, : self._reads.shape[1]]

    def _before(self, index: int, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if self._on_variants:
            return None
        hidden, named = layer_arguments(layer, args, kwargs)
        self._take_clean_input(index, hidden)
        self._record_branches(index, layer)
        if self.view.kinds[index] != "attention":
            return None
        name = cache_name(named)
        if name is None:
            found = "it does not take a cache, through which variants see the clean rows"
            raise ChiasmError(f"walking through {type(layer).__name__}", found, "Use --executor reference")
        if self.view.mixes_beside_attention(layer):
            found = "a state space or convolution mixes its tokens beside attention"
            raise ChiasmError(f"walking through {type(layer).__name__}", found, "Use --executor reference")
        self._cache, self._cache_name = ContextCache(), name
        return (hidden,), named | {name: self._cache}

    def _after(self, index: int, layer: nn.Module, args: Any, output: Any) -> Any:
        if self._on_variants:
            return None
        clean = layer_output(output)
        while self._recording:
            self._recording.pop().remove()
        for site in self._state_sites - {"residual"}:
            self.states[site].append(self._clean_branches[site].index_select(1, self._state_rows).cpu())
        if self.view.kinds[index] == "attention" and not self._cache.filled:
            raise ChiasmError(
                f"walking through {type(layer).__name__} (layer {index})",
                "it attends without the cache interface (a linear-attention or state-space layer?)",
                "Use --executor reference",
            )
        self._on_variants = True
        try:
            self._run_variants(index, layer)
        finally:
            self._on_variants = False
        self._clean_out = clean
        if index < len(self.view.layers) - 1:
            return None
        rows = self._finish(clean)
        return (rows, *output[1:]) if isinstance(output, tuple) else rows

    def _take_clean_input(self, index: int, hidden: Float[Tensor, "B S D"]) -> None:
        """Take the clean input of a layer; what the model added between two layers is added to all who follow."""
        before, self._clean_in = self._clean_out, hidden
        self._read_residual(self._clean_rows(hidden))
        if index and before is not None and hidden is not before:
            # DeepStack and its like: additive, known for the main rows, and zero for the text rows of other suffixes.
            delta = torch.zeros_like(hidden[:, :1]).repeat(1, self.packed.length, 1)
            delta[:, : hidden.shape[1]] = hidden - before
            for chunk in self.chunks:
                if chunk.states is not None:
                    chunk.states = chunk.states + delta.index_select(1, chunk.rows[: chunk.states.shape[1]])

    def _read_residual(self, rows: Float[Tensor, "B C D"]) -> None:
        if "residual" in self._state_sites:
            self.states["residual"].append(rows.index_select(1, self._state_rows).cpu())

    def _record_branches(self, index: int, layer: nn.Module) -> None:
        """Keep what the branches that are read, or patched in this layer, add to the clean rows."""
        assert self._clean_in is not None
        shape = self._clean_in.shape[:2]
        self._clean_branches.clear()

        def record(site: Site, module: nn.Module, args: Any, output: Any) -> None:
            self._clean_branches[site] = layer_output(output).reshape(*shape, -1)

        sites = self._state_sites.union(*(chunk.patches.sites(index) for chunk in self.chunks))
        branches: tuple[Component, ...] = ("attention", "mlp")
        for site in (branch for branch in branches if branch in sites):
            branch = branch_of(self.view, layer, site)
            self._recording.append(branch.register_forward_hook(partial(record, site)))

    def _clean_rows(self, main: Float[Tensor, "B S D"]) -> Float[Tensor, "B C D"]:
        """All clean rows: the main sequence's, then the suffixes'."""
        return torch.cat([main, self._suffix_states], dim=1) if self.packed.suffixes else main

    def _run_variants(self, index: int, layer: nn.Module) -> None:
        """The layer on the rows of the suffixes, then on the live rows of every chunk."""
        assert self._clean_in is not None
        clean_in = self._clean_rows(self._clean_in)
        self._key_rows = torch.arange(self.packed.main.length, device=self.packed.device)
        if self.packed.suffixes:
            rows = torch.arange(self.packed.main.length, self.packed.length, device=self.packed.device)
            allowed = self.packed.allowed(self.packed.mask_group(index), rows)
            self._suffix_states = self._call(index, layer, clean_in.index_select(1, rows), rows, allowed)
            self._key_rows = torch.cat([self._key_rows, rows])
        attends = self.view.kinds[index] == "attention"
        averaged = attends and any(chunk.reads_averages(index) for chunk in self.chunks)
        if averaged:
            # Only their keys and values are used: in the cache they follow the clean rows'.
            averages = self.chunks[0].averages
            allowed = averages.allowed(self.packed.length, self.packed.batch)
            self._call(index, layer, averages.states(clean_in), averages.rows, allowed)
            self._key_rows = torch.cat([self._key_rows, averages.rows])
        self._cache.extending = False
        for chunk in self.chunks:
            live = chunk.live(index)
            if not live:
                continue
            rows = chunk.rows[:live]
            known = 0 if chunk.states is None else chunk.states.shape[1]
            joining = clean_in.index_select(1, rows[known:])
            states = joining if chunk.states is None else torch.cat([chunk.states, joining], dim=1)
            for patched in chunk.patches.at("residual", index, live, clean_in):
                states = patched.put_into(states)
            marked = chunk.zeroed(index, live)
            patched = patched_by_branch(chunk.patches, index, live, self._clean_branches)
            if self.view.kinds[index] == "token_mixer":
                plain = self._unpacked(index, layer, chunk, states, marked, patched)
                for number, readers in chunk.averaged(index, live):
                    average = chunk.averages.all[number]
                    averaged = self._unpacked(index, layer, chunk, states, marked, patched, average)
                    plain = torch.where(readers[..., None], averaged, plain)
                chunk.states = plain
                continue
            named: dict[str, Any] = {}
            hidden = chunk.hidden_images(index, live) if self.view.kinds[index] == "cross_attention" else None
            if hidden is not None:
                mask = self.packed.row_arguments(index, rows)["cross_attention_mask"]
                named["cross_attention_mask"], emptied = hide_images(mask, hidden)
                marked = marked | {"attention": emptied | marked.get("attention", torch.zeros_like(emptied))}
            self._cache.read_donors(chunk.donor_rows)
            heads = chunk.zeroed_heads(index, live) if attends else None
            with ExitStack() as stack:
                if heads is not None:
                    stack.enter_context(zeroed_heads(self.view, layer, heads))
                self._change_branches(layer, marked, patched, states, stack)
                chunk.states = self._call(
                    index, layer, states, rows, chunk.allowed(index, live, averaged=averaged), named
                )

    def _change_branches(
        self,
        layer: nn.Module,
        zeroed: Mapping[Component, Bool[Tensor, "B n"]],
        patched: Mapping[Component, Sequence[PatchedRows]],
        states: Float[Tensor, "B n D"],
        stack: ExitStack,
    ) -> None:
        """Zero and patch what the branches of `layer` add, for as long as `stack` is open; a patch after a zero."""
        if zeroed:
            stack.enter_context(zeroed_branches(self.view, layer, zeroed))
        if patched:
            changes = {branch: partial(_put_all, rows) for branch, rows in patched.items()}
            shape = (states.shape[0], states.shape[1])
            stack.enter_context(replaced_branches(self.view, layer, changes, shape))

    def _unpacked(
        self,
        index: int,
        layer: nn.Module,
        chunk: Chunk,
        states: Float[Tensor, "B n D"],
        marked: dict[Component, Bool[Tensor, "B n"]],
        patched: Mapping[Component, Sequence[PatchedRows]],
        average: Average | None = None,
    ) -> Float[Tensor, "B n D"]:
        """Every variant alone, as a whole sequence: this layer mixes tokens in their order, not by a mask.

        With the mean of `average` in place of its keys, if there is one.
        """
        assert self._clean_in is not None
        results = []
        for start, stop in pairwise(int(o) for o in chunk.offsets):
            if start >= states.shape[1]:
                break
            rows = chunk.rows[start:stop]
            whole = self._clean_in.clone()
            whole[:, rows] = states[:, start:stop]
            if average is not None:
                whole = average.in_place(whole, self._clean_in)
            zeroed = {}
            for component, of_chunk in marked.items():
                zeroed[component] = torch.zeros(whole.shape[:2], dtype=torch.bool, device=whole.device)
                zeroed[component][:, rows] = of_chunk[:, start:stop]
            of_group: dict[Component, list[PatchedRows]] = {}
            for component, several in patched.items():
                found = [one.between(start, stop, rows) for one in several]
                of_group[component] = [one for one in found if one is not None]
            with ExitStack() as stack:
                self._change_branches(layer, zeroed, of_group, whole, stack)
                output = layer(whole, **self.packed.main.arguments[index])
            results.append(layer_output(output)[:, rows])
        return torch.cat(results, dim=1)

    def _call(
        self,
        index: int,
        layer: nn.Module,
        states: Float[Tensor, "B n D"],
        rows: Int[Tensor, " n"],
        allowed: Tensor,
        overrides: dict[str, Any] | None = None,
    ) -> Float[Tensor, "B n D"]:
        """The layer on `states`, which stand at the clean rows `rows`, with `overrides` in place of their arguments."""
        named = self.packed.row_arguments(index, rows, self._key_rows) | (overrides or {})
        if self.view.kinds[index] == "attention":
            named["attention_mask"] = as_layer_mask(allowed, self.packed.implementation, states.dtype)
            named[self._cache_name] = self._cache
            self._cache.set_row_positions(self.packed.rows_in_own_forward(rows))
        return layer_output(layer(states, **named))

    def _finish(self, clean: Float[Tensor, "B S D"]) -> Float[Tensor, "B K D"]:
        rows = self._clean_rows(clean)
        self._read_residual(rows)
        everything = torch.cat([rows, *(chunk.states for chunk in self.chunks if chunk.states is not None)], dim=1)
        index = self._reads[..., None].expand(-1, -1, everything.shape[-1])
        read = everything.gather(1, index)
        if self._any_length:
            return read
        length = clean.shape[1]
        self._read = nn.functional.pad(read, (0, 0, 0, -read.shape[1] % length))
        return self._read[:, :length]


def _put_all(patched: Sequence[PatchedRows], states: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
    for rows in patched:
        states = rows.put_into(states)
    return states
