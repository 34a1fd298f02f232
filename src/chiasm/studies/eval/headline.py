"""What an evaluation found, in one sentence: how much is right, more than guessing or not, and what the image adds."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import number, sentence
from chiasm.studies.eval.claims import ALL


def eval_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    right = of_kind(claims, "right", ALL)
    if not right:
        return _measured(claims)
    gain, seen = of_kind(claims, "gain", ALL)[0], of_kind(claims, "seen", ALL)
    guess = f"{number(right[0].control_effect or 0.0, unit='%')}, what {gain.control} of each type gets"
    if gain.established and gain.effect > 0:
        beyond = f"more than {guess}"
    elif gain.verdict == "practically none":
        beyond = f"practically no more than {guess}"
    else:
        beyond = f"not established to be more than {guess}"
    share = number(right[0].effect, unit="%")
    return sentence(f"{share} of the answers are right, {beyond}", *(_image(one) for one in seen))


def _image(seen: Claim) -> str:
    size = number(abs(seen.effect), unit="points")
    if seen.established:
        return f"seeing the image adds {size}" if seen.effect > 0 else f"seeing the image costs {size}"
    if seen.verdict == "practically none":
        return "seeing the image changes practically nothing"
    return "that seeing the image helps is not established"


def _measured(claims: Sequence[Claim]) -> str:
    """The same by the main measure of data whose answers are not right or wrong."""
    measures = of_kind(claims, "measure")
    if not measures:
        return "There is no answer to score."
    main = measures[0]
    value = number(main.effect, unit="%") if main.unit == "%" else number(main.effect, digits=2)
    beside = of_kind(claims, "measure-seen", main.about)
    words = {"established": "which needs the image", "practically none": "practically the same without the image"}
    parts = [words.get(one.verdict, "not established to need the image") for one in beside]
    if beside and beside[0].established and beside[0].effect <= 0:
        parts = ["less than without the image"]
    return sentence(", ".join([f"{main.quantity} is {value}", *parts]))
