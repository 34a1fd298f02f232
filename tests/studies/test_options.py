import pytest

from chiasm.core.errors import ChiasmError
from chiasm.studies.options import byte_count


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500MB", 500_000_000), ("1GiB", 2**30), (" 20 kb", 20_000), ("7", 7), (9, 9), ("1.5GB", 1_500_000_000)],
)
def test_byte_count(text, expected):
    assert byte_count(text) == expected


@pytest.mark.parametrize("text", ["much", "5 parrots", "-3MB", ""])
def test_byte_count_refuses(text):
    with pytest.raises(ChiasmError, match="Write for example 500MB"):
        byte_count(text)
