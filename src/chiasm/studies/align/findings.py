"""Findings of an alignment run in words, made from its claims: a sentence says nothing that no row of them holds."""

from collections.abc import Callable, Mapping, Sequence
from math import exp

import polars as pl

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.results.findings import Finding
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.wording import claimed, number
from chiasm.studies.align.claims import ITSELF, MAGNITUDE, PAIRED, SHUFFLED
from chiasm.studies.align.contrasts import by_depth
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS

Frames = Mapping[str, pl.DataFrame]
_CONTROLS = {
    NOISE_TOKENS: "random tokens in place of what is perceived",
    RANDOM_WEIGHTS: "random weights",
    MODALITY_ISOLATION: "no attention between them in the first blocks",
    ITSELF: "one span's own tokens",
    PAIRED: "each example with itself",
    SHUFFLED: "shuffled norms",
    MAGNITUDE: "the weights' magnitude alone",
}


def align_findings(claims: Sequence[Claim]) -> list[Finding]:
    """What is found, strongest first."""
    found = [*_scores(claims), *change(claims), *_norms(claims), *cones(claims), *_shared(claims)]
    found += [*masks(claims), *_words(claims), *_released(claims)]
    return sorted(found, key=lambda finding: -finding.strength)


def control_in_words(claim: Claim) -> str:
    """What a claim is compared with."""
    return _CONTROLS.get(claim.control or "", claim.control or "")


def beside(claim: Claim) -> str:
    """What its control shows, or that it has none; begins with a comma or a semicolon."""
    if claim.control is None:
        return "; it is uncontrolled"
    shown = "" if claim.control_effect is None else f" gives {_value(claim, claim.control_effect)}"
    return f"; the control that comes nearest, {control_in_words(claim)},{shown}"


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
    """Established effects come first, then uncontrolled ones, then what was not found."""
    return most + {"established": 100.0, "uncontrolled": 50.0}.get(claim.verdict, 0.0)


def _scores(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for one in of_kind(claims, "score"):
        name, _, spans = one.about.partition(" of ")
        at = (
            "as what is perceived enters the decoder, against text at every depth"
            if name == "ima_0"
            else ("at the same depth")
        )
        text = f"The mean tokens of {spans}, {at}, have a cosine ({name}) of {claimed(one, signed=False)}"
        against = of_kind(claims, "score-control", one.about)
        parts = []
        for other in against:
            how = "above that" if other.effect > 0 else "below that"
            if other.verdict != "established":
                how = (
                    "practically that" if other.verdict == "practically none" else "not established to differ from that"
                )
            parts.append(f"{how} with {control_in_words(other)}, a difference of {claimed(other)}")
        text += f". That is {'; '.join(parts)}." if parts else beside(one) + "."
        if one.verdict == "not established" and one.control is not None:
            text += " A score that a control reaches as well is no sign of alignment that was learnt."
        found.append(Finding(text, rank(one, 30.0 if name == "ima_same" else 25.0)))
    return found


def change(claims: Sequence[Claim]) -> list[Finding]:
    """How much one span changes against another."""
    found = []
    for about, rows in by_depth(of_kind(claims, "change")):
        a, _, b = about.partition(" less ")
        most = top(rows)
        text = (
            f"How much {a} tokens change from one state to the next, against {b} tokens: "
            f"{over_depths(rows, 'less', 'more')}. The "
            f"difference of their cosines with themselves is largest after state {most.where}: "
            f"{claimed(most)}{beside(most)}."
        )
        found.append(Finding(text, rank(most, 20.0)))
    return found


def _norms(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "norms")):
        a, _, b = about.partition(" to ")
        first, last = (
            f"{exp(row.effect):.2g} times that of {b} tokens {place} (log ratio {claimed(row)}, "
            f"{_verdict(row)}{beside(row)})"
            for row, place in ((rows[0], "at the embeddings"), (rows[-1], "after the last block"))
        )
        found.append(Finding(f"The median norm of {a} tokens is {first} and {last}.", rank(rows[0], 10.0)))
    return found


def _verdict(claim: Claim) -> str:
    return claim.verdict


def cones(claims: Sequence[Claim]) -> list[Finding]:
    """Whether each span is nearer to itself in other inputs than to the other span."""
    found = []
    for about, rows in by_depth(of_kind(claims, "cone")):
        span, _, pair = about.partition(", of ")
        other = next((one for one in pair.split(" and ") if one != span), pair)
        most = top(rows)
        text = (
            f"Cones: {span} tokens nearer to {span} of other inputs than to {other} of their own example: "
            f"{over_depths(rows, 'so', 'the reverse')}. "
            f"The difference of cosines is largest at state {most.where}: {claimed(most)}{beside(most)}."
        )
        found.append(Finding(text, rank(most, 8.0)))
    return found


def _shared(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "shared")):
        most = top(rows)
        text = (
            f"Beyond what all examples share (each span's mean subtracted), {about} of one example against those of "
            f"two: {over_depths(rows, 'nearer', 'farther')}. The difference of cosines is largest at "
            f"state {most.where}: {claimed(most)}{beside(most)}."
        )
        cut = [one for one in of_kind(claims, "shared-attention", about) if one.where == most.where]
        for one in cut:
            how = "changes" if one.established else "is not established to change"
            text += f" Attention between them in the first blocks {how} it there, by {claimed(one)}."
        found.append(Finding(text, rank(most, 15.0)))
    return found


def masks(claims: Sequence[Claim]) -> list[Finding]:
    """Overlap of masks at half of the weights, against what needs no span at all."""
    found = []
    for one in of_kind(claims, "overlap"):
        text = f"Half of the weights, kept by Wanda for {one.about}, overlap by {claimed(one, signed=False)}"
        parts = []
        rows = [row for row in of_kind(claims, "masks") if row.about.startswith(f"{one.about} beyond ")]
        for row in rows:
            name = _CONTROLS.get(row.about.rpartition(" beyond ")[2], row.about)
            parts.append(f"beyond {name} by {claimed(row)}, {_verdict(row)}{_nearest(row, name)}")
        found.append(Finding(f"{text}; {'; '.join(parts)}.", rank(top(rows or [one]), 12.0)))
    return found


def _nearest(claim: Claim, name: str) -> str:
    """The control of a contrast, where it is not what the contrast is with."""
    own = control_in_words(claim)
    if claim.control_effect is None:
        return ""
    if own == name:
        return f" (which gives {_value(claim, claim.control_effect)})"
    return f" (with {own} {_value(claim, claim.control_effect)})"


def _words(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "words-js")):
        a, _, b = about.partition(" from ")
        most = top(rows)
        text = (
            f"Words that hidden states give through the output head, those of {a} and {b} against those of tokens of "
            f"one span: {over_depths(rows, 'they differ more', 'they differ less')}. The Jensen-Shannon divergence "
            f"beyond that is largest at state {most.where}: {claimed(most)}{beside(most)}."
        )
        found.append(Finding(text, rank(most, 5.0)))
    return found


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
