"""Why an effect is not established though its interval leaves out 0, in a few words beside its verdict."""

from collections.abc import Mapping
from typing import Final

from chiasm.core.claims import MIN_INPUTS, Claim
from chiasm.core.statistics.bands import ALPHA

ALLOWED: Final = "loss allowed"
"""What a loss is compared with that is to be kept: no control, but a bound."""
_OF: Final = ("-control", "-beyond")


def about_effect(kind: str) -> str:
    """The kind of claims that those of `kind` compare with a control; the same kind where they compare none."""
    if kind == "beyond":
        return "effect"
    return next((kind.removesuffix(end) for end in _OF if kind.endswith(end)), kind)


def kinds_beyond(kind: str) -> tuple[str, ...]:
    """The kinds of claims that may say how far an effect of `kind` goes beyond its control."""
    shared = ("beyond",) if kind in ("effect", "recovery") else ()
    return (
        *shared,
        f"{kind}-beyond",
        f"{kind}-control",
        *((kind.replace("right", "gain"),) if "right" in kind else ()),
    )


def doubt(
    claim: Claim, effect: Claim | None, controls: Mapping[str, float], *, difference: bool, beyond: Claim | None = None
) -> str:
    """The reason; empty where the verdict is another, or the interval holds 0 or is not known.

    `effect`: what a claim about a control is about, where that is another claim; `controls`: what controls show,
    in the claim's unit; `difference`: the claim is about the difference from them; `beyond`: the claim that says how
    far this one goes beyond its control, where there is one.
    """
    low, high = claim.low, claim.high
    if claim.verdict != "not established" or low is None or high is None or low <= 0 <= high:
        return ""
    if claim.control == ALLOWED:
        return "more than allowed" if claim.control_effect is not None and low > claim.control_effect else ""
    if claim.inputs is not None and claim.inputs < MIN_INPUTS:
        return f"fewer than {MIN_INPUTS} inputs"
    if claim.p is not None and claim.p > ALPHA:
        return f"p above {ALPHA:g} after correction"
    if effect is not None and not effect.found:
        return "the effect itself is not established"
    if not difference:
        if any(value * claim.effect > 0 and abs(value) >= abs(claim.effect) for value in controls.values()):
            return "a control as large"
        if any(low <= value <= high for value in controls.values()):
            return "the interval holds the control"
    small = "too small to name"
    if beyond is not None and beyond.control == claim.control:
        open_ = beyond.low is None or beyond.high is None or beyond.low <= 0 <= beyond.high
        late = beyond.p is not None and beyond.p > ALPHA
        return "not beyond its control" if open_ or late else small
    return small if claim.control is None else f"not beyond its control, or {small}"
