"""Every cut where it does most, beside the control that comes nearest, in one table for the page: from claims alone."""

import math
from collections.abc import Sequence
from typing import Final

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.beside import beside_control
from chiasm.results.wording import number
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.flow.peaks import peak

OVERVIEW: Final = (
    "What does each route carry, and is that beyond its control? Each cut at the layer where it changes the answer's "
    "log-probability most, beside the control that comes nearest there; the difference is paired, over the examples "
    "that have both. In brackets 95 % intervals, which hold for all cuts and layers at once. Established takes both: "
    "an effect whose interval leaves out 0, and a difference of the same sign from every control. All layers and all "
    "controls are in the tables below."
)


def routes_table(claims: Sequence[Claim]) -> pl.DataFrame:
    """A line for every cut, in the order of the run; empty where nothing was cut."""
    effects, beyond = of_kind(claims, "effect"), of_kind(claims, "beyond")
    rows = []
    for cut in dict.fromkeys(one.about for one in effects):
        top = peak(of_kind(effects, "effect", cut))
        cells = beside_control(top, beyond, lambda one: control_label(one.control or "", one.about), **_HEADS)
        # What is left of the probability says once more what the change says: it stands beside it.
        change = {
            _CHANGE: cells.pop(_CHANGE),
            "probability left (%)": number(100 * math.exp(top.effect), significant=3),
        }
        rows.append({"cut": cut.replace("->", " → "), "layer": top.where} | change | cells)
    return pl.DataFrame(rows)


_HEADS: Final = {"effect": "change of log-probability", "unit": "nat"}
_CHANGE: Final = f"{_HEADS['effect']} ({_HEADS['unit']})"
