"""Answers in VQA's normal form and the tokens of captions."""

import pytest

from chiasm.data.metrics import normalised, tokens


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("Yes", "yes"),
        (" a  dog.\n", "dog"),
        ("The two dogs", "2 dogs"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("3.5", "3.5"),
        ("3. Street", "3 street"),
        ("1,000", "1000"),  # a comma between digits: marks are dropped
        ("red,white", "red white"),  # a mark between letters becomes a space
        ("red, white", "red white"),
        ("black-and-white", "black and white"),
        ("t - shirt", "t shirt"),
        ("girl's", "girl's"),
        ("2:50 pm", "2:50 pm"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("oclock", "o'clock"),
        ("its well", "its well"),  # words of their own
        ("", ""),
        ("the", ""),
    ],
)
def test_the_normal_form_of_an_answer(answer, form):
    assert normalised(answer) == form
    assert normalised(normalised(answer)) == form


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's dog isn't here.", ["a", "man", "'s", "dog", "is", "n't", "here"]),
        ("a t-shirt, 3.5 m long!", ["a", "t-shirt", "3.5", "m", "long"]),
        ("it’s 10:30; can't go", ["it", "'s", "10:30", "ca", "n't", "go"]),
        ("élan -- (vital)", ["élan", "vital"]),
        ("...", []),
    ],
)
def test_the_tokens_of_a_caption(caption, words):
    assert tokens(caption) == words
