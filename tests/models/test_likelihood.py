"""Answers score as the model's own forward says, and labels together as one by one, batched and alone."""

import pytest
import torch
from tests.support import factories
from tests.support.float64 import no_upcasts
from tests.support.runs import view_of

from chiasm.core.errors import GuardError
from chiasm.models.likelihood import LabelScorer, answer_logprobs, label_tokens, score_labels_singly
from chiasm.models.loading import wrap

NAMES = ("red", "red circle", "a blue or green square", "yes")


@pytest.mark.parametrize("family", factories.FAMILIES)
@torch.no_grad()
def test_a_padded_batch_scores_answers_as_plain_forwards_do(family):
    view = wrap(*factories.build(family, dtype=torch.float64, layers=2), name=family)
    answers = ["red", "yes no red", "a"]
    with no_upcasts(torch.float64):
        encoded = [view.encode(factories.example(family, seed=k), answer=a) for k, a in enumerate(answers)]
        assert len({len(one.answer_tokens) for one in encoded}) > 1
        found = answer_logprobs(view, encoded)
        for one, logprobs in zip(encoded, found, strict=True):
            table = torch.log_softmax(view.model(**one.inputs).logits[0], dim=-1)
            start = one.length - len(one.answer_tokens)
            expected = [float(table[start + k - 1, token]) for k, token in enumerate(one.answer_tokens)]
            assert logprobs.tolist() == pytest.approx(expected, abs=1e-9)


def test_nothing_asked_nothing_scored():
    assert answer_logprobs(wrap(*factories.build("llava", layers=2)), []) == []


@pytest.mark.parametrize("family", factories.FAMILIES)
def test_one_pass_equals_one_by_one(family):
    view = view_of(family, torch.float64)
    asked = [factories.example(family, seed=k, question="What is it" + "?" * (1 + 3 * k)) for k in range(2)]
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
    first, longer = label_tokens(view, factories.example(), NAMES[:2])
    assert first[:-1] == longer[: len(first) - 1]
    assert first[-1] == longer[-1] == view.tokenizer.eos_token_id


def test_a_model_that_mixes_rows_is_refused():
    view = view_of("llava")
    one = factories.example()
    scorer = LabelScorer(view, label_tokens(view, one, NAMES))

    def mix(layer, args, output):
        return output + output.mean(dim=1, keepdim=True)

    handle = view.layers[1].register_forward_hook(mix)
    try:
        with pytest.raises(GuardError, match="plain forward differs"):
            scorer.scores([view.encode(one)])
    finally:
        handle.remove()
