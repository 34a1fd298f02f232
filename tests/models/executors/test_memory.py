import pytest
import torch
from tests.support.shapes import llava_shaped

from chiasm.interventions import AttentionKnockout, Variant, all_windows
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.skipping.timing import AllocatedBytes


def peak_of(run):
    with AllocatedBytes() as counter:
        run()
    return counter.peak


@pytest.fixture(scope="module")
def sweep():
    """Six layers, width 128, 320 positions: the sweep takes several times the memory of its clean pass."""
    view, found = llava_shaped(layers=6, width=128, inner=352, image_side=16, vocabulary=500)
    cuts = [AttentionKnockout.parse(text) for text in ("image->question", "question->last", "image->last")]
    variants = tuple(Variant(cut.text, (cut.on(found.spans, w),)) for cut in cuts for w in all_windows(6))
    with torch.no_grad():
        clean = peak_of(lambda: view.model(**found.inputs, use_cache=False, logits_to_keep=1))
    return view, Job(found, variants), clean


@pytest.mark.parametrize("budget", [2_000_000, 3_000_000, 20_000_000])
def test_budget_above_the_clean_pass_is_kept(sweep, budget):
    view, job, clean = sweep
    peak = peak_of(lambda: LockstepExecutor(memory=budget, guard=Guard(enabled=False)).run(view, [job]))
    assert peak - clean <= budget


def test_budgets_bind(sweep):
    """Without a bound the smallest of the budgets above is exceeded, so keeping it means something."""
    view, job, clean = sweep
    peak = peak_of(lambda: LockstepExecutor(guard=Guard(enabled=False)).run(view, [job]))
    assert peak - clean > 3_000_000
