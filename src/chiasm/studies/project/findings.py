"""The verdict of `chiasm project`: what the projector does to what can be read, where that is, and what to do.

Every number stands in a table of the run; pairs are compared picture by picture.
"""

from collections.abc import Iterator

import polars as pl

from chiasm.results.findings import Finding
from chiasm.studies.project.advice import advice
from chiasm.studies.project.richness_summary import LINE, MLP, POST, PRE, Place, Probed, counted, surely, told
from chiasm.studies.project.richness_tables import BEFORE, NEIGHBOURS, RANDOM_PROJECTOR, RANK, SHUFFLED
from chiasm.studies.project.tables import OWN, RANDOM

_BASE = "zero-shot"
_NEAR = 0.9  # of the highest: where the last token is said to carry a class


def verdict(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    references: pl.DataFrame | None,
    probed: pl.DataFrame,
    representations: pl.DataFrame,
) -> list[Finding]:
    """Per domain: is the projector's output richer after tuning, what the projector does, where classes can be read."""
    found: list[Finding] = []
    for domain in tuning["domain"].unique(maintain_order=True):
        of, own = Probed.of(probed, domain), tuning.filter(domain=domain, projector=OWN)
        shape = representations.filter(domain=domain, projector=OWN)
        if not of.rows.height:
            continue
        found += [
            *_richer(domain, of, own),
            *_projector(domain, of, shape),
            *_settings(domain, of, own, shape),
            *_layers(domain, of, own),
            *advice(domain, of, own, predictions.filter(domain=domain, projector=OWN), _chance(references, domain)),
        ]
    return found


def _chance(references: pl.DataFrame | None, domain: str) -> float:
    """Macro-F1 of uniform answers, over seeds; 0 where that was not measured."""
    rows = None if references is None else references.filter(domain=domain, reference=RANDOM)["macro_f1"]
    return 0.0 if rows is None or not len(rows) else float(rows.mean())  # type: ignore[arg-type]


def _richer(domain: str, of: Probed, own: pl.DataFrame) -> Iterator[Finding]:
    """The paper's question, answered by its own probe and by a line."""
    names = [probe for probe in (MLP, LINE) if probe in of.probes] or of.probes[:1]
    gaps = {probe: of.gap(Place("ft-proj", POST, probe), Place(_BASE, POST, probe)) for probe in names}
    seen = {probe: gap for probe, gap in gaps.items() if gap is not None}
    if not seen:
        return
    signs = [surely(gap) for gap in seen.values()]
    parts = []
    for probe, gap in seen.items():
        after, before = of.score(Place("ft-proj", POST, probe)), of.score(Place(_BASE, POST, probe))
        assert after is not None
        assert before is not None
        parts.append(f"{_name(probe)} reads macro-F1 {after.mean:.3f} after and {before.mean:.3f} before ({told(gap)})")
    n, seeds = next(iter(seen.values())).n, own.filter(setting="ft-proj").height
    text = f"Does FT-Proj make the projector's output richer in {domain}? {_answer(signs, list(seen))}: "
    text += f"{'; '.join(parts)}; n = {n} pictures, {counted(seeds, 'seed')}"
    floor = of.score(Place("ft-proj", POST, names[0], SHUFFLED))
    text += f"; learned from shuffled labels: {floor.mean:.3f}" if floor is not None else ""
    yield Finding(f"{text}.", 98.0)


def _answer(signs: list[int], names: list[str]) -> str:
    if all(sign > 0 for sign in signs):
        return "Yes"
    if all(sign < 0 for sign in signs):
        return "No, poorer"
    if not any(signs):
        return "No change is sure"
    if 1 in signs and -1 in signs:
        return "It depends on the probe"
    sure = _name(names[next(k for k, sign in enumerate(signs) if sign)])
    direction = "richer" if max(signs, key=abs) > 0 else "poorer"
    return f"It is {direction} for {sure} alone"


def _projector(domain: str, of: Probed, shape: pl.DataFrame) -> Iterator[Finding]:
    """What the untouched projector does to what a line reads, beside one that has learned nothing."""
    gap = of.gap(Place(_BASE, POST), Place(_BASE, PRE))
    before, after = of.score(Place(_BASE, PRE)), of.score(Place(_BASE, POST))
    if gap is None or before is None or after is None:
        return
    verb = {1: "gains", 0: "neither surely gains nor loses", -1: "loses"}[surely(gap)]
    text = f"On {domain} the untouched projector {verb} what a line can read: {before.mean:.3f} before it, "
    text += f"{after.mean:.3f} behind ({told(gap)}, n = {gap.n})"
    random = Place(_BASE, POST, LINE, RANDOM_PROJECTOR)
    learned, score = of.gap(Place(_BASE, POST), random), of.score(random)
    if learned is not None and score is not None:
        what = {1: "adds to that", 0: "makes no sure difference to that", -1: "costs some of that"}[surely(learned)]
        text += (
            f"; behind a projector with its weights in random order {score.mean:.3f}, so what it has learned {what} "
            f"({told(learned)})"
        )
    kept = _value(shape.filter(setting=_BASE, where=POST, against=PRE, quantity=NEIGHBOURS))
    ranks = [_value(shape.filter(setting=_BASE, where=where, quantity=RANK)) for where in (PRE, POST)]
    if kept is not None and None not in ranks:
        text += (
            f". It keeps {100 * kept:.0f} % of a picture's nearest neighbours; effective rank {ranks[0]:.1f} before, "
            f"{ranks[1]:.1f} behind"
        )
    yield Finding(f"{text}.", 75.0)


def _settings(domain: str, of: Probed, own: pl.DataFrame, shape: pl.DataFrame) -> Iterator[Finding]:
    """How far each setting moved the projector, and what that did to its output."""
    parts, n = [], 0
    for name in own["setting"].unique(maintain_order=True):
        gap = of.gap(Place(name, POST), Place(_BASE, POST)) if name != _BASE else None
        if gap is None:
            continue
        moved = own.filter(setting=name)["projector_drift"].mean()
        rank = _value(shape.filter(setting=name, where=POST, quantity=RANK))
        kept = _value(shape.filter(setting=name, where=POST, against=BEFORE, quantity=NEIGHBOURS))
        beside = "" if kept is None else f", {100 * kept:.0f} % of neighbours kept"
        beside += "" if rank is None else f", effective rank {rank:.1f}"
        parts.append(f"{name} {told(gap)} (weights moved by {moved:.2f} of their size{beside})")
        n = gap.n
    if parts:
        yield Finding(
            f"What a line reads of the projector's output in {domain}, against before tuning: {'; '.join(parts)}; "
            f"n = {n}.",
            65.0,
        )


def _layers(domain: str, of: Probed, own: pl.DataFrame) -> Iterator[Finding]:
    """Where the class can be read, in image tokens and at the last token, before tuning and where answers are best."""
    means = own.group_by("setting", maintain_order=True).agg(pl.col("macro_f1").mean()).sort("macro_f1")
    states = of.states
    if len(states) < 2 or LINE not in of.probes:
        return
    parts, n = [], 0
    for name in dict.fromkeys((_BASE, means["setting"][-1])):
        image = {k: of.score(Place(name, f"layer.{k}.image")) for k in states}
        last = {k: of.score(Place(name, f"layer.{k}.last")) for k in states}
        if any(score is None for score in (*image.values(), *last.values())):
            continue
        read = {k: float(score.mean) for k, score in image.items() if score is not None}
        heard = {k: float(score.mean) for k, score in last.items() if score is not None}
        top = max(heard, key=lambda k: heard[k])
        first = next(k for k in states if heard[k] >= _NEAR * heard[top])
        best, end = last[top], states[-1]
        assert best is not None
        n = best.n
        parts.append(
            f"{'untouched' if name == _BASE else f'after {name}'}, image tokens give {read[states[0]]:.3f} where they "
            f"enter and {read[end]:.3f} at state {end}, the last token at most {best.mean:.3f} ({best.low:.3f} to "
            f"{best.high:.3f}) at state {top}, and nine tenths of that from state {first} on"
        )
    if parts:
        text = f"Where a line reads {domain} in the decoder (macro-F1, n = {n}): {'; '.join(parts)}."
        yield Finding(text, 70.0)


def _value(rows: pl.DataFrame) -> float | None:
    """The mean over seeds."""
    return float(rows["mean"].mean()) if rows.height else None  # type: ignore[arg-type]


def _name(probe: str) -> str:
    return {LINE: "a line", MLP: "the paper's MLP", "mlp-code": "the released code's MLP"}[probe]
