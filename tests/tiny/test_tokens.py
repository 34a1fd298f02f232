"""The words: every text encodes and comes back, every word of the world is one token, offsets are exact."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.data.scenes import scenes
from chiasm.tiny.tokens import AUDIO, IMAGE, INSTRUCTION, LEAVES, TEXTURES, VIDEO, tokenizer, vocabulary


@pytest.fixture(scope="module")
def words():
    return tokenizer()


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back(text):
    words = tokenizer_once()
    ids = words(text, add_special_tokens=False)["input_ids"]
    if not any(mark in text for mark in ("<pad>", "<s>", "</s>", IMAGE, VIDEO, AUDIO)):
        assert words.decode(ids) == text


_HELD = []


def tokenizer_once():
    if not _HELD:
        _HELD.append(tokenizer())
    return _HELD[0]


def test_words_of_the_world_are_single_tokens(words):
    for word in vocabulary():
        assert len(words(f" {word}", add_special_tokens=False)["input_ids"]) == 1
        assert len(words(f" {word.capitalize()}", add_special_tokens=False)["input_ids"]) == 1


def test_lower_case_and_capital_differ_in_the_first_token(words):
    lower, capital = (words(text, add_special_tokens=False)["input_ids"] for text in (" red", " Red"))
    assert lower != capital


def test_offsets_cut_the_text_into_its_tokens(words):
    for example in scenes(limit=12):
        text = f"USER: {IMAGE}\n{example.question}\n{INSTRUCTION} ASSISTANT:"
        made = words(text, add_special_tokens=False, return_offsets_mapping=True)
        assert "".join(text[a:b] for a, b in made["offset_mapping"]) == text
        for token, (a, b) in zip(made["input_ids"], made["offset_mapping"], strict=True):
            assert words.decode([token]) == text[a:b]


def test_the_instruction_is_short(words):
    assert len(words(INSTRUCTION, add_special_tokens=False)["input_ids"]) == 2


def test_media_come_first_and_are_one_token_each(words):
    content = [{"type": kind} for kind in ("text", "audio", "video", "image")]
    content[0]["text"] = "What is this?"
    made = words.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    assert made == f"USER: {IMAGE}\n{VIDEO}\n{AUDIO}\nWhat is this? ASSISTANT:"
    assert words.convert_tokens_to_ids([IMAGE, VIDEO, AUDIO]) == [2, 4, 5]


def test_names_of_domains_it_never_sees_are_words_of_its_own(words):
    assert {*TEXTURES, *LEAVES} <= set(vocabulary())
    assert len(TEXTURES) == 12
    assert len(LEAVES) == 10
