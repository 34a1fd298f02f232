"""Questions whether an object is there (POPE): what a model that says "yes" too easily makes up."""

import re
from collections.abc import Sequence

from chiasm.core.errors import ChiasmError
from chiasm.data.metrics.base import Answered, Measure, metric
from chiasm.data.metrics.objects import Objects

_NO = frozenset({"no", "not"})


def says_yes(text: str) -> bool:
    """Whether an answer counts as "yes": no word before the first full stop is "no" or "not", commas removed.

    Source: Li et al. 2023 (POPE, arXiv 2305.10355), released evaluation; case is ignored here. An answer that says
    neither counts as "yes" there, and so here: `pope_unclear` tells how many do.
    """
    return _NO.isdisjoint(text.partition(".")[0].replace(",", "").lower().split())


@metric("pope", first="pope_f1")
def pope(answered: Sequence[Answered], objects: Objects | None = None) -> list[Measure]:
    """POPE's measures. Assumption: as many objects asked for are there as are not, or precision and F1 mean little.

    **Errors:** `ChiasmError` for a label other than yes and no.
    """
    true, said = [], []
    for item in answered:
        label = item.example.answer.strip().lower()
        if label not in ("yes", "no"):
            found = f"example `{item.example.id}` has the label `{item.example.answer}`"
            raise ChiasmError("measure POPE", found, "Its questions are answered by yes or no")
        true.append(label == "yes")
        said.append(says_yes(item.text))
    pairs = list(zip(true, said, strict=True))
    both = [float(t and s) for t, s in pairs]
    unclear = [float(re.search(r"\b(yes|no|not)\b", item.text.lower()) is None) for item in answered]
    return [
        Measure.share("pope_f1", [2 * b for b in both], [float(t) + float(s) for t, s in pairs]),
        Measure.share("pope_accuracy", [float(t == s) for t, s in pairs]),
        Measure.share("pope_precision", both, [float(s) for s in said]),
        Measure.share("pope_recall", both, [float(t) for t in true]),
        Measure.share("pope_yes_share", [float(s) for s in said]),
        Measure.share("pope_unclear", unclear),
    ]
