"""Who lends an example its image: another image, another answer where there is one, whatever the order."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.studies.flow.swaps import Donors


def example(number: int, image: int | None = None, answer: str = "", kind: str = "images") -> Example:
    shown = np.array([[[number if image is None else image]]], dtype=np.int64).view(np.uint8)
    return Example(id=f"e{number}", question="?", answer=answer or f"a{number % 3}", **{kind: (shown,)})


def donors(examples, seed=0) -> dict[str, str]:
    found = Donors(examples, seed)
    return {one.id: found.of(one).id for one in examples}


def test_a_donor_has_another_image_and_another_answer():
    examples = [example(k, image=k // 4) for k in range(200)]
    by_id = {one.id: one for one in examples}
    for own, other in donors(examples).items():
        assert int(own[1:]) // 4 != int(other[1:]) // 4
        assert by_id[own].answer != by_id[other].answer


def test_order_changes_nothing_and_one_more_example_next_to_nothing():
    examples = [example(k) for k in range(300)]
    found = donors(examples)
    shuffled = list(examples)
    random.Random(0).shuffle(shuffled)
    assert donors(shuffled) == found
    more = donors([*examples, example(1000)])
    changed = [name for name, other in found.items() if more[name] != other]
    assert 1 <= len(changed) <= 8
    assert {more[name] for name in changed} == {"e1000"}
    assert donors(examples, seed=1) != found


def test_donors_are_many():
    most = Counter(donors([example(k, answer=str(k)) for k in range(500)]).values()).most_common(1)[0][1]
    assert most == 1  # each lends its image to the one before it


def test_with_one_answer_another_image_is_enough_and_with_one_image_there_is_none():
    alike = [example(k, answer="yes") for k in range(20)]
    assert all(own != other for own, other in donors(alike).items())
    one_image = [example(k, image=7) for k in range(20)]
    with pytest.raises(ExampleError, match="no other example has an image"):
        Donors(one_image, 0).of(one_image[0])
    with pytest.raises(ExampleError, match="no other example has a sound"):
        Donors([*alike, example(50, kind="audios")], 0).of(example(50, kind="audios"))


def test_several_images_have_none_in_common():
    base = [example(k) for k in range(12)]
    pairs = [replace(one, images=(one.images[0], base[(k + 1) % 12].images[0])) for k, one in enumerate(base)]
    for own, other in donors(pairs).items():
        assert (int(own[1:]) - int(other[1:])) % 12 not in (0, 1, 11)


def test_nearly_all_of_one_image_or_answer_take_no_longer():
    """A ring on which one image, or one answer, stands nearly everywhere is passed over in a few steps."""
    examples = [example(k, image=0, answer="yes") for k in range(3000)] + [example(5000, answer="no")]
    found = Donors(examples, 0)
    assert {found.of(one).id for one in examples[:50]} == {"e5000"}
