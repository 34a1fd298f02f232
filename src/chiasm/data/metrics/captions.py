"""Descriptions: how near to people's (CIDEr-D), and what they name that is not there (CHAIR)."""

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chiasm.core.errors import ChiasmError
from chiasm.data.metrics.base import Answered, AnswerRatio, metric
from chiasm.data.metrics.objects import Objects, has_word

_log = logging.getLogger("chiasm")

_ORDERS = 4
_SIGMA = 6.0
_Counts = Counter[tuple[str, ...]]
_TOKEN = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,:]\d+)*\w*|[^\W\d]+?(?=n't\b)|\w+(?:-\w+)*")


def tokens(caption: str) -> list[str]:
    """The words of a caption: lower case, clitics split off ("isn't" -> "is", "n't"; "man's" -> "man", "'s"), no marks.

    Words with hyphens and numbers with a point stay whole. This follows the Penn Treebank's rules, which the published
    captioning scores use through a Java program, in what captions hold; it is one tokenizer for all data, so scores
    compare with each other, and differ from published ones by the rare token that the programs split otherwise.
    """
    return _TOKEN.findall(caption.lower().replace("’", "'"))


def cider_d(generated: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, " n"]:
    """CIDEr-D of every generated caption against its references, 0 to 10.

    n-grams of one to four words weigh count x (log N - log of the number of inputs whose references hold them). For
    each length and reference: the cosine of the weights with the generated ones clipped to the reference's, times
    exp(-(difference in words)^2 / (2 x 6^2)); the mean over references and lengths, times 10.

    Source: Vedantam, Zitnick & Parikh 2015 (arXiv 1411.5726), equations 1 and 2 and the section on gaming (CIDEr-D);
    no stemming, as in the released CIDEr-D. Words are `tokens`. Assumption: weights come
    from these references, so scores on a part of a data set do not compare with scores on the whole.

    **Errors:** `ChiasmError` for fewer than two inputs (all weights would be 0) or an input without a reference.
    """
    if len(generated) < 2:
        raise ChiasmError("measure CIDEr-D", f"{len(generated)} caption is given", "Its weights need two or more")
    held = [[_counts(text) for text in texts] for texts in references]
    frequency: _Counts = Counter()
    for counts in held:
        frequency.update({gram for count in counts for gram in count})
    inverse = {gram: math.log(len(held)) - math.log(seen) for gram, seen in frequency.items()}
    rare = math.log(len(held))
    return np.array([_score(text, counts, inverse, rare) for text, counts in zip(generated, held, strict=True)])


def _counts(text: str) -> _Counts:
    words = tokens(text)
    return Counter(tuple(words[at : at + n]) for n in range(1, _ORDERS + 1) for at in range(len(words) - n + 1))


def _score(text: str, references: Sequence[_Counts], inverse: dict[tuple[str, ...], float], rare: float) -> float:
    if not references:
        raise ChiasmError("measure CIDEr-D", "an input has no caption to compare with", "Give every input `captions`")
    generated = _weighted(_counts(text), inverse, rare)
    total = 0.0
    for reference in references:
        given = _weighted(reference, inverse, rare)
        gap = _length(generated) - _length(given)
        cosines = (_clipped_cosine(a, b) for a, b in zip(generated, given, strict=True))
        total += sum(cosines) / _ORDERS * math.exp(-(gap**2) / (2 * _SIGMA**2))
    return 10 * total / len(references)


class _Weights(dict[tuple[str, ...], float]):
    """The weights of the n-grams of one length, and how many words there are (from the single words)."""

    count: int = 0


def _weighted(counts: _Counts, inverse: dict[tuple[str, ...], float], rare: float) -> list[_Weights]:
    by_length = [_Weights() for _ in range(_ORDERS)]
    for gram, count in counts.items():
        weights = by_length[len(gram) - 1]
        weights[gram] = count * inverse.get(gram, rare)
        weights.count += count
    return by_length


def _length(weights: Sequence[_Weights]) -> int:
    return weights[0].count


def _clipped_cosine(generated: _Weights, given: _Weights) -> float:
    scale = math.sqrt(sum(w * w for w in generated.values()) * sum(w * w for w in given.values()))
    if scale == 0:
        return 0.0
    return sum(min(weight, given[gram]) * given[gram] for gram, weight in generated.items() if gram in given) / scale


@metric("cider", first="cider_d")
def cider(answered: Sequence[Answered], objects: Objects | None = None) -> list[AnswerRatio]:
    """CIDEr-D against `captions`, and the length, without which neither it nor CHAIR can be judged."""
    scores = cider_d([item.text for item in answered], [item.example.captions for item in answered])
    return [AnswerRatio.of("cider_d", scores.tolist()), _length_of(answered)]


@metric("chair", first="chair_i")
def chair(answered: Sequence[Answered], objects: Objects | None = None) -> list[AnswerRatio]:
    """Objects that a description names and the image does not have.

    What is there: the names of the boxes, and the objects that `captions` name. Objects outside the list are not seen.
    A box whose name has no word ("?") names nothing; how many there are is logged.

    Source: Rohrbach et al. 2018 (arXiv 1809.02156), section 3.1; recall as in common use. Assumption: boxes and
    captions together name every object of the list that is there; where boxes are only those of one question, they do
    not. A shorter text names less and so hallucinates less: read it beside the number of words.

    **Errors:** `ChiasmError` without a list of objects, or where no example has boxes or captions.
    """
    if objects is None:
        raise ChiasmError("measure CHAIR", "no list of objects is known", "Name one with --objects, or give boxes")
    if not any(item.example.boxes or item.example.captions for item in answered):
        raise ChiasmError("measure CHAIR", "no example has boxes or captions", "What is there has to be known")
    nameless = sum(not has_word(box.name) for item in answered for box in item.example.boxes)
    if nameless:
        _log.warning("CHAIR: %d boxes have a name without a word and cannot be used.", nameless)
    wrong, named, hit, there = [], [], [], []
    for item in answered:
        present = objects.there(item.example) or frozenset()
        mentioned = objects.mentions(item.text)
        wrong.append(float(sum(name not in present for name in mentioned)))
        named.append(float(len(mentioned)))
        hit.append(float(len(present & set(mentioned))))
        there.append(float(len(present)))
    return [
        AnswerRatio.of("chair_i", wrong, named),
        AnswerRatio.of("chair_s", [float(count > 0) for count in wrong]),
        AnswerRatio.of("chair_recall", hit, there),
        _length_of(answered),
    ]


def _length_of(answered: Sequence[Answered]) -> AnswerRatio:
    return AnswerRatio.of("caption_words", [float(len(tokens(item.text))) for item in answered])
