"""What cutting a part of a span does beside cutting all of it, in the examples that have both."""

from collections.abc import Sequence

import numpy as np

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.studies.flow.peaks import peak
from chiasm.studies.flow.spec import is_part
from chiasm.studies.flow.sweep import QUANTITY, Sweep


def part_claims(data: Sweep, effects: Sequence[Claim], least: float, error: float, seed: int) -> list[Claim]:
    """For every cut that has an effect and is a part of another (`image.object->question` of `image->question`), the
    paired difference of the two where the part does most; intervals hold for all layers and pairs at once.

    `least`: the smallest effect worth naming, `error`: what a standard error counts as at least (nat).
    """
    at = {(column[0], data.where(k)): k for k, column in enumerate(data.columns)}
    cuts = list(dict.fromkeys(column[0] for column in data.columns))
    pairs = [
        (at[part, where], at[whole, where])
        for part in cuts
        for whole in cuts
        if is_part(part, whole)
        for cut, where in at
        if cut == part and (whole, where) in at
    ]
    if not pairs:
        return []
    parts, wholes = (np.array(side) for side in zip(*pairs, strict=True))
    present = data.present[:, parts] & data.present[:, wholes]
    values = np.where(present, data.values[:, parts] - data.values[:, wholes], 0.0)
    kept = present.any(axis=0)
    if not kept.any():
        return []
    parts, wholes, present, values = parts[kept], wholes[kept], present[:, kept], values[:, kept]
    bands = mean_bands(values, clusters=data.inputs, present=present, smallest_error=error, seed=seed)
    tops = {cut: peak([one for one in effects if one.about == cut]) for cut in {one.about for one in effects}}
    found = []
    for j, (k, of) in enumerate(zip(parts, wholes, strict=True)):
        part, whole = data.columns[k][0], data.columns[of][0]
        if not tops[part].found or tops[part].where != data.where(k):
            continue
        effect, low, high, p = (float(x[j]) for x in (bands.mean, bands.low, bands.high, bands.p))
        inputs = len(set(np.array(data.inputs)[present[:, j]]))
        found.append(
            Claim(
                kind="part",
                about=part,
                where=data.where(k),
                quantity=f"{QUANTITY}, less that of the whole cut in the same examples",
                unit="nat",
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control=whole,
                control_effect=float(data.values[present[:, j], of].mean()),
                n=int(bands.n[j]),
                inputs=inputs,
                verdict=judged(effect, low, high, smallest=least, p=known(p), inputs=inputs),
            )
        )
    return found
