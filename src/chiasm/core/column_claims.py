"""One column of means as a claim: what every study says of an estimate that holds together with others."""

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import Bands


def column_claim(
    bands: Bands,
    k: int,
    *,
    kind: str,
    about: str,
    quantity: str,
    unit: str,
    smallest: float,
    inputs: int | None,
    where: str = "all",
    controlled: bool | None = None,
    control: str | None = None,
    control_effect: float | None = None,
) -> Claim:
    """The claim of column `k` of `bands`, judged.

    `smallest`: the smallest effect worth naming, in the unit of the values; `inputs`: different ones behind the column,
    None where it rests on something else; `controlled`: whether it goes beyond its control (None: there is none).
    """
    effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
    return Claim(
        kind=kind,
        about=about,
        where=where,
        quantity=quantity,
        unit=unit,
        effect=effect,
        low=known(low),
        high=known(high),
        p=known(p),
        control=control,
        control_effect=control_effect,
        n=int(bands.n[k]),
        inputs=inputs,
        verdict=judged(effect, low, high, smallest=smallest, p=known(p), controlled=controlled, inputs=inputs),
    )
