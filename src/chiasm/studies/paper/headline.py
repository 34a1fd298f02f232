"""What several checkpoints side by side show, in one sentence."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import listed, sentence
from chiasm.studies.compare.headline import relation_headline


def paper_headline(claims: Sequence[Claim]) -> str:
    """The sentence: whether scores go with right answers, and whether they grow while a model is trained."""
    first = relation_headline(of_kind(claims, "relation")).removesuffix(".")
    return sentence(first, _training(of_kind(claims, "training")))


def _training(each: Sequence[Claim]) -> str:
    if not each:
        return ""
    grown = [one.about.partition(" of ")[0] for one in each if one.found and one.effect > 0]
    fallen = [one.about.partition(" of ")[0] for one in each if one.found and one.effect < 0]
    parts = [
        f"{listed(list(dict.fromkeys(names)))} {verb} through training"
        for names, verb in ((grown, "rises"), (fallen, "falls"))
        if names
    ]
    return " and ".join(parts) if parts else "that scores change through training is not established"
