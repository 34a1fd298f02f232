"""The states of every span where they bring most, beside the nearest control, in one table: from claims alone."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from chiasm.core.claims import Claim, of_kind, strongest
from chiasm.results.beside import MISSING, beside_control
from chiasm.results.wording import places
from chiasm.studies.patch.claims import HALF, curves_of
from chiasm.studies.patch.findings import CONTROL_NAMES

OVERVIEW: Final = (
    "Whose states carry the answer, in which layers, and is that beyond their controls? Each span and direction at the "
    "layer where its share of the gap is largest, beside the control that comes nearest there; the difference is "
    "paired. In brackets 95 % intervals, which hold for all spans, directions and layers at once. Denoise: own states "
    "put into the donor's run, and what comes back; noise: the donor's states put into the own run, and what is lost. "
    "`last` is the position from which the answer is given, so all of it is there behind the last layer; a whole image "
    "at layer 0 is the other input."
)


def states_table(claims: Sequence[Claim]) -> pl.DataFrame:
    """A line for every span and direction, in the order of the run; empty where no share could be taken."""
    beyond, most = of_kind(claims, "beyond"), curves_of(of_kind(claims, "most"))
    rows = []
    for about, by_layer in curves_of(of_kind(claims, "recovery")).items():
        top = strongest(by_layer)
        assert top is not None
        half = most.get(about, [])
        decided = places(half, [one.found for one in half]).partition(" ")[2]
        cells = beside_control(top, beyond, _label, effect="largest share of the gap", unit="points", digits=1)
        span, _, how = about.partition(", ")
        head = {"states of": span, "direction": how, f"layers with over {HALF:g} %": decided or MISSING}
        rows.append(head | {"layer": top.where} | cells)
    return pl.DataFrame(rows)


def _label(one: Claim) -> str:
    return CONTROL_NAMES.get(one.control or "", one.control or "")
