"""What a patching run says: how much of the gap every span carries at every layer, beside its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from chiasm.core.beside_control import BesideControl
from chiasm.core.claims import Claim, judged, known, of_kind
from chiasm.core.statistics.bands import ALPHA, mean_bands
from chiasm.results.example_columns import ERROR_SHARE, ExampleColumns, claims_of_columns
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.patch.agreement import agreement_claims
from chiasm.studies.patch.screen_claims import screen_claims
from chiasm.studies.patch.shares import POINTS, QUANTITY, QUANTITY_ODDS, shares
from chiasm.studies.patch.tables import NOISE, RANDOM_TOKENS, SAME_ANSWER, SHUFFLED, SMALLEST, SMALLEST_GAP
from chiasm.studies.patch.type_claims import type_claims

HALF: Final = 50.0
"""Of the gap: states that bring more of it carry most of the answer."""
_NULLS: Final = (SAME_ANSWER, RANDOM_TOKENS, SHUFFLED)


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm patch`, from its tables alone: `effects`, and of `controls`, `examples`, `pairs`,
    `pairs_controls`, `knockouts` and `screen` what there is.

    A share of the gap is established where its simultaneous interval over all spans, directions and layers leaves out
    0, it is at least `smallest` (points), it goes beyond every control that stands beside it, and the gap itself is
    larger than models with random weights have where they answer the two examples differently.
    """
    examples = tables.get("examples")
    effects = with_inputs(tables["effects"], examples)
    controls = None if tables.get("controls") is None else with_inputs(tables["controls"], examples)
    least = SMALLEST if smallest is None else smallest
    gap = _gap(effects, tables.get("pairs"), tables.get("pairs_controls"), seed)
    real = gap.control is None or gap.established
    own = shares(effects)
    recoveries = _recoveries(own, controls, least, seed, real) if own.columns else []
    found = [gap, *recoveries, *type_claims(effects, own, of_kind(recoveries, "recovery"), controls, least, seed)]
    if "recovery_odds" in effects.columns and effects["recovery_odds"].count():
        found += _odds(effects, least, seed)
    knockouts = tables.get("knockouts")
    if knockouts is not None and knockouts.height:
        found += agreement_claims(effects, with_inputs(knockouts, examples), seed)
    screen = tables.get("screen")
    if screen is not None and screen.height:
        found += screen_claims(effects, with_inputs(screen, examples), least, seed)
    return [*found, _left_out(effects, tables.get("pairs")), _smallest(effects, least)]


def _gap(effects: pl.DataFrame, pairs: pl.DataFrame | None, controls: pl.DataFrame | None, seed: int) -> Claim:
    """How much less probable the own answer is in the donor's run, and whether random weights have as much."""
    own = effects.with_columns(gap=pl.col("logprob_clean") - pl.col("logprob_donor"))
    inputs = ["input"] if "input" in own.columns else []
    own = own.unique("example_id", keep="first", maintain_order=True).sort("example_id")
    names = own.select(pl.coalesce(*inputs, "example_id")).to_series().to_list()
    values = own["gap"].to_numpy()
    bands = mean_bands(values[:, None], clusters=names, smallest_error=ERROR_SHARE * SMALLEST_GAP, seed=seed)
    effect, low, high, p = (float(x[0]) for x in (bands.mean, bands.low, bands.high, bands.p))
    control, beyond = _random_gap(controls, len(values), seed)
    if beyond is not None:
        beyond = bool(low > beyond)
    return Claim(
        kind="gap",
        about="the pairs",
        quantity="log-probability of the own answer, own run less donor's",
        unit="nat",
        effect=effect,
        low=known(low),
        high=known(high),
        p=known(p),
        control=None if control is None else RANDOM_WEIGHTS,
        control_effect=control,
        n=len(values),
        inputs=bands.inputs,
        verdict=judged(effect, low, high, smallest=SMALLEST_GAP, p=known(p), controlled=beyond, inputs=bands.inputs),
    )


def _random_gap(controls: pl.DataFrame | None, n: int, seed: int) -> tuple[float | None, float | None]:
    """The mean gap of models with random weights, and how large that of one more may be; None without them.

    Pairs are kept because both answers differ, which selects large gaps: so of random weights, too, those pairs count
    whose answers differ, as far as there are any.
    """
    if controls is None or 2 * controls.height < n:
        return None, None
    chosen = controls
    if {"token_id", "donor_token_id"} <= set(controls.columns):
        other = controls.filter(pl.col("token_id") != pl.col("donor_token_id"))
        chosen = other if other.height else controls
    gaps = chosen.sort("example_id")["gap"].to_numpy()
    bands = mean_bands(gaps[:, None], smallest_error=ERROR_SHARE * SMALLEST_GAP, seed=seed)
    high = float(gaps.max()) if np.isnan(bands.high[0]) else float(bands.high[0])
    if "sample" in chosen.columns and chosen["sample"].n_unique() > 1:
        from scipy.special import stdtrit  # slow to import, and what only words claims does without

        # One more such model: models differ by more than the pairs of one.
        each = chosen.group_by("sample").agg(pl.col("gap").mean())["gap"].to_numpy()
        wider = stdtrit(len(each) - 1, 1 - ALPHA / 2) * each.std(ddof=1) * np.sqrt(1 + 1 / len(each))
        high = max(high, float(each.mean() + wider))
    return float(gaps.mean()), high


def _recoveries(own: ExampleColumns, controls: pl.DataFrame | None, least: float, seed: int, real: bool) -> list[Claim]:
    """The share of the gap by span, direction and layer; the difference to each control; and whether it is more than
    half of the gap."""
    beside = [] if controls is None else [
        _nulls(own, controls.filter(pl.col("control") == name), name, least, seed) for name in _NULLS
    ]  # fmt: skip
    judging = [_judging(about, [one[k] for one in beside if k in one]) for k, (about, _) in enumerate(own.columns)]
    nearest = [max(nulls, key=lambda one: (not one.beyond, one.mean), default=None) for nulls in judging]

    def controlled(k: int) -> tuple[bool | None, str | None, float | None]:
        worst = nearest[k]
        passed = None if worst is None else all(one.beyond for one in judging[k])
        name, mean = (None, None) if worst is None else (worst.name, worst.mean)
        return passed if real else False, name, mean

    common = {"quantity": QUANTITY, "unit": POINTS, "least": least, "controlled": controlled}
    found = claims_of_columns(own, own.bands(least, seed), kind="recovery", **common)
    beyond = [
        null.claim(one, _kind_beside(null, worst, judging[k]), f"{QUANTITY}, less that of the control")
        for k, (one, worst) in enumerate(zip(found, nearest, strict=True))
        for null in (of[k] for of in beside if k in of)
    ]
    return [*found, *beyond, *(_most(one) for one in found)]


def _kind_beside(null: BesideControl, nearest: BesideControl | None, judging: Sequence[BesideControl]) -> str:
    if null is nearest:
        return "beyond"
    return "recovery-control" if null in judging else "recovery-scale"


def _judging(about: str, nulls: Sequence[BesideControl]) -> list[BesideControl]:
    """Any other image's states take an answer away: an unrelated donor is no null of what is lost."""
    return [one for one in nulls if not (one.name == SHUFFLED and f", {NOISE}" in about)]


def _most(one: Claim) -> Claim:
    """Whether a share is more than half of the gap."""
    effect = one.effect - HALF
    low, high = (None if bound is None else bound - HALF for bound in (one.low, one.high))
    half = judged(effect, low, high, smallest=0.0, controlled=True, inputs=one.inputs)
    decides = effect > 0 and half == "established" and one.found
    return replace(
        one,
        kind="most",
        quantity=f"{QUANTITY}, less half of it",
        effect=effect,
        low=low,
        high=high,
        p=None,
        control_effect=None if one.control_effect is None else one.control_effect - HALF,
        verdict=one.verdict if decides else "not established",
    )


def _nulls(own: ExampleColumns, rows: pl.DataFrame, name: str, least: float, seed: int) -> dict[int, BesideControl]:
    """What one control shows in the columns in which it stands beside at least half of the examples."""
    difference, level, chosen = own.less(shares(rows))
    if not chosen:
        return {}
    bands = difference.bands(least, seed)
    return {
        k: BesideControl.of(
            name,
            level.mean(j),
            bands,
            j,
            difference.inputs_of(j),
            bool(bands.p[j] <= ALPHA and bands.mean[j] > 0),
        )
        for j, k in enumerate(chosen)
    }


def _odds(effects: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """The same shares of the gap in log-odds: what they say beside those of log-probabilities, with no control."""
    own = shares(effects, "recovery_odds")
    common = {"kind": "odds", "quantity": QUANTITY_ODDS, "unit": POINTS, "least": least}
    return claims_of_columns(own, own.bands(least, seed), **common)


def _left_out(effects: pl.DataFrame, pairs: pl.DataFrame | None) -> Claim:
    """Of how many pairs no share was taken, since their gap is too small: a count, and no estimate."""
    known_share = effects.group_by("example_id").agg(pl.col("recovery").is_not_null().any())
    n = known_share.height
    gap = SMALLEST_GAP if pairs is None or not pairs.height else float(pairs["gap_least"].min() or 0.0)  # type: ignore[arg-type]
    return Claim(
        kind="small-gap",
        about="the pairs",
        quantity=f"pairs without a share, since their gap is below {gap:g} nat",
        unit="pairs",
        effect=float(n - known_share["recovery"].sum()),
        n=n,
        inputs=n,
        verdict="not established",
    )


def _smallest(effects: pl.DataFrame, least: float) -> Claim:
    """The smallest share worth naming, as sentences give it: a choice, and no estimate."""
    return Claim(
        kind="smallest",
        about="all spans",
        quantity="smallest share of the gap worth naming",
        unit=POINTS,
        effect=least,
        n=effects["example_id"].n_unique(),
        verdict="not established",
    )


def curves_of(found: Sequence[Claim]) -> dict[str, list[Claim]]:
    """The claims of one kind by what they are about, each by layer."""
    curves: dict[str, list[Claim]] = {}
    for one in found:
        curves.setdefault(one.about, []).append(one)
    return curves
