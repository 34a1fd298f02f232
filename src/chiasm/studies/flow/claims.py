"""What an information-flow run says: the effect of every cut at every layer beside its controls, and what follows.

Everything is about differences of log-probabilities. The published relative change (Zhang et al. 2025, section 3) has
no upper bound: one example whose clean probability was tiny can decide its mean.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.claims import Claim, judged, known
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands, over_shared_models
from chiasm.interventions.states import ABLATE
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.studies.flow.control_claims import beyond_claims, difference_claim, judged_beside
from chiasm.studies.flow.control_effects import control_effects
from chiasm.studies.flow.head_claims import head_claims
from chiasm.studies.flow.judgement import noise_floor, rounding_of_effects
from chiasm.studies.flow.maps import MAP_FACTOR, map_claims
from chiasm.studies.flow.parts import part_claims
from chiasm.studies.flow.peaks import order_claims, peak_claims
from chiasm.studies.flow.published import published
from chiasm.studies.flow.sufficiency_claims import sufficiency_claims
from chiasm.studies.flow.sweep import QUANTITY, Sweep, of_controls, of_effects, sweep
from chiasm.studies.flow.tables import AVERAGED, BLANK, ERROR_SHARE, SIZE_MATCHED, SMALLEST, SWAPS
from chiasm.studies.flow.type_claims import type_claims
from chiasm.studies.flow.value_path import value_path_claims
from chiasm.studies.flow.word_claims import word_claims

_UNIT = "nat"
_NULLS = (SIZE_MATCHED, BLANK, RANDOM_WEIGHTS)


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm flow`, from its tables alone: `effects`, and of `controls`, `examples`, `answers`,
    `answers_twin`, `patch_values`, `patch_values_controls`, `heads`, `heads_controls`, `answer_words`,
    `answer_words_controls`, `keep_only`, `sufficiency`, `sufficient_routes`, `noise` and `rounding` what there is.

    An effect is established where its simultaneous interval over all cuts and layers leaves out 0, it is at least
    `smallest` (nat), and it goes beyond every control that stands beside it.
    """
    examples = tables.get("examples")
    effects, controls = of_effects(tables), of_controls(tables)
    noise = tables.get("noise")
    rounding = tables.get("rounding")
    floor = noise_floor(noise, rounding)
    smallest = SMALLEST if smallest is None else smallest
    least = max(smallest, floor)
    data = sweep(effects)
    own, beyond = _effects(data, controls, least, seed)
    found = [*own, *beyond]
    if controls is not None:
        found += _scales(controls, data, least, seed) + _averaged(controls, data, least, seed)
        found += value_path_claims(data, controls, least, ERROR_SHARE * least, seed)
    # A span whose states are replaced is no route that could come before another.
    routes = [one for one in own if not one.about.startswith(ABLATE)]
    found += peak_claims(data, own, seed) + order_claims(data, routes, seed)
    found += part_claims(data, own, least, ERROR_SHARE * least, seed)
    found += type_claims(data, own, controls, least, ERROR_SHARE * least, seed)
    found += published(effects, data, least, seed)
    if "answers" in tables:
        found += _forms(with_inputs(tables["answers"], examples), tables.get("answers_twin"), controls, seed)
    found += head_claims(tables, least, seed)
    found += word_claims(tables, least, seed)
    found += map_claims(tables, smallest=max(MAP_FACTOR * smallest, floor), seed=seed)
    found += sufficiency_claims(tables, least=least, error=ERROR_SHARE * least, seed=seed)
    if noise is not None and noise.height:
        n = noise["example_id"].n_unique()
        between = noise_floor(noise)
        verdict = judged(between, -between, between, smallest=max(least, between) + 1e-12, inputs=None)
        quantity = "difference between two runs without any cut, 95th percentile"
        found.append(
            Claim(kind="noise", about="no cut", quantity=quantity, unit=_UNIT, effect=between, n=n, verdict=verdict)
        )
    if rounding is not None and rounding.height:
        found += _rounding(rounding, floor)
    found.append(_smallest(data, least))
    return found


def _rounding(rounding: pl.DataFrame, floor: float) -> list[Claim]:
    """What computing in half precision does to one effect, and to a mean: nothing below it is established."""
    n = rounding["example_id"].n_unique()
    sizes = {
        "99th percentile over single effects": rounding_of_effects(rounding),
        "twice the root mean square over mean effects": floor,
    }
    return [
        Claim(
            kind="rounding",
            about="computing as served",
            quantity=f"|effect as served less effect in float32|, {statistic}",
            unit=_UNIT,
            effect=size,
            n=n,
            verdict="not established",
        )
        for statistic, size in sizes.items()
    ]


def _smallest(data: Sweep, least: float) -> Claim:
    """The smallest effect worth naming, as sentences give it: a choice, and no estimate."""
    return Claim(
        kind="smallest",
        about="all cuts",
        quantity=f"smallest {QUANTITY} worth naming",
        unit=_UNIT,
        effect=least,
        n=len(data.examples),
        inputs=len(set(data.inputs)),
        verdict="not established",
    )


def _effects(data: Sweep, controls: pl.DataFrame | None, least: float, seed: int) -> tuple[list[Claim], list[Claim]]:
    """The effect of every cut in every window, and the difference of each to every control: to the one that comes
    nearest of the kind `beyond`, to others `effect-control`.
    """
    error = ERROR_SHARE * least
    bands = mean_bands(data.values, clusters=data.inputs, present=data.present, smallest_error=error, seed=seed)
    beside = [] if controls is None else [control_effects(data, controls, name, error, seed) for name in _NULLS]
    found, beyond = [], []
    for claim, nulls, nearest in judged_beside(data, bands, beside, kind="effect", quantity=QUANTITY, least=least):
        found.append(claim)
        beyond += [] if nearest is None else beyond_claims(claim, nearest)
        beyond += [difference_claim(claim, one, "effect-control") for one in nulls if one is not nearest]
    return found, beyond


def _scales(controls: pl.DataFrame, data: Sweep, least: float, seed: int) -> list[Claim]:
    """What another example's image (video, sound) in place of the own one changes, nothing cut: the scale of a cut."""
    found = []
    for cut in dict.fromkeys(column[0] for column in data.columns):
        rows = controls.filter(pl.col("cut") == cut, pl.col("control").is_in(SWAPS))
        if not rows.height:
            continue
        one = sweep(rows)
        # The same in every window, as nothing is cut.
        values = (one.values * one.present).sum(axis=1) / one.present.sum(axis=1)
        bands = mean_bands(values[:, None], clusters=one.inputs, smallest_error=ERROR_SHARE * least, seed=seed)
        sense = rows["control"][0].removesuffix("-swap").replace("audio", "sound")
        about = f"{cut}, another example's {sense} with nothing cut"
        found.append(_beside("scale", about, "", bands, 0, bands.inputs, least))
    return found


def _averaged(controls: pl.DataFrame, data: Sweep, least: float, seed: int) -> list[Claim]:
    """What a cut's keys lose when all of them hold their mean state and nothing is blocked, at every layer."""
    rows = controls.filter(pl.col("control") == AVERAGED)
    if not rows.height:
        return []
    one = sweep(rows, [column for column in data.columns if column[0] in set(rows["cut"])])
    bands = mean_bands(
        one.values, clusters=one.inputs, present=one.present, smallest_error=ERROR_SHARE * least, seed=seed
    )
    found = []
    for k, (cut, *_) in enumerate(one.columns):
        behind = len(set(np.array(one.inputs)[one.present[:, k]]))
        found.append(_beside("averaged", cut, one.where(k), bands, k, behind, least))
    return found


def _beside(kind: str, about: str, where: str, bands: Bands, k: int, inputs: int, least: float) -> Claim:
    """What a change that judges no cut does, beside which no control stands: column `k` of `bands`."""
    common = {"kind": kind, "about": about, "where": where, "quantity": QUANTITY, "unit": _UNIT}
    return column_claim(bands, k, smallest=least, inputs=inputs, **common)


_FORM = 0.05  # smallest difference of probabilities worth naming


def _forms(
    answers: pl.DataFrame, baseline: pl.DataFrame | None, controls: pl.DataFrame | None, seed: int
) -> list[Claim]:
    """Where, in depth, the capitalised form of the answer leads over the lower-case one, and by how much more than in
    models with random weights. `controls`: says which of these an example was given to.
    """
    difference = _form_difference(answers)
    if difference is None:
        return []
    states, values, inputs, examples = difference
    error, found, beyond_rows = ERROR_SHARE * _FORM, [], []
    bands = mean_bands(values, clusters=inputs, smallest_error=error, seed=seed)
    control, less = None, None
    other = None if baseline is None else _form_difference(baseline)
    if other is not None and other[0] == states:
        at = {name: i for i, name in enumerate(other[3])}
        both = [i for i, name in enumerate(examples) if name in at]
        # Beside less than half of the examples it says little: which have a control is no accident.
        if 2 * len(both) >= len(examples):
            beside = other[1][[at[examples[i]] for i in both]]
            control = beside.mean(axis=0)
            own = [inputs[i] for i in both]
            less = mean_bands(values[both] - beside, clusters=own, smallest_error=error, seed=seed)
            which = _samples(controls)
            models = [which.get(examples[i], 0) for i in both]
            less = over_shared_models(less, beside, np.ones_like(beside, dtype=bool), models, smallest=_FORM)
    for k, state in enumerate(states):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        beyond = None if less is None else bool(less.p[k] <= ALPHA and less.mean[k] * effect > 0)
        found.append(
            Claim(
                kind="form",
                about="capitalised less lower-case answer",
                where=str(state),
                quantity="difference of probabilities at the last position",
                unit="1",
                effect=effect,
                low=known(max(low, -1.0)),
                high=known(min(high, 1.0)),
                p=known(p),
                control=None if control is None else RANDOM_WEIGHTS,
                control_effect=None if control is None else float(control[k]),
                n=int(bands.n[k]),
                inputs=bands.inputs,
                verdict=judged(effect, low, high, smallest=_FORM, p=p, controlled=beyond, inputs=bands.inputs),
            )
        )
        if less is not None:
            more, low, high, p = (float(x[k]) for x in (less.mean, less.low, less.high, less.p))
            verdict = judged(more, low, high, smallest=_FORM, p=p, inputs=less.inputs)
            named = {"kind": "form-beyond", "quantity": f"{found[-1].quantity}, less that with random weights"}
            named |= {"effect": more, "low": known(low), "high": known(high), "p": known(p)}
            beyond_rows.append(replace(found[-1], n=int(less.n[k]), inputs=less.inputs, verdict=verdict, **named))
    return found + beyond_rows


def _samples(controls: pl.DataFrame | None) -> dict[str, int]:
    """Which of the models with random weights each example was given to."""
    if controls is None or "sample" not in controls.columns:
        return {}
    return dict(controls.filter(control=RANDOM_WEIGHTS).select("example_id", "sample").unique().iter_rows())


def _form_difference(
    answers: pl.DataFrame,
) -> tuple[list[int], Float[np.ndarray, "n k"], list[str], list[str]] | None:
    """States, the difference by example and state, the inputs, the examples."""
    both = answers.filter(pl.col("form").is_in(["lower", "capital"]))
    wide = both.pivot(on="form", index=["example_id", "layer"], values="prob", aggregate_function="mean")
    if not {"lower", "capital"} <= set(wide.columns):
        return None
    wide = wide.drop_nulls(["lower", "capital"]).with_columns(value=pl.col("capital") - pl.col("lower"))
    table = wide.pivot(on="layer", index="example_id", values="value").drop_nulls().sort("example_id")
    if not table.height:
        return None
    states = sorted(int(name) for name in table.columns if name != "example_id")
    examples = table["example_id"].to_list()
    inputs = examples
    if "input" in answers.columns:
        known_inputs = dict(answers.select("example_id", pl.coalesce("input", "example_id")).unique().iter_rows())
        inputs = [known_inputs[example] for example in examples]
    return states, table.select(str(state) for state in states).to_numpy(), inputs, examples
