"""What a pruning run found, in one sentence: how many weights can go, and whether one mask serves all questions."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import listed, number, sentence
from chiasm.studies.prune.tables import DENSE


def prune_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    return sentence(*(part for part in (_levels(claims), _types(of_kind(claims, "own-type"))) if part))


def _levels(claims: Sequence[Claim]) -> str:
    chosen, kept = of_kind(claims, "recommended"), of_kind(claims, "kept")
    if not chosen or not kept:
        return "no mask of all types was tried"
    allowed = number(kept[0].control_effect or 0.0, unit="points", significant=3)
    allowed = allowed.removesuffix("s") if kept[0].control_effect == 1 else allowed
    if chosen[0].about != DENSE:
        return (
            f"{chosen[0].where} of the weights can be zero: Wanda is established to keep within a loss of {allowed} of "
            "right answers there"
        )
    where = f"at {kept[0].where}" if len(kept) == 1 else f"at any of {len(kept)} levels"
    text = f"no mask is recommended: Wanda is not established to keep within a loss of {allowed} {where}"
    more = [one.where for one in kept if one.low is not None and one.low > (one.control_effect or 0.0)]
    return f"{text}, and is established to lose more at {listed(more)}" if more else text


def _types(each: Sequence[Claim]) -> str:
    """Whether questions need the weights of their own type."""
    if not each:
        return ""
    more = [one.where for one in each if one.established and one.effect > 0]
    if more:
        return f"questions do better under the mask of their own type at {listed(more)} of the weights"
    if all(one.verdict == "practically none" for one in each):
        return "the mask of another question type serves practically as well"
    return "that questions need the mask of their own type is not established"


def prune_advice(claims: Sequence[Claim]) -> list[str]:
    """What to do: the mask that is recommended, or how many inputs would decide."""
    chosen, needed = of_kind(claims, "recommended"), of_kind(claims, "needed")
    if not chosen:
        return []
    if chosen[0].about != DENSE:
        return [
            f"Zero {chosen[0].where} of the weights; file and time stay as they are where zeros are stored as such."
        ]
    text = "Leave the model as it is for now."
    if needed and (needed[0].inputs or 0) < needed[0].effect:
        takes = f"{number(needed[0].effect, digits=0)} inputs, and {needed[0].inputs} judged here"
        text += (
            f" To show that a mask under which no answer changes keeps the loss allowed takes {takes}: ask for more "
            "with --limit, or allow more with --max-loss."
        )
    return [text]
