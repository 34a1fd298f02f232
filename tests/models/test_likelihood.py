"""The probability of an answer is what the model's own forward says of its tokens, one after the other."""

import pytest
import torch
from tests.support import factories
from tests.support.float64 import no_upcasts

from chiasm.models.likelihood import answer_logprobs
from chiasm.models.loading import wrap


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
