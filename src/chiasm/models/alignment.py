"""Which characters tokens stand for, and where inputs lie, found by ids: for processors that do not say it.

Some put tokens in front of a prompt, write inputs out themselves, or count no characters. Their tokens are compared
from the end with those of the text alone; the tokens that stand for an input are known by their ids.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Int

from chiasm.core.errors import ChiasmError, ExampleError

_MOST_APPENDED: Final = 3
"""So many tokens a processor may write behind a prompt."""
_MOST_STRIPPED: Final = 1
"""So many of its last tokens, such as a newline, it may leave out."""


class Alignment(NamedTuple):
    """The characters of every token (none for those before `head`, where inputs are), and that token."""

    offsets: Int[np.ndarray, "T 2"]
    head: int


def aligned(ids: Int[np.ndarray, " T"], text: str, tokenizer: Any) -> Alignment:
    """The tokens that `text` ends with, as they stand among `ids`.

    What comes before them, and what the processor writes behind the prompt, stands for no character.

    **Errors:** `ChiasmError` where no token of the end is the text's.
    """
    alone = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    own, written = np.array(alone["input_ids"]), np.array(alone["offset_mapping"]).reshape(-1, 2)
    best, appended, stripped = 0, 0, 0
    for extra, left in product(range(_MOST_APPENDED + 1), range(_MOST_STRIPPED + 1)):
        tail, kept = ids[: len(ids) - extra], own[: len(own) - left]
        length = min(len(kept), len(tail))
        same = kept[len(kept) - length :][::-1] == tail[len(tail) - length :][::-1]
        count = length if same.all() else int(np.argmin(same))
        if count > best:
            best, appended, stripped = count, extra, left
    if not best:
        found = "the processor ends the prompt with other tokens than its text has"
        raise ChiasmError("to find the question among the tokens", found, "Check the chat template and the tokenizer")
    head = len(ids) - appended - best
    offsets = np.zeros((len(ids), 2), dtype=np.int64)
    offsets[head : head + best] = written[len(own) - stripped - best : len(own) - stripped]
    offsets[head + best :] = len(text)
    return Alignment(offsets, head)


def located(
    ids: Int[np.ndarray, " T"],
    text: str,
    tokenizer: Any,
    counts: Mapping[str, int],
    tokens: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """What a processor would have said: `offset_mapping`, and in `text_replacement_offsets` where inputs lie.

    `counts`: how many inputs there are of each kind; `tokens`: the ids of those that stand for it.

    **Errors:** `ExampleError` where several inputs of a kind cannot be told apart.
    """
    found = aligned(ids, text, tokenizer)
    places: list[dict[str, Any]] = []
    # No character moved: the question's are those of the text itself.
    unmoved = {"span": (0, 0), "new_span": (0, 0)}
    for kind, count in counts.items():
        where = np.flatnonzero(np.isin(ids, tokens.get(kind, ())))
        places += ({"type": kind, "positions": part, **unmoved} for part in _parts(where, kind, count))
    return {"offset_mapping": found.offsets[None], "text_replacement_offsets": [places]}


def _parts(where: Int[np.ndarray, " n"], kind: str, count: int) -> list[Int[np.ndarray, " k"]]:
    if not len(where) or not count:
        return []
    if count == 1:
        return [where]
    # As many tokens as inputs: one of each, even where they stand side by side.
    if len(where) == count:
        return [where[k : k + 1] for k in range(count)]
    runs = groupby(enumerate(where), key=lambda pair: pair[1] - pair[0])
    parts = [np.array([place for _, place in run]) for _, run in runs]
    if len(parts) != count:
        raise ExampleError(f"its processor does not say which tokens are of which of {count} x {kind}")
    return parts
