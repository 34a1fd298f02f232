"""Half precision can overflow: an example that it spoils is counted with its reason, and never averaged."""

import pytest
import torch
from tests.support import factories
from tests.support.checkpoints import change_weights
from tests.support.runs import cut, encoded, job, view_of

import chiasm
from chiasm.core.errors import ExampleError
from chiasm.models.executors.jobs import JobReader, require_numbers
from chiasm.models.loading import load

QUERIES = "language_model.model.layers.2.self_attn.q_proj.weight"


def test_a_variant_that_alone_overflows_spoils_its_example():
    found = encoded(view_of("llava"))
    work = job(found, cut(found, "image->question", 0, 2), cut(found, "image->last", 0, 2))
    reader = JobReader(work, torch.zeros(1, 420).log_softmax(-1))
    reader.take(0, torch.full((1, 420), -torch.inf))  # impossible is not undefined
    require_numbers(work, reader.result({}))
    reader.take(1, torch.full((1, 420), float("nan")))
    with pytest.raises(ExampleError, match=r"NaN or infinite logits for this example under `image->last@0:2`"):
        require_numbers(work, reader.result({}))


@pytest.mark.parametrize("executor", ["lockstep", "reference"])
def test_examples_that_overflow_are_counted(tmp_path, executor):
    """Queries 7000 times too long: some dot products pass 65,504, the largest number of float16."""
    factories.save("llava", tmp_path)
    change_weights(tmp_path, lambda tensors: tensors.update({QUERIES: tensors[QUERIES] * 7000}))
    view = load(tmp_path, dtype="float16")
    examples = [factories.example(seed=seed) for seed in range(12)]
    run = chiasm.flow(
        view, data=examples, cuts=["question->last"], keep="all", controls=False, window=1, executor=executor
    )
    failures, kept = run.directory.failures(), run.table("effects")
    assert 0 < len(failures) < 12
    assert all("NaN or infinite logits" in one["reason"] for one in failures)
    assert kept["example_id"].n_unique() == 12 - len(failures)
    assert kept["logprob_cut"].is_finite().all()
