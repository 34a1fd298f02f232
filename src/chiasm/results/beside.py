"""An effect and its control in one row: its size, what the nearest control shows, and the paired difference."""

from collections.abc import Callable, Sequence

from chiasm.core.claims import Claim
from chiasm.results.doubts import doubt
from chiasm.results.wording import compact, number

MISSING = "-"


def beside_control(
    top: Claim,
    differences: Sequence[Claim],
    label: Callable[[Claim], str],
    *,
    effect: str,
    unit: str,
    digits: int = 2,
) -> dict[str, str]:
    """The cells of a row about one claim, by their heads.

    `differences`: claims about the difference to the nearest control, among them that of `top`; `label`: what its
    control is called; `effect`, `unit`: what the head of its column says.
    """
    difference = next((one for one in differences if (one.about, one.where) == (top.about, top.where)), None)
    control = beyond = MISSING
    if top.control is not None and top.control_effect is not None:
        control = f"{label(top)}: {number(top.control_effect, digits=digits, signed=True)}"
    if difference is not None:
        fewer = f", n = {difference.n}" if difference.n != top.n else ""
        beyond = f"{compact(difference.effect, difference.low, difference.high, digits=digits)}{fewer}"
    known = {} if top.control is None or top.control_effect is None else {top.control: top.control_effect}
    why = doubt(top, None, known, difference=False, beyond=difference)
    return {
        f"{effect} ({unit})": compact(top.effect, top.low, top.high, digits=digits),
        f"nearest control, and its own ({unit})": control,
        f"difference from it ({unit})": beyond,
        "n": f"{top.n}" if top.inputs in (None, top.n) else f"{top.n} on {top.inputs} inputs",
        "verdict": f"{top.verdict}: {why}" if why else top.verdict,
    }
