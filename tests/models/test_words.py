"""Rows of the vocabulary that belong to no token are shown by number, in words and in answers."""

import torch
from tests.support import factories
from tests.support.tokenizers import qwen_tokenizer

from chiasm.models.generation import generate
from chiasm.models.loading import wrap
from chiasm.models.words import text_of


def test_tokens_without_a_name_are_shown_by_number():
    tokenizer = qwen_tokenizer(386)
    red = tokenizer("red")["input_ids"]
    assert text_of(tokenizer, [len(tokenizer) + 5]) == f"<id {len(tokenizer) + 5}>"
    assert text_of(tokenizer, [*red, 400, 401, *red]) == "red<id 400><id 401>red"
    assert text_of(tokenizer, []) == ""


def test_special_tokens_are_left_out_only_on_request():
    tokenizer = qwen_tokenizer(386)
    ids = [*tokenizer("red")["input_ids"], tokenizer.eos_token_id]
    assert text_of(tokenizer, ids) == "red<|im_end|>"
    assert text_of(tokenizer, ids, skip_special_tokens=True) == "red"


def test_an_answer_in_rows_without_a_token_is_no_empty_answer():
    model, processor = factories.build("llava")
    with torch.no_grad():
        model.lm_head.weight[410] = 50 * model.lm_head.weight[410]
        model.lm_head.weight[411] = -model.lm_head.weight[410]
    view = wrap(model, processor)
    (answer,) = generate(view, [view.encode(factories.example())], max_new_tokens=3)
    assert {"<id 410>", "<id 411>"} & {answer.text[:8]}
