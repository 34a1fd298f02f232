"""Ablations of states as they are typed, and the patches that they are."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Patch, StateAblation, Window, parse_intervention, replaced


def test_both_methods():
    for method in ("mean", "resample"):
        text = f"ablate:{method}@image.object+question"
        found = parse_intervention(text)
        assert found == StateAblation(method, "image.object+question", text)
        assert found.spans == ("image.object+question",)


@pytest.mark.parametrize(
    "text", ["ablate:mean", "ablate:mean@", "ablate:zero@image", "ablate:mean:image->last", "ablate:mean@image->last"]
)
def test_what_is_not_of_the_form(text):
    with pytest.raises(ChiasmError, match=r"not of the form ablate:METHOD@SPAN.*ablate:resample@image"):
        parse_intervention(text)


@pytest.mark.parametrize("span", ["last", "question+last", "answer"])
def test_the_states_that_the_answer_is_read_from_are_refused(span):
    with pytest.raises(ChiasmError, match="the answer is read from the states of"):
        parse_intervention(f"ablate:mean@{span}")


def test_behind_the_window_states_are_the_examples_own():
    inside, behind = replaced(Window(1, 3, 2), 6, (4, 5), (0, 0), donor=1, own=2)
    assert inside == Patch(Window(1, 3, 2), "residual", (4, 5), (0, 0), 1)
    assert behind == Patch(Window(3, 6, 3), "residual", (4, 5), (4, 5), 2)
    assert replaced(Window(1, 6, 1), 6, (4,), (9,), donor=0, own=None) == (
        Patch(Window(1, 6, 1), "residual", (4,), (9,), 0),
    )
