"""An attention branch computed for some rows only, by the module's own code.

The module is called on the rows that compute. Objects in the place of transformers' cache, whose `update` is all that
attention calls, add the keys and values of rows that are only read, so projections, rotary embedding and norms of keys
stay the module's own.

Shape legend: B examples, T rows of the forward, P rows cached before, n rows that compute, m rows that are read,
H key-value heads, E their width.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.frame import cache_name
from chiasm.models.masks import as_layer_mask
from chiasm.models.skipping.rows import Gathered
from chiasm.models.weights import replaced_forward


class _KeysCapturedError(Exception):
    """Ends an attention call once its keys and values are known."""


class _KeyValueCapture:
    """Takes what a call would cache, and ends it there."""

    key: Tensor
    value: Tensor
    layer: int

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.key, self.value, self.layer = key, value, layer_idx
        raise _KeysCapturedError


class _JoinedCache:
    """Puts the keys and values of rows that are only read beside the caller's, in the order of the sequence."""

    def __init__(self, cache: Any, read_only: _KeyValueCapture, order: Int[Tensor, "B m"]) -> None:
        self._cache, self._read_only, self._order = cache, read_only, order

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        key, value = (self._join(*pair) for pair in ((key, self._read_only.key), (value, self._read_only.value)))
        return (key, value) if self._cache is None else self._cache.update(key, value, layer_idx, *args, **kwargs)

    def _join(self, own: Float[Tensor, "B H n E"], read_only: Float[Tensor, "B H s E"]) -> Float[Tensor, "B H m E"]:
        both = torch.cat([own, read_only], dim=2)
        if both.shape[0] == 1:
            return both.index_select(2, self._order[0])
        return both.gather(2, self._order[:, None, :, None].expand(-1, both.shape[1], -1, both.shape[3]))


class _RecordingCache:
    """Passes the first call on to the cache, remembers what the attention then sees, and shows it in later calls."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.seen: tuple[Tensor, Tensor] | None = None

    def update(self, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if self.seen is None:
            self.seen = (key, value) if self._cache is None else self._cache.update(key, value, *args, **kwargs)
        assert self.seen is not None
        return self.seen


class CachedPositions:
    """Which positions the cached keys of shortened layers stand for, as long as the cache lives."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[Any, dict[int, tuple[Gathered, int]]] = weakref.WeakKeyDictionary()

    def remember(self, cache: Any, layer: int, kept: Gathered, length: int) -> None:
        """The first `length` positions are cached as `kept` in `layer`; later ones will be as they are."""
        if cache is not None:
            self._kept.setdefault(cache, {})[layer] = (kept, length)

    def mask(
        self, cache: Any, layer: int, mask: Tensor | None, total: int, implementation: str, dtype: torch.dtype
    ) -> Tensor | None:
        """The mask over the columns that `layer` has, out of `total` positions."""
        known = None if cache is None else self._kept.get(cache, {}).get(layer)
        if known is None or (mask is None and known[0].whole):
            return mask
        kept, length = known
        behind = torch.arange(length, total, device=kept.rows.device).expand(kept.rows.shape[0], -1)
        columns = torch.cat([kept.rows, behind], dim=1)
        valid = torch.cat([kept.valid, torch.ones_like(behind, dtype=torch.bool)], dim=1)
        allowed = valid[:, None]
        if mask is not None:
            allowed = allowed & _take_columns(_as_bool(mask).expand(len(columns), -1, -1), columns)
        return as_layer_mask(allowed, implementation, dtype)


# What is added to its scores or to its output by row in a way that is not followed here.
_NOT_FOLLOWED = frozenset({"alibi", "position_bias", "residual"})


def require_rows(module: nn.Module) -> None:
    """Refuse an attention branch that cannot be called on some of its rows.

    **Errors:** `ChiasmError`.
    """
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    unknown = sorted(_NOT_FOLLOWED.intersection(names))
    if unknown or "hidden_states" not in names:
        found = f"it takes {', '.join(unknown)}" if unknown else f"it takes {', '.join(names)} and no hidden states"
        raise ChiasmError(f"leaving rows out of {type(module).__name__}", found, "Skip feed-forward branches instead")


def _cache_name(named: Mapping[str, Any]) -> str:
    return cache_name(named) or "past_key_values"


def attend(
    forward: Callable[..., Any],
    module: nn.Module,
    named: Mapping[str, Any],
    kept: Gathered,
    read: Gathered,
    read_only: Gathered | None,
    implementation: str,
) -> Float[Tensor, "B T D"]:
    """The branch's output with the rows `kept` computed and zero elsewhere; they see the rows `read`.

    `read_only` are the rows that are read and do not compute (None: there are none).
    """
    hidden, name = named["hidden_states"], _cache_name(named)
    cache = named.get(name)
    length = hidden.shape[1]
    captured = None if read_only is None else keys_and_values(forward, module, named, read_only)
    if not kept.rows.shape[1]:
        if captured is not None and cache is not None:
            cache.update(captured.key, captured.value, captured.layer)
        return torch.zeros_like(hidden)
    own = _rows_of(named, kept)
    own["attention_mask"] = _mask(named.get("attention_mask"), length, kept, read, implementation, hidden.dtype)
    if captured is not None and read_only is not None:
        own[name] = _JoinedCache(cache, captured, _order(kept, read_only, read, length))
    return kept.put(forward(**own)[0], length)


def compute_nothing(module: nn.Module, hidden: Float[Tensor, "B T D"], cache: Any) -> Float[Tensor, "B T D"]:
    """The output where no row attends. One number per row stands for keys and values: the cache counts rows."""
    if cache is not None:
        filler = hidden.new_zeros(hidden.shape[0], 1, hidden.shape[1], 1)
        cache.update(filler, filler, module.layer_idx)
    return torch.zeros_like(hidden)


def reuse_keys_and_values(
    module: nn.Module, hidden: Float[Tensor, "B T D"], cache: Any, index: int
) -> Float[Tensor, "B T D"]:
    """The output where no row attends and the keys and values of the layer before are cached once more.

    Source: the released form of Shukor & Cord 2024 (arXiv 2410.09454).
    """
    if cache is not None:
        before, rows = cache.layers[index - 1], hidden.shape[1]
        cache.update(before.keys[:, :, -rows:], before.values[:, :, -rows:], module.layer_idx)
    return torch.zeros_like(hidden)


def keys_and_values(
    forward: Callable[..., Any], module: nn.Module, named: Mapping[str, Any], rows: Gathered
) -> _KeyValueCapture:
    """The keys and values of `rows`, as the module makes them. Where it has a query projection, that is left out."""
    capture = _KeyValueCapture()
    with ExitStack() as stack:
        query = dict(module.named_children()).get("q_proj")
        if query is not None:
            width = query.out_features

            def nothing(states: Tensor) -> Tensor:
                return states.new_zeros(1).expand(*states.shape[:-1], width)

            stack.enter_context(replaced_forward(query, nothing))
        try:
            forward(**_rows_of(named, rows) | {_cache_name(named): capture, "attention_mask": None})
        except _KeysCapturedError:
            return capture
    raise RuntimeError(f"{type(module).__name__} does not use the cache interface")


def record_attention(named: Mapping[str, Any]) -> tuple[dict[str, Any], _RecordingCache]:
    """The arguments of the same call, with a cache that records the keys and values which the attention sees."""
    name = _cache_name(named)
    recorder = _RecordingCache(named.get(name))
    return dict(named) | {name: recorder}, recorder


def last_row_attention(
    forward: Callable[..., Any], module: nn.Module, named: Mapping[str, Any], recorder: _RecordingCache
) -> Float[Tensor, "B T"]:
    """Attention weight that the last row of every example pays to each row of this forward, mean over heads.

    One row is computed once more, with the eager implementation: the fused ones give no weights.
    """
    hidden = named["hidden_states"]
    batch, length, _ = hidden.shape
    last = Gathered(
        torch.full((batch, 1), length - 1, device=hidden.device),
        torch.ones(batch, 1, dtype=torch.bool, device=hidden.device),
        True,
    )
    assert recorder.seen is not None
    own = _rows_of(named, last) | {_cache_name(named): recorder}
    mask = named.get("attention_mask")
    allowed = (
        torch.ones(batch, 1, recorder.seen[0].shape[2], dtype=torch.bool, device=hidden.device)
        if mask is None
        else _as_bool(mask)[:, -1:].expand(batch, -1, -1)
    )
    own["attention_mask"] = as_layer_mask(allowed, "eager", hidden.dtype)
    config = module.config
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        weights = forward(**own)[1]
    finally:
        config._attn_implementation = before
    return weights[:, :, 0, -length:].mean(1)


def _rows_of(named: Mapping[str, Any], rows: Gathered) -> dict[str, Any]:
    """The call's arguments for the rows gathered; those that are not by row as they are."""
    hidden = named["hidden_states"]
    own = dict(named) | {"hidden_states": rows.take(hidden)}
    if named.get("position_embeddings") is not None:
        cos, sin = named["position_embeddings"]
        own["position_embeddings"] = (rows.take(cos), rows.take(sin))
    if isinstance(named.get("position_ids"), Tensor) and named["position_ids"].ndim == 2:
        own["position_ids"] = rows.take(named["position_ids"])
    return own


def _mask(
    mask: Tensor | None, length: int, kept: Gathered, read: Gathered, implementation: str, dtype: torch.dtype
) -> Tensor | None:
    """The model's mask for the rows `kept` over the columns cached before and those `read`."""
    same = kept.rows.shape == read.rows.shape
    if mask is None and same and kept.whole and read.whole:
        return None
    batch, device = kept.rows.shape[0], kept.rows.device
    if mask is None:
        allowed = torch.ones(length, length, dtype=torch.bool, device=device).tril().expand(batch, -1, -1)
    else:
        allowed = _as_bool(mask).expand(batch, -1, -1)
    past = allowed.shape[-1] - length
    before = torch.arange(past, device=device).expand(batch, -1)
    columns = torch.cat([before, read.rows + past], dim=1)
    valid = torch.cat([torch.ones_like(before, dtype=torch.bool), read.valid], dim=1)
    return as_layer_mask(_take_columns(kept.take(allowed), columns) & valid[:, None], implementation, dtype)


def _take_columns(allowed: Bool[Tensor, "B n C"], columns: Int[Tensor, "B m"]) -> Bool[Tensor, "B n m"]:
    return allowed.gather(2, columns[:, None].expand(-1, allowed.shape[1], -1))


def _as_bool(mask: Tensor) -> Bool[Tensor, "B n C"]:
    picked = mask[:, 0]
    return picked if picked.dtype == torch.bool else picked > torch.finfo(picked.dtype).min / 2


def _order(kept: Gathered, read_only: Gathered, read: Gathered, length: int) -> Int[Tensor, "B m"]:
    """Where each row of `read` stands among the rows `kept` with the rows `read_only` behind them."""
    n = kept.rows.shape[1]
    place = torch.zeros(kept.rows.shape[0], length + 1, dtype=torch.long, device=kept.rows.device)
    for rows, start in ((kept, 0), (read_only, n)):
        # Fillers point beside the sequence, so that they overwrite nobody.
        at = torch.where(rows.valid, rows.rows, length)
        place.scatter_(1, at, torch.arange(start, start + at.shape[1], device=at.device).expand_as(at))
    return place.gather(1, read.rows)
