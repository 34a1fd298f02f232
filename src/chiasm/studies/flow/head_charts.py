"""Which heads of which layers matter: a map for each cut, and for each way to change a head."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.theme import Size, arrow, counted
from chiasm.studies.flow.head_claims import cut_of

CONFIRMED = "●"
"""Marks a head that is confirmed on inputs that did not choose it; where none could be chosen, an established one."""


def head_maps(claims: Sequence[Claim], size: Size) -> Chart:
    """The mean change of the answer's log-probability by every head (columns) of every layer (rows, the last on top).

    One panel for each cut and each way: edges cut, or output zeroed; all share one scale.
    """
    every = of_kind(claims, "head")
    held_out = of_kind(claims, "head-held-out")
    marked = {(one.about, one.where) for one in held_out or every if one.found}
    # From the last layer down, heads from the first on.
    ordered = sorted(every, key=lambda one: (-int(one.where), _number(one)))
    cuts = list(dict.fromkeys(cut_of(one.about) for one in every))
    cells = [_cell(one, marked) for cut in cuts for one in ordered if cut_of(one.about) == cut]
    chosen = "heads chosen on one half of the inputs and confirmed on the other" if held_out else "established heads"
    said = (
        f"Cells: mean change in the answer's log-probability with one head of one layer changed. "
        f"{CONFIRMED}: {chosen}; {counted([one.n for one in every])}."
    )
    widest = max(len({cell.column for cell in cells if cell.panel == name}) for name in {cell.panel for cell in cells})
    # So that a mark fits into a cell, and a cut above its panel.
    least = max(widest * (size.text + 1) + 4 * size.text, *(0.6 * size.text * len(cell.panel) for cell in cells))
    columns = max(1, int(size.width // least))
    return grid_chart(
        cells,
        Shades("change (nat)", middle=0.0),
        Sides("Layer", "Head", square=True),
        size,
        title="Which heads of which layers carry each route?",
        subtitle=said,
        columns=min(columns, 3, len(cuts)),
    )


def head_caption(claims: Sequence[Claim]) -> str:
    """For `head_maps`: what a cell is, what is marked, and what its controls are."""
    every, held_out = of_kind(claims, "head"), of_kind(claims, "head-held-out")
    n = sorted({one.n for one in every})
    count = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    marked = (
        "chosen on one half of the inputs and confirmed on the other"
        if held_out
        else "with an established effect (too few inputs to choose on one half and judge on the other)"
    )
    return (
        f"Change of the target token's log-probability (mean over examples, {count}) when one head of one layer is "
        "changed: its attention between two parts of the sequence cut (edges), or all that it gives at some positions "
        f"zero (output). {CONFIRMED}: heads {marked}. Purple and orange are losses and gains on one scale about 0; "
        "each cell's 95 % interval, in what hovering shows, holds for all heads, layers and cuts at once."
    )


def _cell(one: Claim, marked: set[tuple[str, str]]) -> Cell:
    mark = CONFIRMED if (one.about, one.where) in marked else ""
    low, high = (float("nan") if bound is None else bound for bound in (one.low, one.high))
    return Cell(one.where, str(_number(one)), one.effect, low, high, one.n, _panel(cut_of(one.about)), mark)


def _number(one: Claim) -> int:
    return int(one.about.rpartition(" ")[2])


def _panel(cut: str) -> str:
    """What is done, as a title: the edges or the output of a head."""
    if cut.startswith("zero:"):
        return f"output at {cut.partition('@')[2]}"
    return f"edges {arrow(cut.partition('@')[0])}"
