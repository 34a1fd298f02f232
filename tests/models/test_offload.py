"""Models whose weights live on disk: the same numbers, and every weight read once a walk."""

from collections import Counter

import pytest
import torch
from accelerate import disk_offload, dispatch_model
from accelerate.utils import OffloadedWeightsLoader
from tests.support.factories import build
from tests.support.runs import cut, difference, encoded, job, outcomes, view_of

from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

QUESTIONS = ("What is it?", "Is the red thing on the left?")


def jobs_of(view, *seeds, questions=(None,)):
    found = [encoded(view, seed=seed, question=question) for seed in seeds for question in questions]
    return [
        job(e, *(cut(e, text, k, k + 2) for text in ("image->question", "question->last") for k in range(3)))
        for e in found
    ]


def on_disk(family, folder):
    model, processor = build(family)
    disk_offload(model, str(folder), execution_device=torch.device("cpu"))
    view = ModelView(model, processor, family)
    assert next(view.layers[0].parameters()).device.type == "meta"
    return view


@pytest.fixture
def reads(monkeypatch):
    """How often each weight is read from disk."""
    counted, plain = Counter(), OffloadedWeightsLoader.__getitem__

    def counting(self, key):
        counted[key] += 1
        return plain(self, key)

    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", counting)
    return counted


def packed(view, jobs):
    return outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, jobs)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_model_on_disk_gives_the_same(family, tmp_path):
    view, whole = on_disk(family, tmp_path), view_of(family)
    for executor in (LockstepExecutor(), ReferenceExecutor()):
        found, expected = (outcomes(executor, v, jobs_of(v, 0, 1)) for v in (view, whole))
        assert max(difference(a, b) for a, b in zip(found, expected, strict=True)) < 1e-4
    assert next(view.layers[0].parameters()).device.type == "meta"


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_a_sweep_reads_each_weight_once(reads, tmp_path, seeds):
    view = on_disk("llava", tmp_path)
    jobs = jobs_of(view, *seeds)
    reads.clear()
    packed(view, jobs)
    names = set(dict(view.model.named_parameters()))
    assert {name for name in names if "language_model" in name or "lm_head" in name} <= set(reads)
    assert set(reads.values()) == {1}, reads.most_common(3)


def test_questions_on_one_image_read_each_weight_once(reads, tmp_path):
    view = on_disk("llava", tmp_path)
    jobs = jobs_of(view, 3, questions=QUESTIONS)
    reads.clear()
    packed(view, jobs)
    assert set(reads.values()) == {1}, reads.most_common(3)


def test_one_forward_for_each_variant_reads_them_as_often(reads, tmp_path):
    """The counter counts: what the walk is spared."""
    view = on_disk("llava", tmp_path)
    jobs = jobs_of(view, 0)
    reads.clear()
    outcomes(ReferenceExecutor(), view, jobs)
    layers = [n for name, n in reads.items() if "language_model.layers" in name]
    assert set(layers) == {1 + len(jobs[0].variants)}


def test_a_model_that_is_split_between_memory_and_disk(reads, tmp_path):
    """As `device_map` does it: hooks on whole layers, some of which stay in memory."""
    model, processor = build("llava")
    names = [name for name, _ in model.named_modules() if name.startswith("model.language_model.layers.")]
    layers = sorted({".".join(name.split(".")[:4]) for name in names})
    places = {"model.vision_tower": "cpu", "model.multi_modal_projector": "cpu", "lm_head": "cpu"}
    places |= {"model.language_model.embed_tokens": "cpu", "model.language_model.norm": "cpu"}
    places |= {"model.language_model.rotary_emb": "cpu"}
    places |= {name: "disk" if k % 2 else "cpu" for k, name in enumerate(layers)}
    dispatch_model(model, places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    view = ModelView(model, processor)
    jobs = jobs_of(view, 0)
    reads.clear()
    found = packed(view, jobs)
    assert difference(found[0], packed(view_of("llava"), jobs_of(view_of("llava"), 0))[0]) < 1e-4
    assert reads
    assert set(reads.values()) == {1}


def test_weights_go_back_when_a_walk_fails(tmp_path):
    view = on_disk("llava", tmp_path)
    jobs = jobs_of(view, 0)
    handle = view.layers[2].mlp.register_forward_hook(lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        packed(view, jobs)
    handle.remove()
    assert all(p.device.type == "meta" for p in view.model.parameters())
    assert difference(packed(view, jobs)[0], packed(view_of("llava"), jobs_of(view_of("llava"), 0))[0]) < 1e-4
