"""The names of spans: parts of the sequence.

The top-level spans partition the sequence in reading order; sub-spans carry a dot (`image.object`) and lie inside
one top-level span (`image.end`, the token that ends an image, is text and lies in `between`, in `suffix` where the
image comes last); `a+b` is the union of `a` and `b`. Their positions in an example are in `core.positions`.
"""

import re

from chiasm.core.errors import ChiasmError, nearest

PERCEPTUAL = ("image", "video", "audio")
TOP_LEVEL = ("prefix", *PERCEPTUAL, "between", "question", "suffix", "last")
ANSWER = "answer"
"""The labelled answer, where it is followed token by token."""
_PARTS = (
    *(f"image.{part}" for part in ("object", "other", "newline", "base", "hd", "end")),
    *(f"question.{part}" for part in ("options", "option.true", "option.false", "objects")),
)
_NUMBERED = re.compile(r"(image|video|video\.frame|audio)\[\d+\]")


def is_perceptual(span: str) -> bool:
    """Whether a span (or every part of a union) is made of what an encoder produced."""
    names = [part.partition("[")[0].strip() for part in span.split("+")]
    return all(name.partition(".")[0] in PERCEPTUAL and name != "image.end" for name in names)


def require_known(asked: str, span: str) -> None:
    """Refuse a name that no example can have, before anything is loaded; `asked` is what was written.

    **Errors:** `ChiasmError` with the nearest name there is.
    """
    known = (*TOP_LEVEL, *_PARTS, ANSWER)
    for name in (part.strip() for part in span.split("+")):
        if name not in known and not _NUMBERED.fullmatch(name):
            todo = nearest(name, known) or f"Name one of {', '.join(known)}, image[0] and its kin, or a union `a+b`"
            raise ChiasmError(asked, f"there is no span `{name}`", todo)


def cross_pairs(spans: tuple[str, ...]) -> list[tuple[str, str]]:
    """All pairs (perceptual span, textual span), in the order given."""
    perceptual = [span for span in spans if is_perceptual(span)]
    return [(a, b) for a in perceptual for b in spans if not is_perceptual(b)]
