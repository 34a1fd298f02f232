"""Greedy decoding is what taking the most probable token again and again gives."""

import pytest
import torch
from tests.support import factories

from chiasm.models.generation import generate
from chiasm.models.loading import wrap


@pytest.mark.parametrize("family", factories.FAMILIES)
def test_a_padded_batch_answers_as_each_example_alone(family):
    view = wrap(*factories.build(family, dtype=torch.float64))
    encoded = [view.encode(factories.example(family, seed=seed)) for seed in range(3)]
    assert len({e.length for e in encoded}) > 1
    together = generate(view, encoded, max_new_tokens=5)
    assert together == [generate(view, [e], max_new_tokens=5)[0] for e in encoded]
    assert all(len(answer.tokens) <= 5 for answer in together)


@torch.no_grad()
def test_it_follows_the_most_probable_token():
    view = wrap(*factories.build("llava"))
    encoded = view.encode(factories.example())
    answer = generate(view, [encoded], max_new_tokens=4)[0]
    ids, inputs = encoded.input_ids, dict(encoded.inputs)
    for token in answer.tokens:
        inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        assert int(view.model(**inputs).logits[0, -1].argmax()) == token
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


def test_a_generation_config_that_samples_is_not_followed():
    view = wrap(*factories.build("llava"))
    encoded = view.encode(factories.example())
    plain = generate(view, [encoded], max_new_tokens=4)
    view.model.generation_config.do_sample = True
    view.model.generation_config.temperature = 5.0
    view.model.generation_config.repetition_penalty = 3.0
    assert generate(view, [encoded], max_new_tokens=4) == plain


def test_an_answer_ends_at_the_end_token():
    view = wrap(*factories.build("llava"))
    encoded = view.encode(factories.example())
    first = generate(view, [encoded], max_new_tokens=3)[0].tokens
    view.model.generation_config.eos_token_id = [first[1]]
    assert generate(view, [encoded], max_new_tokens=3)[0].tokens == first[:1]


def test_nothing_asked_nothing_answered():
    assert generate(wrap(*factories.build("llava")), []) == []


@torch.no_grad()
def test_a_row_without_a_token_is_named_by_its_number():
    """Vocabularies are padded to round numbers; what such a row says must not pass for an empty answer."""
    model, processor = factories.build("llava")
    padded = model.get_output_embeddings().weight.shape[0]
    model.resize_token_embeddings(padded + 64)
    view = wrap(model, processor)
    encoded = view.encode(factories.example())
    states = []
    with view.final_norm.register_forward_hook(lambda norm, args, output: states.append(output[0, -1])):
        view.model(**encoded.inputs)
    view.head.weight[padded + 7] = 10 * states[0]
    answer = generate(view, [encoded], max_new_tokens=1)[0]
    assert (answer.tokens, answer.text) == ((padded + 7,), f"<id {padded + 7}>")
