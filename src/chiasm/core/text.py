"""Text that came from data or files, made fit for a terminal, a log and a manifest."""

import re

# C0 but for tab and line feed, DEL and C1 (what terminals obey), marks that turn the direction of what follows, and
# halves of surrogate pairs, which no file can hold.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_QUOTED = re.compile(r"""b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*\"""")


def printable(text: str) -> str:
    """`text` with control characters written out (`\\x1b`), so that a terminal shows them and obeys none."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def shortened(text: str, most: int = 80) -> str:
    """`text` on one line of at most `most` characters, printable."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def reason_of(error: BaseException) -> str:
    """The first line of a foreign error, without what it quotes: decoders quote bytes of the file and its path."""
    lines = (str(error) if error.args else "").splitlines()
    line = next((line for line in lines if line.strip()), "")
    said = shortened(_QUOTED.sub("...", line).strip().rstrip(".:"), 160)
    return said or type(error).__name__
