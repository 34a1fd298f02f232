"""What the patches of a run say, made from its claims: nothing that no row of `claims` holds."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.results.findings import Finding
from chiasm.results.wording import alone, claimed, number, places
from chiasm.studies.patch.claims import HALF, curves_of
from chiasm.studies.patch.headline import name_of
from chiasm.studies.patch.screen_claims import screens
from chiasm.studies.patch.tables import DENOISE, RANDOM_TOKENS, SAME_ANSWER, SHUFFLED

CONTROL_NAMES = {
    SAME_ANSWER: "a donor of the same answer",
    RANDOM_TOKENS: "as many random tokens",
    SHUFFLED: "an unrelated donor",
    "twin": "the random-weights baseline",
}


def patch_findings(claims: Sequence[Claim]) -> list[Finding]:
    """Where each span carries the answer, whether knockout agrees, and how large the gap is that is shared out."""
    most = curves_of(of_kind(claims, "most"))
    differences = of_kind(claims, "beyond")
    odds = {(one.about, one.where): one for one in of_kind(claims, "odds")}
    found = [
        _carried(by_layer, most.get(about, []), differences, odds)
        for about, by_layer in curves_of(of_kind(claims, "recovery")).items()
    ]
    nearest = {one.about: one for one in of_kind(claims, "agreement-layer")}
    found += [_agreement(one, nearest.get(one.about)) for one in of_kind(claims, "agreement")]
    found += _not_compared(of_kind(claims, "agreement-no-cut"), of_kind(claims, "agreement-no-patch"))
    found += _types(of_kind(claims, "type"), of_kind(claims, "types"))
    found += [_screen(one, screens(claims, one.about)) for one in of_kind(claims, "screen")]
    gaps, small = of_kind(claims, "gap"), of_kind(claims, "small-gap")
    found += [_gap(one, small) for one in gaps]
    return sorted(found, key=lambda finding: -finding.strength)


def _carried(
    by_layer: Sequence[Claim],
    most: Sequence[Claim],
    differences: Sequence[Claim],
    odds: dict[tuple[str, str], Claim],
) -> Finding:
    """The share of one span in one direction: where it is there, where more than half, and the largest."""
    top = strongest(by_layer)
    assert top is not None
    span, direction, *site = top.about.split(", ")
    back = direction == DENOISE
    verb, whole = _opening(top.about)
    beside = _beside(top, differences, odds)
    if not any(one.found for one in by_layer):
        where = f"the largest share, at layer {top.where}, is {claimed(top)}{beside}"
        if all(one.verdict == "practically none" for one in by_layer):
            return Finding(f"{whole}{verb} practically nothing of the answer at any layer: {where}.", 0.9)
        return Finding(f"{whole}are not established to {verb} any of the answer: {where}.", 0.6)
    there = places(by_layer, [one.found for one in by_layer])
    half = places(by_layer, [one.found for one in most])
    more = f", more than half of it in {half}" if half else f", nowhere established to be more than {HALF:g} % of it"
    text = f"{whole}{verb} a part of the answer in {there}{more}; the most, at layer {top.where}, is {claimed(top)}"
    # What comes back says more than what is lost, and a whole span more than a part of it.
    strength = 2.0 + min(1.0, abs(top.effect) / 100) - 0.6 * (not back) - 0.5 * bool(site) - 0.6 * ("." in span)
    return Finding(f"{text}{beside}.", strength)


def _beside(top: Claim, differences: Sequence[Claim], odds: dict[tuple[str, str], Claim]) -> str:
    found = next((one for one in differences if (one.about, one.where) == (top.about, top.where)), None)
    if top.control is None or found is None:
        text = "; uncontrolled, as no control stands beside it"
    else:
        level = number(top.control_effect or 0.0, unit="%", significant=3)
        apart = claimed(found, unit="points")
        text = f"; with {CONTROL_NAMES.get(top.control, top.control)} it is {level}, a difference of {apart}"
    other = odds.get((top.about, top.where))
    return text if other is None else f"{text}; of the log-odds of both answers it is {alone(other)}"


def _agreement(one: Claim, nearest: Claim | None) -> Finding:
    """Which layers the two methods name, and whether they rank all of them alike."""
    both, value = f"Patching and the cut {one.about} of the same examples", claimed(one)
    ways = {True: "alike", False: "in opposite order"}
    ranked = f"rank all layers {ways[one.effect > 0]}: rank correlation {value}"
    if not one.established:
        ranked = f"are not established to rank all layers alike: rank correlation {value}"
    if nearest is None:
        return Finding(f"{both} {ranked}.", 2.0 if one.established else 1.2)
    apart = abs(nearest.effect)
    named = "name the same layer first" if not apart else f"name layers first that lie {apart:g} apart"
    sure = claimed(nearest, significant=2)
    strength = 2.45 if one.established or nearest.verdict == "practically none" else 1.2
    return Finding(f"{both} {named} (patching's less the cut's: {sure}); they {ranked}.", strength)


def _not_compared(cuts: Sequence[Claim], patches: Sequence[Claim]) -> list[Finding]:
    """Cuts whose layers say nothing beside those of patching: where one of the two does nothing, it has no most."""
    found = []
    for cut in dict.fromkeys(one.about for one in (*cuts, *patches)):
        idle = [one for one in cuts if one.about == cut]
        parts = [f"the cut {cut} is not established to change anything at any layer ({_most(one)})" for one in idle]
        still = [one for one in patches if one.about == cut]
        parts += [
            f"patching what the cut {cut} reads is not established to move any of the gap in any layer ({_most(one)})"
            for one in still
        ]
        said = " and ".join(parts)
        found.append(Finding(f"{said[0].upper()}{said[1:]}, so that the two are not compared.", 0.5))
    return found


def _most(one: Claim) -> str:
    return f"the most, at layer {one.where}, is {claimed(one)}"


def _types(each: Sequence[Claim], differ: Sequence[Claim]) -> list[Finding]:
    """The share of every curve by question type, and the two types that differ most clearly."""
    found = []
    for about, of_curve in _by_curve(each).items():
        weak, strong = (pick(of_curve, key=lambda one: one.effect) for pick in (min, max))
        verb, whole = _opening(about)
        held = sum(one.established for one in of_curve)
        text = (
            f"{whole}{verb} an established part of the answer at layer {weak.where}, the deepest such layer, in {held} "
            f"of {len(of_curve)} question types: from {claimed(weak)} for {_type_of(weak)} to {claimed(strong)} for "
            f"{_type_of(strong)}"
        )
        levels = [one.control_effect for one in of_curve if one.control_effect is not None]
        if levels:
            low, high = (number(level, unit="%", significant=3) for level in (min(levels), max(levels)))
            name = CONTROL_NAMES.get(strong.control or "", strong.control or "")
            text += f"; type by type with {name} it is {low} to {high}, which was tested over all types together"
        for one in differ:
            if one.about.startswith(f"{about}, "):
                pair = one.about[len(about) + 2 :].replace(" against ", " and ")
                how = "differ by" if one.established else "are not established to differ; the difference is"
                text += f". {pair} {how} {claimed(one, unit='points')}; the pair was picked, and p allows for it"
        found.append(Finding(f"{text}.", 0.7))
    return found


def _by_curve(each: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Claims of the kind `type` by the curve that they are of."""
    found: dict[str, list[Claim]] = {}
    for one in each:
        found.setdefault(one.about.rpartition(", ")[0], []).append(one)
    return found


def _type_of(one: Claim) -> str:
    return one.about.rpartition(", ")[2]


def _opening(about: str) -> tuple[str, str]:
    """How a sentence about a curve begins, and its verb."""
    span, direction, *site = about.split(", ")
    what = f"{name_of(span)}{f' (what {site[0]} adds)' if site else ''}"
    back = direction == DENOISE
    verb = "bring back" if back else "take away"
    return verb, f"{what[0].upper()}{what[1:]}, {'put into the other run' if back else _REPLACED}, "


_REPLACED = "replaced by the other run's"


def _screen(one: Claim, error: Claim | None) -> Finding:
    """Whether the gradient can be trusted where no exact patch was made."""
    what, _, direction = one.about.partition(", ")
    value, off = claimed(one), "" if error is None else f"; its word is off by {claimed(error, signed=False)}"
    if one.established and one.effect > 0:
        text = f"The gradient ranks patches of {what} ({direction}) as exact patches do: rank correlation {value}{off}"
    else:
        text = f"That the gradient ranks patches of {what} ({direction}) as exact ones do is not established: {value}"
        text += off
    return Finding(f"{text}.", 1.1 if one.established else 1.6)


def _gap(one: Claim, small: Sequence[Claim]) -> Finding:
    lower = claimed(one, signed=False)
    text = f"With the donor in place of the own input the own answer's log-probability is lower by {lower}"
    if one.control is not None:
        text += f"; with random weights by {number(one.control_effect or 0.0, unit='nat', significant=3)}"
        if not one.established:
            text += ", so that shares of it are not established to mean anything"
    else:
        text += "; uncontrolled, as no model with random weights stands beside it"
    for count in small:
        if count.effect:
            text += f"; {count.effect:g} of {count.n} {count.quantity}"
    return Finding(f"{text}.", 1.0 if one.found else 1.5)
