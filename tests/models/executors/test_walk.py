"""What stands in for transformers' cache while all cuts go down the layers at once."""

import pytest
import torch

from chiasm.models.executors.walk import ContextCache, UnheldStateError


def test_keys_of_an_index_are_held_beside_keys_and_values():
    cache = ContextCache()
    clean, own = torch.randn(1, 5, 8), torch.randn(1, 2, 8)
    key, value = torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    assert torch.equal(cache.update_indexer(clean, 0), clean)
    cache.update(key, value, 0)
    cache.extending = False
    for _ in range(2):
        # What variants bring is before no other variant.
        assert torch.equal(cache.update_indexer(own, 0), torch.cat([clean, own], dim=1))
        assert cache.update(key[..., :2, :], value[..., :2, :], 0)[0].shape[-2] == 7


def test_what_else_a_layer_asks_a_cache_for_is_refused_in_words():
    with pytest.raises(UnheldStateError, match=r"ask their cache for `get_conv_state`.*--executor reference"):
        ContextCache().get_conv_state(0)
    # Code that only looks whether there is such a thing goes on.
    assert getattr(ContextCache(), "layers", None) is None
