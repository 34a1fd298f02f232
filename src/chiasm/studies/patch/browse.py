"""The pairs of a patching run one by one: what the states of each span bring with them, layer by layer."""

import polars as pl

from chiasm.results.charts.theme import PALETTE, span_style
from chiasm.results.examples import Answered, Browsed, Series, ShownExample
from chiasm.results.series import in_order
from chiasm.studies.patch.shares import directions_in


def browsed(effects: pl.DataFrame, examples: pl.DataFrame, pairs: pl.DataFrame | None) -> Browsed:
    """`effects`: those that have a share, of the residual stream where that was patched; `pairs`: both answers."""
    direction, site = directions_in(effects)[0], in_order(effects, "site")[0]
    spans, layers = in_order(effects, "span"), sorted(effects["layer"].unique())
    own = effects.filter(direction=direction, site=site)
    wide = own.pivot(on="layer", index=["example_id", "span"], values="recovery", aggregate_function="first")
    curves: dict[str, dict[str, list[float | None]]] = {}
    for example, span, *values in wide.select("example_id", "span", *map(str, layers)).iter_rows():
        curves.setdefault(example, {})[span] = [None if one is None else 100 * one for one in values]
    said = {} if pairs is None else {row["example_id"]: row for row in pairs.iter_rows(named=True)}
    shown = [
        ShownExample(
            row["example_id"],
            row["type"],
            row["question"],
            row["answer"],
            _answers(said.get(row["example_id"])),
            curves=curves[row["example_id"]],
        )
        for row in examples.iter_rows(named=True)
        if row["example_id"] in curves
    ]
    series = tuple(Series(span, span, PALETTE[span_style(span)]) for span in spans)
    axes = ("Layer", f"Share of the gap (%), {direction}")
    return Browsed(shown, "largest share", "%", layers, axes, series, "Share of the gap (%)")


def _answers(pair: dict[str, str] | None) -> tuple[Answered, ...]:
    if pair is None:
        return ()
    return (
        Answered("the own run begins with", str(pair["answer"]), None),
        Answered("the donor's run begins with", str(pair["donor_answer"]), None),
    )
