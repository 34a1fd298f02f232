"""What single heads do, in words, made from their claims."""

from collections.abc import Mapping, Sequence

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, listed, number
from chiasm.studies.flow.head_claims import CHOSEN, MIN_INPUTS_TO_SPLIT, cut_of
from chiasm.studies.flow.judgement import control_label

_WHAT = "the answer's log-probability"
_Beside = Mapping[tuple[str, str, str], Claim]


def head_findings(claims: Sequence[Claim]) -> list[Finding]:
    """One finding for every cut of single heads: which of them are confirmed, and what the strongest does."""
    beside = {(one.kind, one.about, one.where): one for one in claims if one.kind.startswith("head-")}
    cuts: dict[str, list[Claim]] = {}
    for one in of_kind(claims, "head"):
        cuts.setdefault(cut_of(one.about), []).append(one)
    held_out = of_kind(claims, "head-held-out")
    return [
        _cut(cut, every, [one for one in held_out if cut_of(one.about) == cut], beside) for cut, every in cuts.items()
    ]


def _cut(cut: str, every: Sequence[Claim], held_out: Sequence[Claim], beside: _Beside) -> Finding:
    layers = len({one.where for one in every})
    named = f"{len(every)} {_unit(every[0])}s in {layers} layer{'s'[: layers - 1]}, one at a time"
    if not held_out:
        return _unsplit(f"{_done(cut)} ({named})", every, beside)
    confirmed = [one for one in held_out if one.found]
    chosen = f"the {len(held_out)} that change" if len(held_out) > 1 else "the one that changes"
    text = f"{_done(cut)} ({named}): of {chosen} {_WHAT} most on half of the inputs, "
    if confirmed:
        sure = "" if all(one.established for one in confirmed) else " (uncontrolled)"
        do = "does" if len(confirmed) == 1 else "do"
        text += f"{len(confirmed)} {do} so on the other half too{sure}: {_named(confirmed)}"
    elif all(one.verdict == "practically none" for one in held_out):
        text += "all change it by practically nothing on the other half"
    else:
        text += "none is established to do so on the other half"
    top = strongest(held_out)
    assert top is not None
    text += f". The largest change there, by {_where(top)}, is {claimed(top)}{_compared(top, beside)}."
    whole = sum(one.established for one in every)
    text += f" Over all inputs, corrected over all heads, layers and cuts, {whole} of {len(every)} are established."
    return Finding(text, 0.5 if confirmed else 0.12)


def _unsplit(what: str, every: Sequence[Claim], beside: _Beside) -> Finding:
    """Where there are too few inputs, or heads, to choose on one half and judge on the other."""
    found, top = [one for one in every if one.found], strongest(every)
    assert top is not None
    if found:
        said = f"{len(found)} of {len(every)} have an effect on {_WHAT}, corrected over all heads, layers and cuts"
    elif all(one.verdict == "practically none" for one in every):
        said = f"each changes {_WHAT} by practically nothing"
    else:
        said = f"none is established to change {_WHAT}"
    text = f"{what}: {said}; the largest change, by {_where(top)}, is {claimed(top)}{_compared(top, beside)}."
    few = max(one.inputs or one.n for one in every)
    if few < MIN_INPUTS_TO_SPLIT:
        text += (
            f" {few} inputs are too few to choose heads on one half and judge them on the other "
            f"(from {MIN_INPUTS_TO_SPLIT} on, up to {CHOSEN} of each cut are)."
        )
    elif len(every) > 1:
        text += " None was chosen on half of the inputs: none does as much there as is worth naming."
    return Finding(text, 0.3 if found else 0.1)


def _compared(top: Claim, beside: _Beside) -> str:
    """A head's effect beside the control that comes nearest to it."""
    if top.control is None:
        return "; it is uncontrolled: no control stands beside it"
    effect = number(top.control_effect or 0.0, unit="nat", signed=True, significant=2)
    text = f"; the control that comes nearest there ({control_label(top.control)}) changes it by {effect}"
    difference = beside.get((f"{top.kind}-beyond", top.about, top.where))
    reach = beside.get((f"{top.kind}-reach", top.about, top.where))
    if difference is not None:
        text += f", the difference is {claimed(difference)}"
    if reach is not None and not top.established:
        most = number(reach.effect, unit="nat", significant=2)
        text += f"; some head of one more random model may change it by up to {most}, by {reach.n} of them"
    return text


def _done(cut: str) -> str:
    """What is done to a head, as a sentence begins."""
    if cut.startswith("zero:"):
        return f"Taking away what a head gives at {cut.partition('@')[2]}"
    return f"Cutting {cut.partition('@')[0]} in a head"


def _unit(one: Claim) -> str:
    return "group" if one.about.rpartition(", ")[2].startswith("group") else "head"


def _named(confirmed: Sequence[Claim]) -> str:
    return listed([_where(one) for one in sorted(confirmed, key=lambda one: -abs(one.effect))])


def _where(one: Claim) -> str:
    return f"{one.about.rpartition(', ')[2]} of layer {one.where}"
