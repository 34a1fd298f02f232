"""The names of spans: parts of the sequence.

The top-level spans partition the sequence in reading order; sub-spans carry a dot (`image.object`) and lie inside
one top-level span (`image.end`, the token that ends an image, is text and lies in `between`, in `suffix` where the
image comes last); `a+b` is the union of `a` and `b`. Their positions in an example are in `core.positions`.
"""

PERCEPTUAL = ("image", "video", "audio")
TOP_LEVEL = ("prefix", *PERCEPTUAL, "between", "question", "suffix", "last")


def is_perceptual(span: str) -> bool:
    """Whether a span (or every part of a union) is made of what an encoder produced."""
    names = [part.partition("[")[0].strip() for part in span.split("+")]
    return all(name.partition(".")[0] in PERCEPTUAL and name != "image.end" for name in names)


def cross_pairs(spans: tuple[str, ...]) -> list[tuple[str, str]]:
    """All pairs (perceptual span, textual span), in the order given."""
    perceptual = [span for span in spans if is_perceptual(span)]
    return [(a, b) for a in perceptual for b in spans if not is_perceptual(b)]
