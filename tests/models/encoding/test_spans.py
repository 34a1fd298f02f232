"""Words of a question are found where they stand."""

from chiasm.models.encoding.spans import find_words


def test_words_are_found_whole_and_the_longer_one_first():
    found = find_words("Is the light blue car Blue, bluish or red? Red!", ("blue", "light blue", "Red", "green"))
    assert {word: len(places) for word, places in found.items()} == {
        "blue": 1,
        "light blue": 1,
        "Red": 2,
        "green": 0,
    }
    assert find_words("a+b or c?", ("a+b", "c?")) == {"a+b": [(0, 3)], "c?": [(7, 9)]}
    assert find_words("anything", ("", " ")) == {"": [], " ": []}
