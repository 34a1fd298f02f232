"""Whether replacing a span's states loses what hiding the span loses: the value path beside the knockout."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known, of_kind
from chiasm.core.statistics.bands import mean_bands
from chiasm.interventions.states import ABLATE, StateAblation
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.sweep import QUANTITY, Sweep, sweep
from chiasm.studies.flow.tables import KNOCKOUT

_BY: Final = {"mean": "their mean over examples", "resample": "another example's"}
Stretches = Callable[[Sequence[Claim], Sequence[bool]], str]


def value_path_claims(data: Sweep, controls: pl.DataFrame, least: float, error: float, seed: int) -> list[Claim]:
    """For every state ablation in every window: what the knockout of the same span loses in the same layers, and the
    paired difference of the two. Intervals hold for all ablations and windows at once.

    `least`: the smallest effect worth naming, `error`: what a standard error counts as at least (nat).
    """
    rows = controls.filter(pl.col("control") == KNOCKOUT)
    if not rows.height:
        return []
    there = set(rows["cut"])
    chosen = [k for k, column in enumerate(data.columns) if column[0] in there]
    other = sweep(rows, [data.columns[k] for k in chosen])
    at = {example: i for i, example in enumerate(other.examples)}
    paired = [i for i, example in enumerate(data.examples) if example in at]
    theirs = [at[data.examples[i]] for i in paired]
    hidden, present = other.values[theirs], other.present[theirs] & data.present[np.ix_(paired, chosen)]
    kept = present.any(axis=0)
    if not kept.any():
        return []
    chosen = [k for k, keep in zip(chosen, kept, strict=True) if keep]
    hidden, present = hidden[:, kept], present[:, kept]
    difference = np.where(present, data.values[np.ix_(paired, chosen)] - hidden, 0.0)
    inputs = [data.inputs[i] for i in paired]
    found = []
    for kind, values in (("knockout", np.where(present, hidden, 0.0)), ("value-path", difference)):
        bands = mean_bands(values, clusters=inputs, present=present, smallest_error=error, seed=seed)
        for j, k in enumerate(chosen):
            effect, low, high, p = (float(x[j]) for x in (bands.mean, bands.low, bands.high, bands.p))
            behind = len(set(np.array(inputs)[present[:, j]]))
            controlled = None if kind == "knockout" else True
            verdict = judged(effect, low, high, smallest=least, p=known(p), inputs=behind, controlled=controlled)
            less = kind == "value-path"
            found.append(
                Claim(
                    kind=kind,
                    about=data.columns[k][0],
                    where=data.where(k),
                    quantity=f"{QUANTITY}, less that of hiding the span" if less else f"{QUANTITY}, the span hidden",
                    unit="nat",
                    effect=effect,
                    low=known(low),
                    high=known(high),
                    p=known(p),
                    control=KNOCKOUT if less else None,
                    control_effect=float(hidden[present[:, j], j].mean()) if less else None,
                    n=int(bands.n[j]),
                    inputs=behind,
                    verdict=verdict,
                )
            )
    return found


def changing(cut: str) -> str:
    """What is done, as a sentence begins: `Cutting image->last`, `Replacing the states of image by their mean ...`."""
    if not cut.startswith(ABLATE):
        return f"Cutting {cut}"
    ablation = StateAblation.parse(cut)
    return f"Replacing the states of {ablation.span} by {_BY[ablation.method]} ({cut})"


def ablation_notes(cuts: Sequence[str]) -> list[str]:
    """What was put in place of states, and what that cannot tell; none where none were replaced."""
    found = []
    methods = {StateAblation.parse(cut).method for cut in cuts if cut.startswith(ABLATE)}
    if "mean" in methods:
        found.append(
            "The mean of a span is one vector for each layer: over its tokens, then over all examples that the run was "
            "asked for and could encode, whether answered rightly or not; the example itself is one of them. A model "
            "never meets such a state, so a loss may come from its strangeness as well as from what is missing; what "
            "all examples share stays in it."
        )
    if "resample" in methods:
        found.append(
            "The other example of a resample ablation shows something else and has another answer where there is one; "
            "its span has as many tokens, or the example is left out. Its states speak for its own answer, so that a "
            "loss is what is missing together with what is put in."
        )
    if methods:
        found.append(
            "States that are replaced are the example's own again behind the window, so that what is lost is what "
            "other rows read of the span in these layers. Hiding the span from all rows behind it closes the same "
            "reading and leaves the softmax to what remains."
        )
    return found


def value_path_findings(claims: Sequence[Claim], stretches: Stretches) -> list[Finding]:
    """One sentence for every state ablation beside the knockout of its span. `stretches`: names layers of claims."""
    found = []
    differences = of_kind(claims, "value-path")
    for cut in dict.fromkeys(one.about for one in differences):
        own, hidden = of_kind(differences, "value-path", cut), of_kind(claims, "knockout", cut)
        text = _beside(own, hidden, stretches)
        found.append(Finding(f"{changing(cut)} beside hiding that span from all rows behind it: {text}", 0.2))
    return found


def _beside(own: Sequence[Claim], hidden: Sequence[Claim], stretches: Stretches) -> str:
    top = peak(hidden)
    (at,) = (one for one in own if one.where == top.where)
    text = f"where hiding does most ({stretches([top], [True])}), it changes the log-probability by {claimed(top)}"
    text += f", and replacing differs from it by {claimed(at)}"
    more = [one.established and one.effect < 0 for one in own]
    less = [one.established and one.effect > 0 for one in own]
    same = [one.verdict == "practically none" for one in own]
    parts = []
    if any(more):
        parts.append(f"replacing costs more at {stretches(own, more)}")
    if any(less):
        parts.append(f"it costs less at {stretches(own, less)}")
    if any(same):
        parts.append(f"both are practically the same at {stretches(own, same)}")
    if not parts:
        return f"{text}. At no layer is a difference established, nor that there is practically none."
    rest = "" if all(a or b or c for a, b, c in zip(more, less, same, strict=True)) else "; elsewhere neither is known"
    return f"{text}. {'; '.join(parts)[0].upper()}{'; '.join(parts)[1:]}{rest}."
