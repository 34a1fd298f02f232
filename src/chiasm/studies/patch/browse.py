"""The pairs of a patching run one by one: what the states of each span bring with them, layer by layer."""

import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.charts.theme import PALETTE, span_style
from chiasm.results.examples import Against, Answered, Browsed, Series, ShownExample
from chiasm.results.series import in_order
from chiasm.studies.patch.shares import directions_in
from chiasm.studies.patch.tables import SMALLEST


def browsed(
    effects: pl.DataFrame,
    examples: pl.DataFrame,
    pairs: pl.DataFrame | None,
    *,
    deepest: Claim | None = None,
    least: float = SMALLEST,
) -> Browsed:
    """`effects`: those that have a share, of the residual stream where that was patched; `pairs`: both answers.

    `deepest`: where states bring more than half for the last time, which pairs may contradict by showing less than
    `least` (points).
    """
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
    against = None
    if deepest is not None and deepest.about == f"{deepest.about.partition(', ')[0]}, {direction}":
        against = Against(deepest.about.partition(", ")[0], int(deepest.where), 1, least)
    # Of a whole image all there is comes back at layer 0, whatever the pair; the last position tells pairs apart.
    by = "last" if "last" in spans else spans[-1]
    return Browsed(shown, "largest share", "%", layers, axes, series, "Share of the gap (%)", by=by, against=against)


def _answers(pair: dict[str, str] | None) -> tuple[Answered, ...]:
    if pair is None:
        return ()
    return (
        Answered("the own run begins with", str(pair["answer"]), None),
        Answered("the donor's run begins with", str(pair["donor_answer"]), None),
    )
