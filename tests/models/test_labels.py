"""Labels scored together equal labels scored one by one, for every family, batched and alone."""

import pytest
import torch
from tests.support.factories import FAMILIES, example
from tests.support.runs import view_of

from chiasm.core.errors import GuardError
from chiasm.models.likelihood import LabelScorer, label_tokens, score_labels_singly

NAMES = ("red", "red circle", "a blue or green square", "yes")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_one_by_one(family):
    view = view_of(family, torch.float64)
    asked = [example(family, seed=k, question="What is it" + "?" * (1 + 3 * k)) for k in range(2)]
    labels = label_tokens(view, asked[0], NAMES)
    prompts = [view.encode(one) for one in asked]
    together = LabelScorer(view, labels).scores(prompts)
    expected = torch.stack([score_labels_singly(view, prompt, labels) for prompt in prompts])
    assert together.shape == (2, len(NAMES))
    assert expected.std() > 0.1
    torch.testing.assert_close(together, expected, rtol=0, atol=1e-9 if family != "qwen2_5_vl" else 1e-8)
    torch.testing.assert_close(LabelScorer(view, labels).scores(prompts[:1]), expected[:1], rtol=0, atol=1e-8)


def test_labels_end_so_that_a_beginning_is_not_always_likelier():
    view = view_of("llava")
    first, longer = label_tokens(view, example(), NAMES[:2])
    assert first[:-1] == longer[: len(first) - 1]
    assert first[-1] == longer[-1] == view.tokenizer.eos_token_id


def test_a_model_that_mixes_rows_is_refused():
    view = view_of("llava")
    one = example()
    scorer = LabelScorer(view, label_tokens(view, one, NAMES))

    def mix(layer, args, output):
        return output + output.mean(dim=1, keepdim=True)

    handle = view.layers[1].register_forward_hook(mix)
    try:
        with pytest.raises(GuardError, match="plain forward differs"):
            scorer.scores([view.encode(one)])
    finally:
        handle.remove()
