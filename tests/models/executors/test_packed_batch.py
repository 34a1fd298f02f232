"""Which arguments of a layer are gathered by row, and which by key."""

import torch

from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.frame import Frame


def test_arguments_with_one_entry_for_each_key_hold_the_keys_before_too():
    turned = torch.arange(4.0).reshape(1, 4, 1)
    frame = Frame(torch.zeros(1, 4, 8), ({"position_embeddings": (turned, -turned), "attention_mask": None},))
    rows, read = torch.tensor([2, 3]), torch.arange(4)
    plain = PackedBatch(frame, (), "sdpa", ("attention",))
    (by_row, _) = plain.row_arguments(0, rows, read)["position_embeddings"]
    assert by_row.flatten().tolist() == [2, 3]
    indexed = PackedBatch(frame, (), "sdpa", ("attention",), by_key=frozenset({"position_embeddings"}))
    cosines, sines = indexed.row_arguments(0, rows, read)["position_embeddings"]
    # The rows' own come last, where a layer takes them from the end.
    assert cosines.flatten().tolist() == [0, 1, 2, 3, 2, 3]
    assert torch.equal(sines, -cosines)
