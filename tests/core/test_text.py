"""Text of data and of foreign errors, made fit for terminals."""

import pytest

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.text import printable, reason_of, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Grüße 日本 \t\n", "plain Grüße 日本 \t\n"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\x00\x7f\x9bm", "a\\rb\\x00\\x7f\\x9bm"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown


def test_errors_are_printable():
    assert str(ExampleError("id \x1b[31m")) == "id \\x1b[31m"
    error = ChiasmError("read `\x1b[1m`", "found \x07", "Do")
    assert (str(error), error.found) == ("read `\\x1b[1m`: found \\x07. Do", "found \\x07")


def test_what_a_decoder_quotes_is_left_out():
    assert reason_of(SyntaxError("broken PNG file (chunk b'root')")) == "broken PNG file (chunk ...)"
    assert reason_of(OSError("cannot open '/home/me/secret.png' for reading")) == "cannot open ... for reading"
    assert reason_of(ValueError()) == "ValueError"
    assert len(shortened("x" * 1000)) == 80
