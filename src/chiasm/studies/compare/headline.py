"""What a comparison of models found, in one sentence: whether the alignment score goes with right answers."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.correlation import MIN_POINTS
from chiasm.results.wording import number, sentence


def relation_headline(related: Sequence[Claim], what: str = "answer right more often") -> str:
    """The sentence, from claims about scores and an outcome over models."""
    models = max((one.n for one in related), default=0)
    if models < MIN_POINTS:
        return sentence(f"{models or 'no'} models cannot show whether those with higher alignment scores {what}")
    found = [one for one in related if one.found]
    if not found:
        return sentence(f"over {models} models it is not established that those with higher alignment scores {what}")
    top = max(found, key=lambda one: abs(one.effect))
    how = "more" if top.effect > 0 else "less"
    name = top.about.partition(" with ")[0]
    said = what.replace("more", how)
    return sentence(
        f"over {models} models those with a higher {name} {said} "
        f"(Spearman {number(top.effect, digits=2)}; uncontrolled: they differ in more than that)"
    )


def compare_headline(claims: Sequence[Claim]) -> str:
    """The sentence of `chiasm compare`: accuracy where there is one, else the other outcomes."""
    related = of_kind(claims, "relation")
    if related or not of_kind(claims, "outcome"):
        return relation_headline(related)
    return relation_headline(of_kind(claims, "outcome"), "do more of what the data ask for")
