"""Who gives whom states: named by the data, one attribute changed, or by a rule that other examples do not move."""

from collections import Counter
from contextlib import suppress

import pytest
from tests.support import factories

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, media_key
from chiasm.data import examples as read
from chiasm.studies.patch.pairs import BY_DATA, BY_IMAGE, BY_QUESTION, MINIMAL, Pairs


def example(number: int, question: str = "What colour?", answer: str = "red", **fields) -> Example:
    image = factories.example(seed=number).images
    return Example(id=f"e{number}", question=question, answer=answer, images=image, **fields)


@pytest.fixture(scope="module")
def chosen():
    answers = ("red", "blue", "green")
    return [example(k, answer=answers[k % 3]) for k in range(24)]


def test_the_same_question_with_another_answer(chosen):
    pairs = Pairs(chosen, "rule", 0)
    for one in chosen:
        found = pairs.of(one)
        assert found.how == BY_QUESTION
        assert found.donor.question == one.question
        assert found.donor.answer != one.answer
        assert found.like_own is not None
        assert found.like_own.answer == one.answer
        assert found.like_own.id != one.id
        assert found.like_donor is not None
        assert found.like_donor.answer == found.donor.answer
        assert found.unrelated is not None
        assert media_key(found.unrelated.media) not in {media_key(one.media), media_key(found.donor.media)}


def test_order_and_number_of_the_examples_change_little(chosen):
    first = {one.id: Pairs(chosen, "rule", 0).of(one).donor.id for one in chosen}
    turned = {one.id: Pairs(chosen[::-1], "rule", 0).of(one).donor.id for one in chosen}
    assert first == turned
    more = Pairs([*chosen, example(99, answer="pink")], "rule", 0)
    moved = sum(more.of(one).donor.id != first[one.id] for one in chosen)
    assert moved <= 3
    other = {one.id: Pairs(chosen, "rule", 1).of(one).donor.id for one in chosen}
    assert other != first
    assert len(Counter(first.values())) > len(chosen) // 3, "not one donor for all"


def test_a_question_that_nobody_else_asks_is_asked_of_another_image(chosen):
    alone = example(50, question="Who is there?", answer="a cat")
    found = Pairs([*chosen, alone], "rule", 0).of(alone)
    assert found.how == BY_IMAGE
    assert found.donor.question == alone.question
    assert found.donor.answer == "", "what is right there is not known"
    assert media_key(found.donor.media) != media_key(alone.media)


def test_other_types_and_other_senses_give_nothing(chosen):
    odd = example(51, question="How many?", answer="two", type="Count")
    with pytest.raises(ExampleError, match="no other example of its type has another answer"):
        Pairs([*chosen, odd], "rule", 0).of(odd)
    blind = Example(id="text", question="What colour?", answer="blue")
    with pytest.raises(ExampleError, match="shows and plays nothing"):
        Pairs([*chosen, blind], "rule", 0).of(blind)


def test_the_field_goes_before_the_rule(chosen):
    named = example(60, answer="pink", pair="e3")
    found = Pairs([*chosen, named], "auto", 0).of(named)
    assert (found.how, found.donor.id) == (BY_DATA, "e3")
    assert Pairs([*chosen, named], "rule", 0).of(named).how == BY_QUESTION
    with pytest.raises(ExampleError, match="names no `pair`"):
        Pairs(chosen, "data", 0).of(chosen[0])


def test_scenes_are_changed_in_one_attribute():
    scenes = list(read("scenes", limit=12))
    pairs = Pairs(scenes, "auto", 0, scenes=True)
    found = {}
    for one in scenes:
        with suppress(ExampleError):
            found[one.id] = pairs.of(one)
    assert len(found) >= 6
    for name, pair in found.items():
        assert pair.how == MINIMAL
        assert pair.donor.id.startswith(f"{name}/")
    with pytest.raises(ExampleError, match="none of `scenes`"):
        Pairs(scenes, "minimal", 0).of(example(1))
    assert Pairs(scenes, "auto", 0).of(scenes[0]).how != MINIMAL, "only of the data `scenes`, unless it is asked for"


def test_without_controls_none_is_looked_for(chosen):
    found = Pairs(chosen, "rule", 0, controls=False).of(chosen[0])
    assert found.like_own is found.like_donor is found.unrelated is None
