"""The token that ends an image is a span of its own, where a model has one."""

import numpy as np
import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, encoded, job, outcomes, view_of

from chiasm.core.errors import ChiasmError
from chiasm.core.spans import is_perceptual
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor

ENDS = {
    "qwen2_vl": "<|vision_end|>",
    "gemma3": "<end_of_image>",
    "chameleon": "<eoss>",
    "idefics3": "<fake_token_around_image>",
    "internvl": "</img>",
    "lfm2_vl": "<|image_end|>",
    "llama4": "<|image_end|>",
    "janus": "<end_of_image>",
    "glm4v_moe": "<|end_of_image|>",
}
BY_DEFAULT = ("qwen2_vl", "gemma3", "chameleon", "idefics3", "internvl")


@pytest.mark.parametrize(
    "family", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.heavy) for name in ENDS]
)
def test_it_stands_behind_each_image_and_belongs_to_what_is_between(family):
    found = encoded(view_of(family), images=1 if family == "janus" else 2)
    ends = found.spans["image.end"]
    tokens = view_of(family).tokenizer.convert_ids_to_tokens(found.input_ids[0, ends])
    assert tokens == [ENDS[family]] * len(found.layouts)
    assert [int(layout.positions[-1]) + 1 for layout in found.layouts] == ends.tolist()
    assert np.isin(ends, found.spans["between"]).all()


def test_the_break_of_the_last_row_ends_an_image_of_pixtral():
    found = encoded(view_of("mistral3"))
    end = found.spans["image.end"]
    assert view_of("mistral3").tokenizer.convert_ids_to_tokens(found.input_ids[0, end]) == ["[IMG_END]"]
    assert end.tolist() == [int(found.spans["image"][-1])]


@pytest.mark.parametrize("family", ["llava", "paligemma"])
def test_a_model_without_such_a_token_has_no_such_span(family):
    with pytest.raises(ChiasmError, match=r"span `image\.end`"):
        encoded(view_of(family)).spans["image.end"]


def test_it_is_cut_as_any_span():
    view = view_of("qwen2_vl", torch.float64)
    with no_upcasts(torch.float64):
        found = encoded(view)
        jobs = [job(found, cut(found, "image.end->question", 0, 4), cut(found, "image->image.end", 0, 4))]
        packed = outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, jobs)[0]
        plain = outcomes(ReferenceExecutor(), view, jobs)[0]
    assert difference(packed, plain) <= 1e-9
    assert float((plain.full[1:] - plain.full[0]).abs().amax(dim=(1, 2)).min()) > 1e-3


def test_it_is_text():
    assert not is_perceptual("image.end")
    assert not is_perceptual("image+image.end")
    assert is_perceptual("image.object+video[0]")
