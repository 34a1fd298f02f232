"""What to do with a model and a domain, from what its answers and its states are worth."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from chiasm.core.statistics.intervals import Estimate, proportion_interval
from chiasm.results.findings import Finding
from chiasm.studies.project.richness_summary import CLS, PRE, Place, Probed, surely, told
from chiasm.studies.project.scores import Runs, by_seed, difference, macro_f1, runs_of

_BASE: Final = "zero-shot"
# From what is left as it is most to what is left as it is least.
_LIGHTEST: Final = ("ft-proj", "ft-proj-lowlr", "ft-proj-released", "ft-lora", "ft-e2e", "ft-tower")


def advice(domain: str, of: Probed, own: pl.DataFrame, predictions: pl.DataFrame, chance: float) -> Iterator[Finding]:
    """Which setting to take, what is left in the model's states, and where to look for more.

    The setting: of those that are not surely worse than the best (paired over pictures), the one that changes least;
    none where the best is neither surely above the untouched model nor above `chance` (macro-F1 of uniform answers).
    """
    runs = {name: _runs(predictions, name) for name in own["setting"].unique(maintain_order=True)}
    tuned = {name: macro_f1(*run) for name, run in runs.items() if run is not None and name != _BASE}
    base = runs.get(_BASE)
    if not tuned or base is None:
        return
    best = max(tuned, key=lambda name: float(tuned[name].mean))
    known = {name: run for name, run in runs.items() if run is not None}
    bought = difference(known[best], base)
    if surely(bought) < 1 or tuned[best].low <= chance:
        what = "the untouched model" if surely(bought) < 1 else f"chance ({chance:.3f})"
        text = f"What to do in {domain}: no setting answers surely better than {what}; {best} reaches macro-F1 "
        text += f"{_told(tuned[best])}, {told(bought)} against the untouched model, n = {bought.n}. "
        yield Finding(f"{text}{_left(of, best, known[best])}", 99.0)
        return
    equal = [name for name in tuned if surely(difference(known[name], known[best])) >= 0]
    chosen = min(equal, key=lambda name: _LIGHTEST.index(name) if name in _LIGHTEST else len(_LIGHTEST))
    score = tuned[chosen]
    text = f"What to do in {domain}: tune by {chosen}, macro-F1 {score.mean:.3f} ({score.low:.3f} to {score.high:.3f}, "
    text += f"n = {score.n} pictures, {by_seed(own, chosen)})"
    if chosen != best:
        text += f"; {best} is higher, not surely ({told(difference(known[best], known[chosen]))}), and changes more"
    text += f". {_cost(own, chosen)}{_left(of, chosen, known[chosen])}"
    yield Finding(text, 99.0)


def _left(of: Probed, setting: str, answered: Runs) -> str:
    """What a line reads of the tower, and of the last token, that the model does not say."""
    shown = {where: of.score(Place(setting, where)) for where in (CLS, PRE)}
    seen = {where: score for where, score in shown.items() if score is not None}
    if not seen:
        return "What its states hold was not probed."
    where = max(seen, key=lambda name: float(seen[name].mean))
    tower, states = of.runs(Place(setting, where)), of.states
    assert tower is not None
    more = difference(tower, answered)
    if surely(more) < 1:
        return f"It says about what a line reads of its tower ({_told(seen[where])}): more needs a better tower."
    text = f"A line on its tower's states ({where}) reads {_told(seen[where])}, {told(more)} against the answers: "
    inside = of.runs(Place(setting, f"layer.{states[-1]}.last")) if states else None
    if inside is None:
        return f"{text}for labels alone, that is the better model."
    held = difference(inside, answered)
    if surely(held) > 0:
        text += (
            f"part of it reaches the last token and is not said there ({told(held)}), so more steps or a higher rate "
            "for the decoder come before another projector"
        )
    else:
        text += "it does not reach the last token, so the way through the decoder is what to tune, or to tune longer"
    return f"{text}; for labels alone, that line is the better model."


def _cost(own: pl.DataFrame, chosen: str) -> str:
    known = own.filter(pl.col("skill").is_not_null() & (pl.col("skill_n") > 0))
    before, after = (known.filter(setting=name)["skill"] for name in (_BASE, chosen))
    if not len(before) or not len(after):
        return ""
    n = int(known["skill_n"][0])
    now = float(after.mean())  # type: ignore[arg-type]
    whole = float(before.mean())  # type: ignore[arg-type]
    if proportion_interval(round(now * n), n).high >= proportion_interval(round(whole * n), n).low:
        return ""
    lighter = known.filter(pl.col("setting") != _BASE).group_by("setting").agg(pl.col("skill").mean())
    least = lighter.sort("skill", "setting", descending=[True, False])
    beside = f"; {least['setting'][0]} keeps most ({100 * least['skill'][0]:.0f} %)"
    return (
        f"It costs general skill: {100 * whole:.0f} % of {n} scenes right before, "
        f"{100 * now:.0f} % after{beside if least['setting'][0] != chosen else ''}. "
    )


def _runs(predictions: pl.DataFrame, setting: str) -> Runs | None:
    return runs_of(predictions.filter(setting=setting), "parsed")


def _told(score: Estimate) -> str:
    return f"{score.mean:.3f} ({score.low:.3f} to {score.high:.3f})"
