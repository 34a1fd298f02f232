"""What to do in each domain, in one table for the page, from the claims."""

from collections.abc import Sequence

import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.wording import compact, number
from chiasm.studies.project.choice import choice, learnt, named, nameless, settings_of
from chiasm.studies.project.findings import domains_of
from chiasm.studies.project.verdict import PRIMARY, answer, of_setting


def overview(claims: Sequence[Claim], smallest: float) -> pl.DataFrame:
    """A line for every domain: the setting to take, what it reaches and costs, whether the projector grew richer."""
    rows = [_row(domain, claims, smallest) for domain in domains_of(claims)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(domain: str, claims: Sequence[Claim], smallest: float) -> dict[str, str]:
    best = choice(claims, domain, smallest)
    nothing = "try longer training, or more images" if nameless(claims, domain) else "nothing is recommended"
    row = {"domain": domain, "what to do": nothing if best is None else f"tune by {best.chosen}"}
    scores = {name: one for name in settings_of(claims, domain) if (one := named(claims, "score", domain, name))}
    name = best.chosen if best else max(scores, key=lambda one: scores[one].effect, default="")
    if scores:
        score, how = scores[name], "" if best else f"{name}, the highest: "
        row["macro-F1"] = f"{how}{compact(score.effect, score.low, score.high)}"
        row["uniform guessing"] = number(score.control_effect or 0.0, digits=2)
    lost = named(claims, "skill", domain, name) if name else None
    if lost is not None:
        row["held-out scenes right, change"] = f"{compact(lost.effect, lost.low, lost.high)}, {lost.verdict}"
    each = of_setting(claims, "richness", domain, PRIMARY)
    if each:
        known = learnt(claims, domain, PRIMARY)
        row[f"projector richer after {PRIMARY}"] = answer(each) if known else "no conclusion: not shown to have learnt"
    return row
