"""Tokens as text: rows of the vocabulary that belong to no token are shown by number; which characters are whose."""

import pytest
import torch
from tests.support import factories
from tests.support.tokenizers import llama_tokenizer, qwen_tokenizer, sentencepiece_tokenizer

from chiasm.models.generation import generate
from chiasm.models.loading import wrap
from chiasm.models.words import text_of, token_offsets

RED_OR = ("▁red", "▁or")
TEXTS = ("a red circle, or the blue-green square.", " ein grünes Quadrat – 赤い丸!", "\nAnswer: don’t 3.5 ok")


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


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("make", [llama_tokenizer, qwen_tokenizer], ids=["llama", "qwen"])
def test_offsets_are_those_of_the_tokenizer(make, text):
    """Byte-level tokens: spaces stand in front of words, and one letter may be several tokens."""
    tokenizer = make(300)
    given = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert len(given["input_ids"]) > len(text.split())
    assert token_offsets(tokenizer, given["input_ids"]) == (text, tuple(given["offset_mapping"]))


@pytest.mark.parametrize("legacy", [True, False])
def test_offsets_of_a_tokenizer_whose_words_hold_their_space(legacy):
    """Decoding drops the first space; every character of the text stands in the tokens that write it."""
    tokenizer = sentencepiece_tokenizer(legacy)
    ids = tokenizer("What color: red or größer", add_special_tokens=False)["input_ids"]
    text, offsets = token_offsets(tokenizer, ids)
    assert text == "What color: red or größer"
    pieces = [text[start:stop] for start, stop in offsets]
    assert [pieces[k] for k, one in enumerate(tokenizer.convert_ids_to_tokens(ids)) if one in RED_OR] == [" red", " or"]
    # Both bytes of a letter are of that letter.
    assert pieces.count("ö") == pieces.count("ß") == 2
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert set().union(*(range(start, stop) for start, stop in offsets)) == set(range(len(text)))


def test_special_tokens_and_rows_without_a_token_are_of_no_character():
    tokenizer = qwen_tokenizer(386)
    red = tokenizer("red")["input_ids"]
    text, offsets = token_offsets(tokenizer, [len(tokenizer) + 5, *red, tokenizer.eos_token_id, *red])
    assert text == "redred"
    assert offsets[0] == (0, 0)
    assert offsets[1 + len(red)] == (3, 3)
    assert [text[start:stop] for start, stop in offsets if stop > start] == [tokenizer.decode([t]) for t in red] * 2


def test_no_token_no_text():
    assert token_offsets(qwen_tokenizer(386), []) == ("", ())
