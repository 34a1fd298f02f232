import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.core.errors import ExampleError
from chiasm.core.example import Box, Example, check_boxes


def checked(*boxes, size=(100, 50)):
    return check_boxes(Example(id="a", question="?", boxes=tuple(boxes)), *size).boxes


def test_boxes_inside_are_kept_as_they_are():
    box = Box("x", 0, 0, 100, 50)
    assert checked(box, Box("y", 3.5, 2, 1, 1)) == (box, Box("y", 3.5, 2, 1, 1))
    assert checked() == ()


def test_what_reaches_over_the_edge_is_cut_off():
    assert checked(Box("x", 90, 40, 20, 20)) == (Box("x", 90, 40, 10, 10),)
    assert checked(Box("x", -5, -5, 20, 20)) == (Box("x", 0, 0, 15, 15),)


@pytest.mark.parametrize(
    "box", [Box("x", 100, 0, 5, 5), Box("x", 0, 50, 5, 5), Box("x", -5, 0, 5, 5), Box("x", 0, -9, 5, 5)]
)
def test_a_box_wholly_outside_fails_the_example(box):
    with pytest.raises(ExampleError, match=r"`x` .* outside the image of 100 x 50"):
        checked(Box("fine", 1, 1, 1, 1), box)


@pytest.mark.parametrize("box", [Box("x", 1, 1, 0, 5), Box("x", 1, 1, 5, -1)])
def test_a_box_without_area_fails_the_example(box):
    with pytest.raises(ExampleError, match="no area"):
        checked(box)


side = st.integers(-50, 150)


@settings(deadline=None)
@given(side, side, st.integers(1, 150), st.integers(1, 150))
def test_a_clipped_box_holds_exactly_the_shared_pixels(x, y, w, h):
    shared = {(i, j) for i in range(100) for j in range(50) if x <= i < x + w and y <= j < y + h}
    try:
        [box] = checked(Box("x", x, y, w, h))
        kept = {(i, j) for i in range(box.x, box.x + box.w) for j in range(box.y, box.y + box.h)}
    except ExampleError:
        kept = set()
    assert kept == shared
