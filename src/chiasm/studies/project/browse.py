"""The test images of a project run one by one: what the model answered after each kind of tuning."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.examples import Answered, Browsed, ShownExample, first_shown
from chiasm.studies.project.tables import OWN


def browsed(predictions: pl.DataFrame, best: Mapping[str, str]) -> Browsed:
    """`best`: the setting that answers best in each domain; its answers, of the first seed, count as right or wrong."""
    own = predictions.filter(projector=OWN)
    own = own.filter(pl.col("seed") == pl.col("seed").min().over("domain", "setting"))
    own, total = first_shown(own, "domain", "example_id")
    shown = []
    for (domain, example), rows in own.group_by(["domain", "example_id"], maintain_order=True):
        given = sorted(rows.iter_rows(named=True), key=lambda row: row["setting"] != best.get(str(domain)))
        answers = tuple(Answered(row["setting"], row["generated"], row["parsed"] == row["label"]) for row in given)
        shown.append(ShownExample(f"{domain}/{example}", str(domain), "", given[0]["label"], answers))
    return Browsed(shown, gallery="Misread pictures", wrong_first=True, total=total)
