"""Tokens as text, also those that no word stands for: decoders can have more rows than their tokenizer has tokens."""

from collections.abc import Iterable
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
