"""Findings of an alignment run in words, made from its claims: a sentence says nothing that no row of them holds."""

from collections.abc import Callable, Mapping, Sequence
from math import exp

import polars as pl

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.wording import claimed, number
from chiasm.studies.align.claims import ITSELF, MAGNITUDE, PAIRED, SHUFFLED, SHUFFLED_PAIRS, SMALLEST_NORM
from chiasm.studies.align.contrasts import by_depth, passes
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS, SMALLEST

Frames = Mapping[str, pl.DataFrame]
_CONTROLS = {
    NOISE_TOKENS: "random perceptual tokens",
    RANDOM_WEIGHTS: "random weights",
    MODALITY_ISOLATION: "no attention between them",
    ITSELF: "one span's own tokens",
    PAIRED: "each example with itself",
    SHUFFLED: "shuffled norms",
    SHUFFLED_PAIRS: "shuffled pairs",
    MAGNITUDE: "the weights' magnitude alone",
}


def align_findings(claims: Sequence[Claim], isolated: int | None = None) -> list[Finding]:
    """What is found, strongest first. `isolated`: how many first blocks have no attention between the two kinds in the
    control that cuts it, where that is known.
    """
    blocks = f"the first {isolated} block{'' if isolated == 1 else 's'}" if isolated else "the first blocks"
    found = [*_scores(claims, blocks), *change(claims), *_norms(claims), *cones(claims), *_shared(claims, blocks)]
    found += [*_neighbours(claims), *_gap(claims), *masks(claims), *_words(claims), *_released(claims)]
    return sorted(found, key=lambda finding: -finding.strength)


def judging_notes(smallest: float) -> list[str]:
    """How verdicts and p-values are to be read; `smallest`: the smallest difference of cosines worth naming."""
    return [
        f"The smallest effect worth naming is {smallest:g} in cosines, scores and overlaps, {smallest:g} nat in "
        f"divergences, and 10 % in norms (log ratio {SMALLEST_NORM:.3f}): 'practically no difference' means that the "
        "whole interval lies inside it, even where p is small.",
        "Interval and p beside an effect are those of the effect against 0; those of its difference from a control "
        "stand beside that difference. An effect is established where it is there and its difference from every "
        "control is established too, in the same direction: 'not established' with a small p is an effect that a "
        "control shows as well.",
    ]


def control_in_words(claim: Claim) -> str:
    """What a claim is compared with."""
    return _CONTROLS.get(claim.control or "", claim.control or "")


def beside(claim: Claim, claims: Sequence[Claim], of: str = "it") -> str:
    """Sentences on every control that a claim was tested against, or that there is none; begins with a space.

    The first is of the control that leaves the least of it. `of`: what the claim is called.
    """
    tested = _tested(claim, claims)
    first = next((one for one in tested if one.control == claim.control), None)
    if claim.verdict == "uncontrolled" or claim.control is None:
        return f" Without a control, {of} is uncontrolled."
    if first is None:
        shown = "" if claim.control_effect is None else f", which gives {_value(claim, claim.control_effect)}"
        return f" The control is {control_in_words(claim)}{shown}."
    if not passes(claim.effect, first):
        as_much = (first.effect > 0) != (claim.effect > 0)
        least = "A control shows as much or more" if as_much else "It is not established to go beyond a control"
    else:
        least = "The control that leaves least of it" if len(tested) > 1 else "The control"
    text = f" {least}: {_difference(first)}."
    for one in tested:
        if one is not first:
            shown = _difference(one)
            text += f" {shown[0].upper()}{shown[1:]}."
    return text


def _tested(claim: Claim, claims: Sequence[Claim]) -> list[Claim]:
    """The claims about what a claim leaves beyond each of its controls."""
    return [one for one in of_kind(claims, f"{claim.kind}-control", claim.about) if one.where == claim.where]


def _difference(less: Claim) -> str:
    """What a control gives, and the difference from it, with its interval and its p."""
    return f"{control_in_words(less)} give {_value(less, less.control_effect or 0.0)}, a difference of {claimed(less)}"


def _value(claim: Claim, value: float) -> str:
    unit = "" if claim.unit == "1" else claim.unit
    return number(value, unit=unit, significant=3, signed=True)


def depths(claims: Sequence[Claim], inside: Callable[[Claim], bool]) -> str:
    """The hidden states at which something holds, neighbours as ranges; empty for none."""
    runs = runs_of_true([inside(one) for one in claims])
    parts = [claims[a].where if b - a == 1 else f"{claims[a].where}-{claims[b - 1].where}" for a, b in runs]
    if not parts:
        return ""
    plural = "s" if len(parts) > 1 or "-" in parts[0] else ""
    shown = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"state{plural} {shown}"


def over_depths(claims: Sequence[Claim], more: str, less: str) -> str:
    """Where `more` holds (an effect above 0) and where `less`, and where neither is established."""
    found = []
    for verdict, how in (("established", ""), ("uncontrolled", " (uncontrolled)")):
        for sign, words in ((1, more), (-1, less)):
            at = depths(claims, lambda one, v=verdict, s=sign: one.verdict == v and one.effect * s > 0)
            if at:
                found.append(f"{words} at {at}{how}")
    nothing = depths(claims, lambda one: one.verdict == "practically none")
    if nothing:
        found.append(f"practically no difference at {nothing}")
    rest = depths(claims, lambda one: one.verdict == "not established")
    if rest:
        found.append(f"not established at {rest}")
    return "; ".join(found)


def top(claims: Sequence[Claim]) -> Claim:
    """The strongest of claims of one kind."""
    found = strongest(claims)
    assert found is not None
    return found


def rank(claim: Claim, most: float) -> float:
    """Established effects come first, then uncontrolled ones, each by `most`; then what was not found, by its size in
    smallest effects worth naming.
    """
    if claim.found:
        return most + (100.0 if claim.established else 50.0)
    size = abs(claim.effect) / (SMALLEST_NORM if claim.kind == "norms" else SMALLEST)
    return 10.0 * size / (1 + size) + 1e-6 * most


def largest(claims: Sequence[Claim], rows: Sequence[Claim], what: str, at: str = "at") -> str:
    """Where `rows` are largest: of those established, with all controls; and what is larger but is not established.

    `what`: the effect, in words with which a sentence begins; `at`: how the state is introduced.
    """
    most, size = top(rows), max(rows, key=lambda one: abs(one.effect))
    of = {"established": " of the established states", "uncontrolled": " of the states where it is there"}
    among = of.get(most.verdict, "")
    text = f"{what} is largest{among} {at} state {most.where}: {claimed(most)}{_not(most)}.{beside(most, claims)}"
    begin = f" {at.capitalize()} state"
    if size is not most:
        sign = " and of the other sign" if size.effect * most.effect < 0 else ""
        text += f"{begin} {size.where} it is larger{sign}, {claimed(size)}, but {size.verdict}{_since(size, claims)}."
    for one in rows:
        outside = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
        if outside and one.effect * most.effect < 0 and one.verdict == "not established" and one is not size:
            text += (
                f"{begin} {one.where} the sign is the other one: {claimed(one)}, {one.verdict}{_since(one, claims)}."
            )
    return text


def _since(claim: Claim, claims: Sequence[Claim]) -> str:
    """The control for which an effect that is there is not established; begins with a semicolon."""
    first = next((one for one in _tested(claim, claims) if one.control == claim.control), None)
    return "" if first is None or passes(claim.effect, first) else f"; there {_difference(first)}"


def _not(claim: Claim) -> str:
    return "" if claim.found else f", {claim.verdict}"


def _scores(claims: Sequence[Claim], blocks: str) -> list[Finding]:
    found = []
    for one in of_kind(claims, "score"):
        name, _, spans = one.about.partition(" of ")
        a, _, b = spans.partition(" and ")
        where = (
            f"{a} tokens as they enter the decoder and the mean of {b} tokens at every depth"
            if name == "ima_0"
            else f"{a} tokens and the mean of {b} tokens at the same depth"
        )
        against = of_kind(claims, "score-control", one.about)
        # Attention cut in the model itself is no control of chance, and does not decide the verdict.
        deciding = [other for other in against if other.control != MODALITY_ISOLATION]
        # Of a score that is not established those are named that it does not surpass.
        failing = [other for other in deciding if not (other.established and other.effect > 0)]
        names = [control_in_words(other) for other in (deciding if one.established or not failing else failing)]
        beyond = f" beyond {' and '.join(names)}" if names else ""
        cut = next((other for other in against if other.control == MODALITY_ISOLATION), None)
        if one.established and cut is not None and cut.established and cut.effect < 0:
            beyond += f", though the model shows more with no attention between {a} and {b} in {blocks}"
        text = (
            f"The alignment score {name}, the cosine between the mean of {where}, is "
            f"{claimed(one, signed=False)}: {one.verdict}{beyond}."
        )
        for other in against:
            how = "It is above" if other.effect > 0 else "It is below"
            if other.verdict != "established":
                how = (
                    "It is practically"
                    if other.verdict == "practically none"
                    else "It is not established to differ from"
                )
            where = f" in {blocks}" if other.control == MODALITY_ISOLATION else ""
            text += f" {how} that with {control_in_words(other)}{where}: a difference of {claimed(other)}."
        if any(other.effect <= 0 for other in deciding):
            text += " A score that a control reaches as well is no sign of alignment that was learnt."
        found.append(Finding(text, rank(one, 30.0 if name == "ima_same" else 25.0)))
    return found


def change(claims: Sequence[Claim]) -> list[Finding]:
    """How much more one span's tokens change than another's, and where."""
    found = []
    for about, rows in by_depth(of_kind(claims, "change")):
        a, _, b = about.partition(" less ")
        text = (
            f"How much {a} tokens change from one state to the next, against {b} tokens: "
            f"{over_depths(rows, 'less', 'more')}. "
            f"{largest(claims, rows, 'The difference of their cosines with themselves', 'after')}"
        )
        found.append(Finding(text, rank(top(rows), 20.0)))
    return found


def _norms(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "norms")):
        a, _, b = about.partition(" to ")
        first, last = (
            f"{place} the median norm of {a} tokens is {exp(row.effect):.2g} times that of {b} tokens: log ratio "
            f"{claimed(row)}, {row.verdict}.{beside(row, claims)}"
            for row, place in ((rows[0], "At the embeddings"), (rows[-1], "After the last block"))
        )
        found.append(Finding(f"{first} {last}", rank(rows[0], 10.0)))
    return found


def cones(claims: Sequence[Claim]) -> list[Finding]:
    """Whether each span is nearer to itself in other inputs than to the other span."""
    found = []
    for about, rows in by_depth(of_kind(claims, "cone")):
        span, _, pair = about.partition(", of ")
        other = next((one for one in pair.split(" and ") if one != span), pair)
        text = (
            f"{_CONES} {span} tokens nearer to {span} tokens of other inputs than to {other} tokens of their own "
            f"example: {over_depths(rows, 'so', 'the reverse')}. "
            f"{largest(claims, rows, 'The difference of cosines')}"
        )
        found.append(Finding(text, rank(top(rows), 8.0)))
    return found


_CONES = "Cones (tokens of one kind share a direction, whatever the input):"


def _shared(claims: Sequence[Claim], blocks: str) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "shared")):
        text = (
            f"Beyond what all examples share (each span's mean subtracted), {about} of one example against those of "
            f"two: {over_depths(rows, 'nearer', 'farther')}. {largest(claims, rows, 'The difference of cosines')}"
        )
        cut = of_kind(claims, "shared-attention", about)
        if cut:
            most = top(cut)
            text += (
                f" Attention between them in {blocks}: {over_depths(cut, 'it raises the difference', 'it lowers it')}; "
                f"most at state {most.where}, by {claimed(most)}."
            )
        found.append(Finding(text, rank(top(rows), 15.0)))
    return found


def _neighbours(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "neighbours")):
        a, _, b = about.partition(" and ")
        text = (
            f"Mutual nearest neighbours (the examples near one by its {a} and by its {b}), against shuffled pairs: "
            f"{over_depths(rows, 'more in common', 'fewer in common')}. "
            f"{largest(claims, rows, 'The share in common beyond that')}"
        )
        found.append(Finding(text, rank(top(rows), 14.0)))
    return found


def _gap(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "gap")):
        text = (
            f"Modality gap between {about} (the two lie apart as wholes, whatever the example): "
            f"{over_depths(rows, 'there', 'the reverse')}. "
            f"{largest(claims, rows, 'The share of the variance of mean tokens that lies between the two')}"
        )
        found.append(Finding(text, rank(top(rows), 9.0)))
    return found


def masks(claims: Sequence[Claim]) -> list[Finding]:
    """Overlap of masks at half of the weights, against what needs no span at all."""
    found = []
    for one in of_kind(claims, "overlap"):
        text = (
            f"The halves of the weights that Wanda keeps for {one.about} overlap (intersection over union) by "
            f"{claimed(one, signed=False)}: {one.verdict}{'' if one.control is None else ' beyond its controls'}."
            f"{beside(one, claims)}"
        )
        rows = [row for row in of_kind(claims, "masks") if row.about.startswith(f"{one.about} beyond ")]
        for row in rows:
            name = _CONTROLS.get(row.about.rpartition(" beyond ")[2], row.about)
            own = control_in_words(row) == name and row.control_effect is not None
            gives = f", which gives {_value(row, row.control_effect or 0.0)}" if own else ""
            text += f" Beyond {name}{gives}: {claimed(row)}, {row.verdict}.{'' if own else beside(row, claims)}"
        found.append(Finding(text, rank(top(rows or [one]), 12.0)))
    return found


def _words(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "words-js")):
        a, _, b = about.partition(" from ")
        text = (
            f"Words that hidden states give through the output head, those of {a} and {b} against those of tokens of "
            f"one span: {over_depths(rows, 'they differ more', 'they differ less')}. "
            f"{largest(claims, rows, 'The Jensen-Shannon divergence beyond that')}"
            f"{_other_divergence(claims, rows, a, b)}"
        )
        found.append(Finding(text, rank(top(rows), 5.0)))
    return found


def _other_divergence(claims: Sequence[Claim], rows: Sequence[Claim], a: str, b: str) -> str:
    """Where the Kullback-Leibler divergences have another verdict than the Jensen-Shannon divergences `rows`."""
    kinds = {one.where: one.verdict for one in rows}
    both = [one for about in (f"{a} from {b}", f"{b} from {a}") for one in of_kind(claims, "words-kl", about)]
    if not both:
        return ""
    others = [one for one in both if one.verdict != kinds.get(one.where)]
    if not others:
        return " The Kullback-Leibler divergences have the same verdicts."
    shown = "; ".join(
        f"at state {one.where} that of {one.about} is {claimed(one)}, {one.verdict}" for one in others[:2]
    )
    more = f"; and {len(others) - 2} more in the table of claims" if len(others) > 2 else ""
    return f" Kullback-Leibler divergences have the same verdicts but for these: {shown}{more}."


def _released(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    rows = of_kind(claims, "released-change")
    if rows:
        worst = max(rows, key=lambda one: (one.found, abs(one.effect)))
        off = "reads lower" if worst.effect < 0 else "reads higher"
        how = f"{off} than" if worst.established else "is not established to differ from"
        text = (
            f"As released, the cosine of {worst.about} between states {worst.where} and {int(worst.where) + 1} {how} "
            f"that of each example with itself ({_value(worst, worst.control_effect or 0.0)}), by {claimed(worst)}: "
            "averaging over all pairs of examples takes differences between examples for change."
        )
        found.append(Finding(text, rank(worst, -20.0)))
    for one in of_kind(claims, "released-masks"):
        how = "differ" if one.established else "are not established to differ"
        text = (
            f"As released, with padding seen and counted and either span without the other, masks of {one.about} {how} "
            f"in their overlap from those of the prompt's own tokens ({_value(one, one.control_effect or 0.0)}), by "
            f"{claimed(one)}."
        )
        found.append(Finding(text, rank(one, -25.0)))
    return found
