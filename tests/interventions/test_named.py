"""Interventions as they are typed: what each form means at the positions of an example."""

import pytest

from chiasm.core.errors import ChiasmError, EmptySpanError
from chiasm.core.positions import Spans
from chiasm.interventions import AveragedKeys, BlockedAttention, Window, pair_of, parse_intervention

SPANS = Spans(6, {"image": [1, 2, 3], "newline": [3], "question": [4], "last": [5]})
WINDOW = Window(0, 2, 1)


def test_both_forms_name_the_same_pairs():
    assert parse_intervention("image->question+last").on(SPANS, WINDOW) == BlockedAttention(WINDOW, (4, 5), (1, 2, 3))
    assert parse_intervention("mean:image->question+last").on(SPANS, WINDOW) == AveragedKeys(WINDOW, (4, 5), (1, 2, 3))
    assert pair_of("mean:image->last") == pair_of("image->last") == "image->last"


def test_one_position_is_its_own_mean():
    with pytest.raises(EmptySpanError, match="its own mean"):
        parse_intervention("mean:newline->last").on(SPANS, WINDOW)


def test_a_row_cannot_read_the_mean_that_it_is_part_of():
    with pytest.raises(ChiasmError, match="share positions"):
        parse_intervention("mean:image->newline").on(SPANS, WINDOW)
    with pytest.raises(ValueError, match="one of"):
        AveragedKeys(WINDOW, (4,), (3, 4))


@pytest.mark.parametrize("text", ["mean:image", "mean:->last", "mean:image->"])
def test_what_is_not_of_the_form(text):
    with pytest.raises(ChiasmError, match=r"not of the form mean:SOURCE->TARGET.*mean:image->question"):
        parse_intervention(text)
