"""What several models side by side show, in words made from claims alone."""

from collections.abc import Sequence

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.core.spans import is_perceptual
from chiasm.results.findings import Finding
from chiasm.results.wording import claimed, number
from chiasm.studies.align import findings as align
from chiasm.studies.align.contrasts import by_depth
from chiasm.studies.compare.claims import ACCURACY
from chiasm.studies.compare.findings import ENOUGH, accuracies, relation_findings


def paper_findings(claims: Sequence[Claim], main: str) -> list[Finding]:
    """What is found, strongest first. `main`: the model that cones and change are said of."""
    found = relation_findings(of_kind(claims, "relation"), "accuracy") + _few(claims)
    found += [accuracies(of_kind(claims, ACCURACY)), *_training(claims), *_cones_together(claims)]
    found += [Finding(f"In {main}. {one.text}", one.strength) for one in (*align.cones(claims), *align.change(claims))]
    found += align.masks(claims)
    return sorted(found, key=lambda finding: -finding.strength)


def cosines(rows: pl.DataFrame, *, inside: bool = False) -> pl.DataFrame:
    """Cosines of mean tokens of `a` and `b`, over all pairs of examples, as published. `inside`: of blocks as well."""
    rows = rows if inside else rows.filter(tap="residual")
    return rows.filter(mode="avg", variant="raw", paired=False)


def between_kinds(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `cosines` between a perceptual and a textual span."""
    a, b = (pl.col(name).map_elements(is_perceptual, pl.Boolean) for name in ("a", "b"))
    return rows.filter(a & ~b)


def _few(claims: Sequence[Claim]) -> list[Finding]:
    return [
        Finding(
            f"Over {one.about} n = {one.n} models can give no p-value below {number(one.effect, significant=2)}.", 90.0
        )
        for one in of_kind(claims, "power")
        if one.n < ENOUGH
    ]


def _training(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for one in of_kind(claims, "training"):
        how = "rises" if one.effect > 0 else "falls"
        if not one.established:
            nothing = one.verdict == "practically none"
            how = "practically does not change" if nothing else "is not established to change"
        start = "" if one.control_effect is None else f" from {number(one.control_effect, significant=3)}"
        text = f"Score, {one.about}: it {how}{start}, by {claimed(one)}, {one.where}."
        found.append(Finding(text, align.rank(one, 40.0)))
    return found


def _cones_together(claims: Sequence[Claim]) -> list[Finding]:
    found = []
    for about, rows in by_depth(of_kind(claims, "cone-together")):
        text = (
            f"Cones over models of one decoder: {about}, nearer to the same kind in other data than to the other kind "
            f"in their own: {align.over_depths(rows, 'so', 'the reverse')}. "
            f"{align.largest(claims, rows, 'The difference of cosines')}"
        )
        found.append(Finding(text, align.rank(align.top(rows), 30.0)))
    return found
