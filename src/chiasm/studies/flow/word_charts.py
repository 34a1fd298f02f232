"""Which words of the answer depend on a route, and at which layers: curves by group of words, a panel for each cut."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.data.answer_words import FUNCTION_WORDS, NOT_THERE, OBJECTS, OTHER_WORDS, THERE
from chiasm.results.charts.lines import MEASURED, Chart, Line, line_chart
from chiasm.results.charts.theme import Size, arrow, counted
from chiasm.results.report import Drawing
from chiasm.results.series import in_order
from chiasm.studies.flow.curves import axes_of, beyond_axis, chosen_cuts, left, measured
from chiasm.studies.flow.judgement import control_for, control_label
from chiasm.studies.flow.word_claims import cut_of, group_of, of_groups

_Y: Final = "Words' probability left (%)"
# Groups that stand in one run have different colours and shapes.
_STYLES: Final = {
    THERE: 0,
    NOT_THERE: 1,
    OBJECTS: 0,
    "colours": 2,
    "sizes": 3,
    "places": 4,
    "numbers": 2,
    "yes or no": 3,
    OTHER_WORDS: 5,
    FUNCTION_WORDS: 6,
}


def word_drawings(
    rows: pl.DataFrame | None, controls: pl.DataFrame | None, claims: Sequence[Claim], noise: float
) -> dict[str, Drawing]:
    """`answer-words`, where words were followed; rows as `word_claims.words_by_group` makes them.

    `noise` (nat): half-width of the floor around no effect.
    """
    own = of_kind(claims, "word")
    if rows is None or not own:
        return {}
    groups = list(dict.fromkeys(group_of(one.about) for one in own))
    placed = of_groups(rows, groups)
    beside = None if controls is None else of_groups(controls, groups)
    return {"answer-words": Drawing(partial(word_chart, placed, beside, own, noise), partial(_caption, own))}


def word_chart(
    rows: pl.DataFrame,
    controls: pl.DataFrame | None,
    claims: Sequence[Claim],
    noise: float,
    size: Size,
    *,
    cuts: Sequence[str] = (),
) -> Chart:
    """One panel for each cut, one line for each group, and dashed in its colour the control it is judged against.

    `cuts`: which to draw; all by default.
    """
    every = in_order(rows, "cut")
    chosen = chosen_cuts(pl.DataFrame({"cut": [cut_of(about) for about in every]}), cuts)
    lines = []
    for about in (one for one in every if cut_of(one) in chosen):
        of = of_kind(claims, "word", about)
        style, panel = _STYLES.get(group_of(about), 5), arrow(cut_of(about))
        own = measured(rows.filter(cut=about), of, group_of(about), style, panel)
        lines.append(own)
        name = control_for(controls, about)
        if controls is not None and name is not None:
            label = control_label(name, cut_of(about))
            lines.append(Line(own.label, left(controls.filter(cut=about, control=name)), style, label, panel))
    axes = axes_of(rows, lines, noise, _Y)
    n = counted([line.curve.n for line in lines if line.role == MEASURED])
    said = (
        "Lines: geometric mean over examples, of each over its words of a group; bands: 95 % intervals, for all "
        f"groups, cuts and layers at once (controls: for all layers of a line); {n}.{beyond_axis(lines, axes)}"
    )
    title = "Which words of the answer depend on each route, and where?"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="words of the answer", columns=2)


def _caption(claims: Sequence[Claim]) -> str:
    n = counted([one.n for one in claims])
    return (
        "What is left of the probability of words of the model's own answer when attention is cut, by group of words. "
        "A word's probability is the geometric mean over its tokens, teacher-forced. Lines are geometric means over "
        f"examples ({n}), each with its mean over its words of a group; bands are the 95 % intervals of the findings, "
        "which hold for all groups, cuts and layers at once, those of controls for all layers of a line. Dashed: the "
        "control that a group is judged against."
    )
