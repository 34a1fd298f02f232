"""Tokens as text, also those that no word stands for: decoders can have more rows than their tokenizer has tokens."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any


def text_of(tokenizer: Any, tokens: Iterable[int], *, skip_special_tokens: bool = False) -> str:
    """The text of `tokens`; `<id N>` stands for a row of the vocabulary without a token, which decoding leaves out."""
    parts = []
    for named, run in groupby(tokens, lambda token: tokenizer.convert_ids_to_tokens(token) is not None):
        ids = list(run)
        if named:
            parts.append(str(tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)))
        else:
            parts += [f"<id {token}>" for token in ids]
    return "".join(parts)


def token_offsets(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text of `tokens` without special ones, and the characters (start, stop) of it that each token is of.

    What a token adds is seen by decoding all tokens up to it, so it holds for every tokenizer: a space that belongs to
    a word is the word's, and tokens that are parts of one character (bytes of UTF-8) are each of that character. A
    special token is of no character (start = stop).
    """
    plain = [token for token in tokens if tokenizer.convert_ids_to_tokens(token) is not None]
    text = _decoded(tokenizer, plain)
    found, before, seen = [], 0, 0
    for token in tokens:
        if seen == len(plain) or token != plain[seen]:
            found.append((before, before))  # a row of the vocabulary without a token
            continue
        seen += 1
        so_far = _decoded(tokenizer, plain[:seen])
        after = max(before, _alike(so_far, text))
        # Behind what is settled stands the sign for a character that later tokens complete.
        found.append((before, min(len(text), after + (len(so_far) > after))))
        before = after
    return text, tuple(found)


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    differ = (k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _decoded(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
