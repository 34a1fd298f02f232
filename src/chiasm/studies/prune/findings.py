"""What pruning costs, and whether one mask serves all, in words, made from a run's claims: no sentence says more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.bands import ALPHA
from chiasm.results.findings import Finding
from chiasm.results.wording import bounds, claimed, number, percent
from chiasm.studies.prune.claims import least_pairing
from chiasm.studies.prune.tables import DENSE, IMAGE_TOKENS, SMALLEST, TEXT_TOKENS

_SIGNED: dict[str, Any] = {"significant": None, "digits": 1}
_POINTS = _SIGNED | {"signed": False}
_KEPT_BY = {
    "ablate-common": "weights that both masks keep",
    "ablate-first": "weights that only the image mask keeps",
    "ablate-second": "weights that only the text mask keeps",
    "ablate-random": "as many at random",
}


def prune_findings(claims: Sequence[Claim], *, types: int = 0) -> list[Finding]:
    """What is recommended, what masks cost, against other masks, by question type and modality; strongest first.

    `types`: question types that a mask was calibrated on.
    """
    found = [
        _recommended(claims),
        _losses(of_kind(claims, "loss")),
        _methods(of_kind(claims, "method")),
        _variants(of_kind(claims, "variant")),
        _own_type(of_kind(claims, "own-type"), of_kind(claims, "own-type-control"), types),
        _modalities(of_kind(claims, "modality")),
        _ablation(of_kind(claims, "ablation")),
        _combined(of_kind(claims, "combined")),
        _released(of_kind(claims, "released")),
        _random_weights(of_kind(claims, "baseline"), of_kind(claims, "baseline-score")),
    ]
    return sorted((one for one in found if one is not None), key=lambda finding: -finding.strength)


def lost(claim: Claim) -> str:
    """What a mask does to right answers, in the word that its interval allows: a negative loss is a gain."""
    if claim.low is None or claim.high is None:
        return f"what it loses is not known ({claimed(claim, **_POINTS)})"
    if claim.low > 0:
        return f"it loses {claimed(claim, **_POINTS)}"
    if claim.high < 0:
        gain = replace(claim, effect=-claim.effect, low=-claim.high, high=-claim.low)
        return f"it gains {claimed(gain, **_POINTS)}"
    return f"whether right answers are lost is not established, the loss is {claimed(claim, **_SIGNED)}"


def _recommended(claims: Sequence[Claim]) -> Finding | None:
    """The highest sparsity that is established to keep the loss allowed."""
    [score] = of_kind(claims, "score")
    untouched = f"Untouched, the model is right in {_level(score)}"
    if not score.established:
        guess = percent((score.control_effect or 0.0) / 100)
        untouched += f", which is not established to be more than the {guess} of the most frequent answer: there is "
        untouched += "little to lose"
    chosen, kept = of_kind(claims, "recommended"), of_kind(claims, "kept")
    if not chosen:
        return Finding(f"{untouched}.", 100.0)
    losses = {one.where: one for one in of_kind(claims, "loss")}
    allowed = number(kept[0].control_effect or 0.0, unit="points", significant=3)
    allowed = allowed.removesuffix("s") if kept[0].control_effect == 1 else allowed
    if chosen[0].about != DENSE:
        text = (
            f"Wanda at {chosen[0].where} of the weights is recommended, the most that is established to keep within a "
            f"loss of {allowed} of right answers: {lost(losses[chosen[0].where])}."
        )
        text += _saved(chosen[0].where, claims)
        if len(kept) > 1:
            text += f" Bounds hold for all {len(kept)} levels that could have been chosen."
        return Finding(f"{text} {untouched}.", 100.0)
    least = min(losses.values(), key=lambda one: (one.high is None, one.high))
    text = (
        f"No mask is recommended: at none of {len(kept)} level{'' if len(kept) == 1 else 's'} is Wanda established to "
        f"keep within a loss of {allowed} of right answers. The lowest bound is that at {least.where}: {lost(least)}."
    )
    text += _saved(least.where, claims)
    needed = of_kind(claims, "needed")
    if needed and (needed[0].inputs or 0) < needed[0].effect:
        text += (
            f" Even of a mask that changes no answer this is known only from {needed[0].effect:.0f} inputs on (here "
            f"{needed[0].inputs}): take more examples, or a larger --max-loss."
        )
    return Finding(f"{text} {untouched}.", 100.0)


def _saved(where: str, claims: Sequence[Claim]) -> str:
    """What masks of a level leave out: weights, bytes, products; begins with a space."""
    by_kind = {kind: [one for one in of_kind(claims, kind) if one.where == where] for kind in _SAVED}
    if not all(by_kind.values()):
        return ""
    weights, stored, products = (by_kind[kind][0] for kind in _SAVED)
    whole, dense = weights.control_effect or 0.0, stored.control_effect or 1.0
    change = f"{number(100 * abs(stored.effect) / dense, digits=0)} % {'fewer' if stored.effect >= 0 else 'more'} bytes"
    return (
        f" A mask there zeroes {weights.effect:,.0f} of the model's {whole:,.0f} weights: {change} (of {dense:,.0f}) "
        f"where zeros are not stored, and {number(products.effect, digits=0)} % of a token's products with the "
        "decoder's weights are with 0, which no dense kernel leaves out."
    )


_SAVED = ("saved-weights", "saved-bytes", "saved-operations")


def _losses(losses: Sequence[Claim]) -> Finding | None:
    if not losses:
        return None
    text = "; ".join(f"at {one.where} {lost(one)}" for one in losses)
    return Finding(f"Wanda's masks, calibrated on all types, against the untouched model: {text}.", 95.0)


def _methods(methods: Sequence[Claim]) -> Finding | None:
    if not methods:
        return None
    parts = []
    for control, name in (
        ("magnitude-row", "magnitude per row"),
        ("magnitude", "magnitude per matrix"),
        ("random", "weights at random (one draw)"),
    ):
        own = [one for one in methods if one.control == control]
        if own:
            parts.append(f"{_against(own, 'Wanda', name)}")
    return Finding(f"Against other masks at the same sparsity, {'; '.join(parts)}.", _strength(methods, 90.0))


def _variants(variants: Sequence[Claim]) -> Finding | None:
    """Whether constant parts of the inputs mislead Wanda: its norms about zero and about the mean."""
    if not variants:
        return None
    text = _against(variants, "Wanda with norms about the inputs' means", "Wanda with norms about zero")
    return Finding(f"{text[0].upper()}{text[1:]}.", _strength(variants, 85.0))


def _own_type(own: Sequence[Claim], beyond: Sequence[Claim], types: int) -> Finding | None:
    """Masks of a question's own type beside those of other types: on these examples, and for this pairing of masks."""
    if not own:
        return None
    held = [one for one in own if one.established]
    one = _widest(own)
    about = one.about
    if held:
        parts = [f"{'better' if one.effect > 0 else 'worse'} at {one.where}, by {claimed(one)}" for one in held]
        text = (
            f"Masks do not serve all question types alike ({about}): the mask of a question's own type does "
            f"{'; '.join(parts)}. {_chance(_widest(held), beyond)}"
        )
        open_ = [one for one in own if one not in held]
        if open_:
            rest = "; ".join(f"at {one.where} {claimed(one)}" for one in open_)
            text += f" Elsewhere that is not established: {rest}."
        return Finding(text, 80.0)
    if all(one.verdict == "practically none" for one in own):
        text = (
            f"A mask calibrated on one question type serves the others practically as well ({about}): at {one.where}, "
            f"where the mean difference is largest, own less others is {claimed(one)}."
        )
        return Finding(text, _null(own))
    text = (
        f"That the type that a mask is calibrated on matters is not established ({about}): at {one.where}, where the "
        f"mean difference is largest, own less others is {claimed(one)}. {_chance(one, beyond)}"
    )
    if types and least_pairing(types) > ALPHA:
        text += " So few masks cannot show more."
    return Finding(text, _null(own))


def _chance(one: Claim, beyond: Sequence[Claim]) -> str:
    reach = number(one.control_effect or 0.0, unit="points")
    text = f"Handed to the types at random, these masks differ by up to {reach}"
    less = next((other for other in beyond if other.where == one.where), None)
    return f"{text}: held against that it is {claimed(less)}, {less.verdict}." if less is not None else f"{text}."


def _strength(claims: Sequence[Claim], found: float) -> float:
    """`found` where any of them is established."""
    return found if any(one.established for one in claims) else _null(claims)


def _null(claims: Sequence[Claim]) -> float:
    """The strength of what is not established: below all that is, by its size in smallest effects worth naming."""
    size = max(abs(one.effect) for one in claims) / SMALLEST
    return 9.0 * size / (1.0 + size)


def _combined(combined: Sequence[Claim]) -> Finding | None:
    if not combined:
        return None
    names = {"mean-score": "mean score"}
    parts = [
        _against(
            [one for one in combined if one.about == name], f"the {names.get(name, name)}", "one mask of all types"
        )
        for name in dict.fromkeys(one.about for one in combined)
    ]
    text = f"Of masks combined from those of all types, at equal sparsity, {'; '.join(parts)}."
    return Finding(text, _strength(combined, 60.0))


def _released(released: Sequence[Claim]) -> Finding | None:
    if not released:
        return None
    text = _against(released, "the alpha-SubNet as released", "the intersection at the sparsity named")
    text = f"{text[0].upper()}{text[1:]}. It keeps what the masks of all types keep, and so zeroes more than is named."
    return Finding(text, _strength(released, 55.0))


def _modalities(modalities: Sequence[Claim]) -> Finding | None:
    if not modalities:
        return None
    text = _against(
        modalities, f"masks calibrated on {IMAGE_TOKENS} alone", f"those on as many {TEXT_TOKENS}", plural=True
    )
    return Finding(f"{text[0].upper()}{text[1:]}.", _strength(modalities, 70.0))


def _ablation(ablation: Sequence[Claim]) -> Finding | None:
    """Few weights zeroed where masks of image and text tokens agree, and where not."""
    if not ablation:
        return None
    parts = []
    for one in ablation:
        if one.established:
            more = "more" if one.effect > 0 else "fewer"
            names = _KEPT_BY[one.about], _KEPT_BY[one.control or ""]
            parts.append(f"{names[0]} leave {more} right answers than {names[1]}, by {claimed(one, **_SIGNED)}")
    rest = [one for one in ablation if not one.established]
    if rest:
        one = _widest(rest)
        alike = all(claim.verdict == "practically none" for claim in rest)
        how = "is practically none" if alike else "is not established"
        others = "other difference" if parts else "difference"
        parts.append(
            f"any {others} between weights that both masks keep, that only the image or only the text mask keeps, and "
            f"as many at random {how} (the largest, {_KEPT_BY[one.about]} less {_KEPT_BY[one.control or '']}: "
            f"{claimed(one, **_SIGNED)})"
        )
    text = (
        f"With {ablation[0].where} of the weights zeroed, {'; '.join(parts)}. Kept weights are larger than weights "
        "drawn at random, which are a weak control: the kept ones against each other say more."
    )
    return Finding(text, _strength(ablation, 65.0))


def _random_weights(baseline: Sequence[Claim], scores: Sequence[Claim]) -> Finding | None:
    if not scores:
        return None
    right = f"A model with random weights, right in {_level(scores[0])} untouched,"
    if not baseline:
        return Finding(f"{right} has nothing to lose under a mask, and so is no control of what is lost.", 0.5)
    one = _widest(baseline)
    how = "loses" if any(claim.established for claim in baseline) else "has no established loss of right answers"
    text = f"{right} {how} under Wanda's masks: {claimed(one, **_POINTS)} at {one.where}, the largest difference."
    return Finding(text, _strength(baseline, 10.0))


def _against(own: Sequence[Claim], first: str, second: str, *, plural: bool = False) -> str:
    """Where `first` keeps more right answers than `second`, and where fewer; the largest difference of any."""
    verb = "keep" if plural else "keeps"
    more = [one for one in own if one.established and one.effect > 0]
    fewer = [one for one in own if one.established and one.effect < 0]
    if more or fewer:
        than = f" right answers than {second}"
        parts = []
        for held, word in ((more, "more"), (fewer, "fewer")):
            if held:
                at = ", ".join(f"{one.where} ({claimed(one, **_SIGNED)})" for one in held)
                parts.append(f"{word}{than} at {at}")
                than = ""
        return f"{first} {verb} {', and '.join(parts)}"
    one = _widest(own)
    if all(claim.verdict == "practically none" for claim in own):
        how = f"{verb} practically as many right answers as {second}"
    else:
        are = "are" if plural else "is"
        how = f"{are} not established to keep more or fewer right answers than {second}"
    return f"{first} {how} (largest at {one.where}: {claimed(one, **_SIGNED)})"


def _widest(of: Sequence[Claim]) -> Claim:
    return max(of, key=lambda one: abs(one.effect))


def _level(score: Claim) -> str:
    interval = bounds(score.low, score.high, missing="", digits=1)
    shown = f"95 % interval {interval}" if interval else "no interval: too few inputs"
    return f"{number(score.effect)} % ({shown}, n = {score.n})"
