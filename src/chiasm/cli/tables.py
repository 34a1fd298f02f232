"""The numbers of a run as tables of a terminal: few rows, the strongest of each thing, in 80 columns."""

from collections.abc import Sequence
from typing import Final

import polars as pl
from rich.console import RenderableType
from rich.table import Table

from chiasm.core.claims import Claim
from chiasm.results.diff.differences import strongest_first, unit_of_difference
from chiasm.results.numbers import HEADS, NumberTable, cells
from chiasm.results.wording import bounds, number

_TABLES: Final = 2
_ROWS: Final = 6
_SHOWN: Final = ("About", "Where", "Effect", "95 % interval", "n", "Verdict")
_COMPARED: Final[tuple[str, ...]] = ("Run", "About", "Where", "First", "Difference", "95 % interval", "Verdict")


def result_tables(tables: Sequence[NumberTable]) -> list[RenderableType]:
    """The tables of the first questions, each below its question; the rest is in the report."""
    found: list[RenderableType] = []
    for one in tables[:_TABLES]:
        rows = _strongest(one.claims)
        found += ["", one.question, _table(rows[:_ROWS], one.question)]
        if more := len(one.claims) - len(rows[:_ROWS]):
            held = one.established - sum(claim.established for claim in rows[:_ROWS])
            found.append(f"and {more} more rows, {held} of them established.")
    return found


def _strongest(claims: Sequence[Claim]) -> list[Claim]:
    """Of each thing that claims are about the strongest, in their order."""
    found: dict[tuple[str, str], Claim] = {}
    for one in claims:
        found.setdefault((one.about, one.unit), one)
    return list(found.values())


def _table(claims: Sequence[Claim], question: str) -> Table:
    everywhere = all(one.where == "all" for one in claims)
    heads = [head for head in _SHOWN if not (everywhere and head == "Where")]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in heads:
        numeric = head in ("Effect", "95 % interval", "n")
        shown.add_column(head, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for one in claims:
        texts = dict(zip(HEADS, cells(one, question), strict=True)) | {"n": str(one.n)}
        shown.add_row(*(texts[head] for head in heads))
    return shown


def difference_table(differences: pl.DataFrame, labels: Sequence[str]) -> list[RenderableType]:
    """The largest differences, the established first; nothing where there are none."""
    rows = strongest_first(differences).to_dicts()
    several = len(labels) > 2
    everywhere = all(row["where"] == "all" for row in rows)
    heads = [one for one in _COMPARED if (several or one != "Run") and not (everywhere and one == "Where")]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in heads:
        numeric = head in ("First", "Difference", "95 % interval")
        shown.add_column(head, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows[:_ROWS]:
        first = number(row["first"], significant=3)
        less = number(row["difference"], unit=unit_of_difference(row["unit"]), signed=True, significant=3)
        within = bounds(row["low"], row["high"], significant=3)
        about = row["about"].replace("->", " → ")
        cells = (row["run"], about, row["where"], first, less, within, row["verdict"])
        texts: dict[str, str] = dict(zip(_COMPARED, cells, strict=True))
        shown.add_row(*(texts[head] for head in heads))
    more = [f"and {len(rows) - _ROWS} more differences."] if len(rows) > _ROWS else []
    return ["", shown, *more] if rows else []
