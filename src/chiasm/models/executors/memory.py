"""How many bytes a walk takes above its clean pass, and the largest chunks that keep a budget."""

import ctypes
import platform
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from chiasm.core.errors import ChiasmError
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.variant_groups import VariantGroup
from chiasm.models.view import ModelView

# Beyond this many rows a call gains no speed (matrix products are efficient, and rows of one chunk that do not see
# each other still cost attention): measured in docs/bench.md.
MAX_ROWS = 320
# Below this many, matrix products lose speed (measured there too).
MIN_ROWS = 128
# Of short sequences rows of other variants would soon be more than the clean ones, and most scores in vain: no call
# holds more rows than this times the clean ones (measured there too).
_ROWS_PER_CLEAN = 2
# Freed memory goes back to the system late and in pieces: resident memory was up to 1.36 times the estimate below
# (bench/results, four questions under 100MB).
MARGIN = 1.5


class Sizes(NamedTuple):
    """What the estimate needs to know about a model: widths in elements, `item` in bytes."""

    width: int
    inner: int
    key_width: int
    query_width: int
    heads: int
    vocabulary: int
    item: int
    eager: bool

    @classmethod
    def of(cls, view: ModelView) -> "Sizes":
        config = view.text_config
        layers = view.layer_configurations()
        heads = [int(layer.num_attention_heads) for layer in layers]
        head = [int(getattr(layer, "head_dim", None) or config.hidden_size // n) for layer, n in zip(layers, heads)]
        groups = [int(getattr(layer, "num_key_value_heads", None) or n) for layer, n in zip(layers, heads)]
        inner = max(_widest(getattr(layer, "intermediate_size", None)) or 4 * config.hidden_size for layer in layers)
        return cls(
            width=int(config.hidden_size),
            inner=inner,
            key_width=max(n * size for n, size in zip(groups, head)),
            query_width=max(n * size for n, size in zip(heads, head)),
            heads=max(heads),
            vocabulary=int(config.vocab_size),
            item=torch.finfo(view.dtype).bits // 8,
            eager=view.attention_implementation == "eager",
        )


def _widest(named: int | Sequence[int] | None) -> int:
    """A width, or the largest where one is named for each layer; 0 where none is."""
    return max(named) if isinstance(named, Sequence) else int(named or 0)


def _walk_bytes(
    sizes: Sizes, packed: PackedBatch, groups: Sequence[VariantGroup], reads: int, rows: int, averaged: int
) -> int:
    """Bytes of a walk with `groups` in calls of `rows` rows: what is held throughout, and what one call needs.

    `averaged`: rows that stand for averaged keys, in a call of their own.
    """
    carried, columns = sum(len(group.rows) for group in groups), packed.length + averaged + rows
    rows = max(rows, averaged)
    # Held: the variants' states, the chunks' masks, the logits that are read.
    states = 2 * carried * sizes.width * sizes.item
    masks = carried * columns * 5
    logits = (len(groups) + 1) * reads * sizes.vocabulary * (sizes.item + 2 * 4)
    inside = rows * (6 * sizes.width + 3 * sizes.inner + 4 * sizes.query_width) * sizes.item
    # Keys and values: the context kept, joined with the chunk's, and repeated over query groups where sdpa asks.
    pairs = columns * (4 * sizes.key_width + 2 * sizes.query_width) * sizes.item
    scores = rows * columns * (4 + sizes.item + (3 * sizes.heads * 4 if sizes.eager else 0))
    # Masks of each head where some read less than others; the context once more where donors' rows stand in it.
    if any(group.in_heads for group in groups):
        scores += rows * columns * sizes.heads * (2 + sizes.item)
    donors = {group.donor_rows for group in groups if group.donor_rows is not None}
    pairs += len(donors) * packed.length * 2 * sizes.key_width * sizes.item
    return packed.batch * (states + masks + logits + inside + pairs + scores)


def max_rows(length: int) -> int:
    """The most rows of one layer call beside `length` clean rows: more take longer, each."""
    return min(MAX_ROWS, max(MIN_ROWS, _ROWS_PER_CLEAN * length))


def _rows_per_call(
    sizes: Sizes,
    packed: PackedBatch,
    groups: Sequence[VariantGroup],
    reads: int,
    budget: int | None,
    min_rows: int,
    averaged: int,
) -> int | None:
    """The most rows per layer call, but `min_rows` at least, that keep `budget`; None if these groups do not fit."""
    min_rows = max(min_rows, max(len(group.rows) for group in groups))
    rows = max(max_rows(packed.length), min_rows)
    while budget is not None and _walk_bytes(sizes, packed, groups, reads, rows, averaged) > budget:
        if rows == min_rows:
            return None
        rows = max(min_rows, rows * 3 // 4)
    return rows


def memory_passes(
    sizes: Sizes,
    packed: PackedBatch,
    groups: Sequence[VariantGroup],
    reads: int,
    budget: int | None,
    averaged: int = 0,
) -> list[tuple[list[VariantGroup], int]]:
    """Groups split into as few walks as the budget allows, each with its rows per call.

    `averaged`: how many rows stand for averaged keys, in every walk.

    **Errors:** `ChiasmError` if a single variant does not fit.
    """
    if not groups:
        return [([], MAX_ROWS)]
    # Another walk costs one clean pass; calls of few rows cost more than that and hardly save memory. A budget that
    # leaves no margin is tried to the byte rather than refused.
    for min_rows, margin in ((MIN_ROWS, MARGIN), (1, MARGIN), (1, 1.0)):
        limit = None if budget is None else int(budget / margin)
        for count in range(1, len(groups) + 1):
            ends = [len(groups) * k // count for k in range(count + 1)]
            parts = [list(groups[a:b]) for a, b in pairwise(ends)]
            rows = [_rows_per_call(sizes, packed, part, reads, limit, min_rows, averaged) for part in parts]
            fitting = [(part, n) for part, n in zip(parts, rows, strict=True) if n is not None]
            if len(fitting) == count:
                return fitting
    need = max(_walk_bytes(sizes, packed, [group], reads, len(group.rows), averaged) for group in groups)
    found = f"one variant alone needs about {need:,} bytes beside the clean pass"
    raise ChiasmError(f"a memory budget of {budget:,} bytes", found, f"Give at least --memory {-(-need // 10**6)}MB")


def release_memory() -> None:
    """Give freed memory back to the system between two walks: glibc keeps it, and the next walk would come on top."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
