"""Words of the answer that are followed: which of its tokens each is made of, and what a change does to it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chiasm.data.answer_words import OTHER, OTHER_WORDS, WrittenWord


class FollowedWord(NamedTuple):
    """A word of an answer. `place`: its number in it, `tokens`: places of its tokens in it, both 0-based."""

    place: int
    text: str
    kind: str
    group: str
    tokens: tuple[int, ...]


def followed_words(
    text: str, written: Sequence[WrittenWord], offsets: Sequence[tuple[int, int]], *, ended: bool = True
) -> tuple[FollowedWord, ...]:
    """The words of `text` with their tokens. `offsets`: the characters that each token is of.

    A token that holds a word and marks behind or before it is the word's. Words that share a token cannot be told apart
    and are one word, of no class where theirs differ. `ended`: whether the text has an end; the last word of one that
    was cut off is left out where the text ends with it, since it may go on.
    """
    found: list[tuple[WrittenWord, tuple[int, ...]]] = []
    for word in written:
        own = tuple(k for k, (start, stop) in enumerate(offsets) if start < min(stop, word.stop) and stop > word.start)
        if not own:
            continue
        if found and own[0] <= found[-1][1][-1]:
            before, held = found.pop()
            found.append((_joined(text, before, word), tuple(dict.fromkeys((*held, *own)))))
        else:
            found.append((word, own))
    if not ended and found and found[-1][0].stop == len(text):
        found.pop()
    return tuple(FollowedWord(k, word.text, word.kind, word.group, own) for k, (word, own) in enumerate(found))


def _joined(text: str, one: WrittenWord, other: WrittenWord) -> WrittenWord:
    whole = one._replace(stop=other.stop, text=text[one.start : other.stop])
    return whole if one.group == other.group else whole._replace(kind=OTHER, group=OTHER_WORDS)


def word_columns(
    words: Sequence[FollowedWord], before: Sequence[float], after: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """The columns of each word in the table `answer_words`. `before`, `after`: log-probabilities (nat) of the answer's
    tokens. That of a word is the mean over its tokens, so that its probability is their geometric mean.
    """
    for word in words:
        yield {
            "word": word.place,
            "text": word.text,
            "class": word.kind,
            "group": word.group,
            "tokens": len(word.tokens),
            "logprob_clean": _mean(before, word.tokens),
            "logprob_cut": _mean(after, word.tokens),
        }


def _mean(values: Sequence[float], places: Sequence[int]) -> float:
    return sum(values[k] for k in places) / len(places)
