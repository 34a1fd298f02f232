"""Whether a run agrees with what was published, where both measured the same of one model on one data set."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from chiasm.core.claims import Claim
from chiasm.results.ledger import Entry, PublishedValue
from chiasm.results.wording import alone

Said = Literal["agrees", "differs", "not comparable"]
RULE: Final = (
    "Agrees: a published number lies within the 95 % interval of this run, give or take the digits that it was rounded "
    "to; differs: it does not. Not comparable: another model, other data, no number, or nothing in this run that "
    "measures the same."
)


class Agreement(NamedTuple):
    """What a run says of a published value. `why`: this run's number, or what keeps the two from being compared."""

    said: Said
    why: str

    def __str__(self) -> str:
        return f"{self.said}: {self.why}"


def agreements(entry: Entry, model: str, data: str, claims: Sequence[Claim]) -> list[Agreement]:
    """One for every published value that the run measures, or a single one that says why there is none.

    `model`, `data`: what the run is of, as its manifest names them.
    """
    known = [one for one in entry.values if one.value is not None]
    if not known:
        return [Agreement("not comparable", "no number is known of it")]
    mapped = [one for one in known if one.measures is not None]
    asked = next((one.measures.model for one in mapped if one.measures and one.measures.model), entry.model)
    if asked != "none" and _plain(asked) not in _plain(model):
        return [Agreement("not comparable", f"another model, {model}")]
    if _plain(re.split(r"[\s,]", entry.data)[0]) not in _plain(data):
        return [Agreement("not comparable", f"other data, {data}")]
    found = [said for one in mapped if (said := _compared(one, claims)) is not None]
    return found or [Agreement("not comparable", "nothing in this run measures the same")]


def _compared(value: PublishedValue, claims: Sequence[Claim]) -> Agreement | None:
    at = value.measures
    if at is None or value.value is None:
        return None
    own = [one for one in claims if (one.kind, one.about, one.where) == (at.kind, at.about, at.where)]
    if not own:
        return None
    [claim] = own
    if claim.low is None or claim.high is None:
        return Agreement("not comparable", f"{value.of}: no interval in this run")
    published, room = float(value.value), _rounding(value)
    inside = claim.low - room <= published <= claim.high + room
    return Agreement("agrees" if inside else "differs", f"{value.of} {alone(claim, signed=False)} here")


def _rounding(value: PublishedValue) -> float:
    """Half a unit of the last digit; zeros at the end of what was read off a curve are none."""
    assert value.value is not None
    given = value.value.normalize() if value.approximate and value.value else value.value
    exponent = given.as_tuple().exponent
    assert isinstance(exponent, int), "a published value is a number"
    return float(Decimal(5).scaleb(exponent - 1))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
