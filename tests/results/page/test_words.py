"""The words of a page: those that it uses, and no others."""

import pytest

from chiasm.results.page.words import WORDS, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image.object->last", ["image.object", "last"]),
        ("last to image", ["image", "last"]),
        ("ima_0 of image and question", ["image", "question", "ima_0"]),
        ("search-91", ["search-N"]),
        ("random-91-0", ["random-N-K"]),
        ("surfaces, ft-proj", ["ft-proj"]),
        ("all", []),
        ("lastly imaged", []),
        ("image blanked", []),
        ("magnitude alone", []),
        ("tiny@video", []),
        ("image.object+question -> last", ["image.object", "question", "last"]),
        ("log-probability lost (nat)", ["nat"]),
        ("search-91 (control)", ["search-N"]),
    ],
)
def test_names_are_found_whole(text, words):
    assert [word for word, _ in words_of([text])] == words


def test_each_is_there_once_and_in_the_order_of_the_list():
    found = [word for word, _ in words_of(["last", "nat", "image", "last->image"])]
    assert found == ["image", "last", "nat"]


def test_meanings_are_sentences():
    assert all(meaning[0].isupper() or meaning[0].isdigit() or meaning.startswith("N ") for meaning in WORDS.values())
    assert all(meaning.endswith(".") for meaning in WORDS.values())
