"""What a skipping run says: losses and times of plans, which one is recommended, and each choice beside chance.

Log-probabilities are those of the untouched model's own answer. Whole inputs are drawn everywhere; where layers or
tokens were drawn at random, `search` and `drop` are about these draws, `search-draws` and `drop-draws` about draws in
general.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.claims import MIN_INPUTS, Claim, judged, known, of_kind
from chiasm.core.statistics.bands import Bands, mean_bands, over_shared_models
from chiasm.core.statistics.intervals import share_interval
from chiasm.core.statistics.shares import share_bands
from chiasm.results.claims import untouched_score
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order, inputs_of, right_share, with_inputs
from chiasm.studies.skip.decision import Answers, allowed_loss, decide, eligible
from chiasm.studies.skip.tables import (
    ERROR_SHARE,
    FAST_V,
    NONE,
    RANDOM_DROP,
    RANDOM_LAYERS,
    SEARCH,
    SMALLEST,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
)

_UNIT = "nat"


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm skip`, from its tables alone: `verdicts` (or `contributions`, while nothing is verified),
    and of `plans`, `timings`, `examples`, `contributions`, `contributions_controls`, `modalities` and `recovered` what
    there is.

    `smallest`: the smallest change of a log-probability worth naming (nat). Of right answers it is the loss allowed,
    which stands in the table `plans`.
    """
    least = SMALLEST if smallest is None else smallest
    examples = tables.get("examples")

    def of(name: str) -> pl.DataFrame | None:
        rows = tables.get(name)
        return None if rows is None or not rows.height else with_inputs(rows, examples)

    found: list[Claim] = []
    verdicts, plans, chose = of("verdicts"), tables.get("plans"), None
    if "contributions" in tables:
        chose = tables["contributions"]["example_id"].n_unique()
        found += _contributions(
            with_inputs(tables["contributions"], examples), of("contributions_controls"), least, seed
        )
    else:
        verdicts = with_inputs(tables["verdicts"], examples)
    if verdicts is not None:
        found += [
            untouched_score(verdicts.filter(pl.col("plan") == NONE), NONE, "plain"),
            *decide(verdicts, plans, tables.get("timings"), chose).claims,
        ]
        found += _logprobs(verdicts, least, seed) + _beaten(verdicts, plans, least, seed)
        found += _against_chance(verdicts, "search", SEARCH, RANDOM_LAYERS, "random", least, seed)
        found += _against_chance(verdicts, "drop", FAST_V, RANDOM_DROP, RANDOM_DROP, least, seed)
    modalities, recovered = of("modalities"), of("recovered")
    if modalities is not None:
        found += _modalities(modalities, least, seed)
    if recovered is not None:
        found += _recovery(recovered, allowed_loss(plans))
    return found


def _columns(
    bands: Bands, make: Callable[[int], dict[str, object]], least: float, controlled: Callable[[int], bool | None]
) -> list[Claim]:
    """One claim for every column of `bands`; `make` names it, `controlled` says whether it goes beyond its control."""
    found = []
    for k in range(len(bands.mean)):
        effect, low, high, p = (float(x[k]) for x in (bands.mean, bands.low, bands.high, bands.p))
        measured = {"unit": _UNIT, "effect": effect, "low": known(low), "high": known(high), "p": known(p)}
        verdict = judged(effect, low, high, smallest=least, inputs=bands.inputs, p=known(p), controlled=controlled(k))
        n = {"n": int(bands.n[k]), "inputs": bands.inputs, "verdict": verdict}
        found.append(Claim(**{**measured, **n, **make(k)}))  # pyright: ignore[reportArgumentType]
    return found


def _contributions(rows: pl.DataFrame, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """What leaving out each part of each layer does to the answer, beside a model with random weights."""
    columns = list(rows.select("part", "layer").unique(maintain_order=True).sort("part", "layer", maintain_order=True))
    places = list(zip(*(column.to_list() for column in columns), strict=True))
    who, inputs, values = _wide(rows, places)
    error = ERROR_SHARE * least
    bands = mean_bands(values, clusters=inputs, smallest_error=error, seed=seed)
    mean, beyond = None, None
    if controls is not None:
        others, _, beside = _wide(controls, places)
        at = {name: k for k, name in enumerate(others)}
        shared = [k for k, name in enumerate(who) if name in at]
        if len(shared) * 2 >= len(who):
            beside = beside[[at[who[k]] for k in shared]]
            mean = beside.mean(axis=0)
            own = [inputs[k] for k in shared]
            sample = dict(controls.select("example_id", "sample").iter_rows()) if "sample" in controls.columns else {}
            less = mean_bands(values[shared] - beside, clusters=own, smallest_error=error, seed=seed)
            models, there = [sample.get(who[k], 0) for k in shared], np.ones_like(beside, dtype=bool)
            beyond = over_shared_models(less, beside, there, models, smallest=least)
    # A divergence is never below 0.
    bands = replace(bands, low=np.maximum(bands.low, 0.0))
    found = _columns(
        bands,
        lambda k: {
            "kind": "contribution",
            "about": places[k][0],
            "where": str(places[k][1]),
            "quantity": "divergence of the answer where it is left out, KL(untouched || left out)",
            "control": None if mean is None else RANDOM_WEIGHTS,
            "control_effect": None if mean is None else float(mean[k]),
        },
        least,
        lambda k: None if beyond is None else bool(beyond.low[k] > 0),
    )
    if beyond is None:
        return found
    return found + _columns(
        beyond,
        lambda k: {
            "kind": "contribution-beyond",
            "about": places[k][0],
            "where": str(places[k][1]),
            "quantity": "divergence of the answer where it is left out, less that with random weights",
            "control": RANDOM_WEIGHTS,
            "control_effect": None if mean is None else float(mean[k]),
        },
        least,
        lambda k: found[k].established,
    )


def _wide(
    rows: pl.DataFrame, places: Sequence[tuple[str, int]]
) -> tuple[list[str], list[str], Float[np.ndarray, "n k"]]:
    """Divergences by example and (part, layer), for the examples that have all; who they are, and their inputs."""
    wide = rows.with_columns(place=pl.concat_str("part", pl.col("layer").cast(pl.String), separator=":"))
    table = wide.pivot(on="place", index="example_id", values="kl", aggregate_function="mean").drop_nulls()
    table = table.sort("example_id")
    who = table["example_id"].to_list()
    known_inputs = dict(zip(rows["example_id"], inputs_of(rows) or rows["example_id"], strict=True))
    return (
        who,
        [known_inputs[name] for name in who],
        table.select(f"{part}:{layer}" for part, layer in places).to_numpy(),
    )


def _inputs(rows: pl.DataFrame) -> int:
    return len(set(inputs_of(rows) or rows["example_id"]))


def _logprobs(verdicts: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """What every plan costs the untouched answer's log-probability; random layers stand in `search`."""
    answers = Answers.of(verdicts)
    kinds = dict(verdicts.select("plan", "kind").unique(maintain_order=True).iter_rows())
    names = [name for name, kind in kinds.items() if kind not in (NONE, RANDOM_LAYERS)]
    if not names:
        return []
    lost = np.stack([answers.logprob[NONE] - answers.logprob[name] for name in names], axis=1)
    bands = mean_bands(lost, clusters=answers.inputs, smallest_error=ERROR_SHARE * least, seed=seed)
    return _columns(
        bands,
        lambda k: {
            "kind": "logprob",
            "about": names[k],
            "quantity": "log-probability of the untouched answer lost",
            "control": "the plain model",
            "control_effect": 0.0,
        },
        least,
        lambda k: True,
    )


def _beaten(verdicts: pl.DataFrame, plans: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """Plans beside which another does no more operations and loses less: for each the one that shows it best."""
    if plans is None or "operations_share" not in plans.columns:
        return []
    answers, names = Answers.of(verdicts), eligible(verdicts, plans)
    share = dict(plans.select("plan", "operations_share").iter_rows())
    pairs = [(a, b) for b in names for a in names if a != b and share[a] <= share[b]]
    if not pairs:
        return []
    more = np.stack([answers.logprob[a] - answers.logprob[b] for a, b in pairs], axis=1)
    bands = mean_bands(more, clusters=answers.inputs, smallest_error=ERROR_SHARE * least, seed=seed)
    every = _columns(
        bands,
        lambda k: {
            "kind": "beaten",
            "about": pairs[k][1],
            "quantity": "log-probability lost more than by a plan of no more operations",
            "control": pairs[k][0],
            "control_effect": float((answers.logprob[NONE] - answers.logprob[pairs[k][0]]).mean()),
        },
        least,
        lambda k: True,
    )
    best = [max(of_kind(every, "beaten", name), key=_lowest, default=None) for name in names]
    return [one for one in best if one is not None]


def _lowest(claim: Claim) -> float:
    return -np.inf if claim.low is None else claim.low


def _against_chance(
    verdicts: pl.DataFrame, kind: str, own: str, control: str, prefix: str, least: float, seed: int
) -> list[Claim]:
    """Plans of a kind beside every random draw whose name has `prefix` in its place, and the share of draws beaten."""
    named = {name: in_order(verdicts.filter(pl.col("kind") == name), "plan") for name in (own, control)}
    pairs = [
        (plan, draw)
        for plan in named[own]
        for draw in named[control]
        if draw.startswith(plan.replace(own, prefix, 1) + "-")
    ]
    if not pairs:
        return []
    answers = Answers.of(verdicts)
    more = np.stack([answers.logprob[plan] - answers.logprob[draw] for plan, draw in pairs], axis=1)
    bands = mean_bands(more, clusters=answers.inputs, smallest_error=ERROR_SHARE * least, seed=seed)
    found = _columns(
        bands,
        lambda k: {
            "kind": kind,
            "about": pairs[k][0],
            "where": pairs[k][1],
            "quantity": "log-probability of the untouched answer that the draw loses more",
            "control": pairs[k][1],
            "control_effect": float((answers.logprob[NONE] - answers.logprob[pairs[k][1]]).mean()),
        },
        least,
        lambda k: True,
    )
    worse = np.array([one.established and one.effect > 0 for one in found])
    share = share_interval(worse)
    return [
        *found,
        Claim(
            kind=f"{kind}-draws",
            about=own,
            quantity="draws that are established to lose more, for draws in general",
            unit="%",
            effect=100 * float(share.mean),
            low=100 * float(share.low),
            high=100 * float(share.high),
            control="half of the draws",
            control_effect=50.0,
            n=len(worse),
            # Draws are what is counted here: of few of them even all that lose more say nothing of others.
            verdict="established" if float(share.low) > 0.5 and len(worse) >= MIN_INPUTS else "not established",
        ),
    ]


def _modalities(rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """Feed-forward left out for perceptual tokens and for as many text tokens, but for the prompt's last one."""
    lost = rows.with_columns(lost=pl.col("logprob_clean") - pl.col("logprob_skip"))
    [span] = [name for name in in_order(rows, "span") if name != "text"]
    places = [(layers, whose) for layers in in_order(rows, "layers") for whose in (span, "text")]
    wide = lost.with_columns(place=pl.concat_str("layers", "span", separator=":"))
    table = wide.pivot(on="place", index="example_id", values="lost", aggregate_function="mean").drop_nulls()
    table = table.sort("example_id")
    known_inputs = dict(zip(rows["example_id"], inputs_of(rows) or rows["example_id"], strict=True))
    inputs = [known_inputs[name] for name in table["example_id"]]
    values = table.select(f"{layers}:{whose}" for layers, whose in places).to_numpy()
    error = ERROR_SHARE * least
    arms = mean_bands(values, clusters=inputs, smallest_error=error, seed=seed)
    differ = mean_bands(values[:, 1::2] - values[:, ::2], clusters=inputs, smallest_error=error, seed=seed)
    quantity = "log-probability lost where the feed-forward is left out"
    found = _columns(
        differ,
        lambda k: {
            "kind": "modality",
            "about": f"text less {span}",
            "where": places[2 * k][0],
            "quantity": f"{quantity}: as many tokens of text, but for the prompt's last one, less those of {span}",
            "control": f"{span} tokens",
            "control_effect": float(arms.mean[2 * k]),
        },
        least,
        lambda k: True,
    )
    return found + _columns(
        arms,
        lambda k: {
            "kind": "modality-span",
            "about": places[k][1],
            "where": places[k][0],
            "quantity": quantity,
            "control": "the plain model",
            "control_effect": 0.0,
        },
        least,
        lambda k: True,
    )


def _recovery(recovered: pl.DataFrame, allowed: float) -> list[Claim]:
    """What training with the plan gives back, beside as much training without it; one run of training each."""
    cells = {
        (trained, plan != ""): own.sort("example_id")
        for (trained, plan), own in recovered.group_by(["trained", "plan"], maintain_order=True)
    }
    plan = next(name for name in recovered["plan"] if name)
    found = []
    for (trained, under), own in cells.items():
        right = right_share(own)
        low = known(float(right.low))
        found.append(
            Claim(
                kind="recovery-score",
                about=f"trained {trained}",
                where=plan if under else "without the plan",
                quantity="right answers",
                unit="%",
                effect=100 * float(right.mean),
                low=None if low is None else 100 * low,
                high=None if low is None else 100 * float(right.high),
                n=right.n,
                inputs=_inputs(own),
                verdict="uncontrolled",
            )
        )
    right = {cell: own["correct"].cast(pl.Boolean).to_numpy() for cell, own in cells.items()}
    after, before = right[TRAINED_WITH_PLAN, True], right[UNTRAINED, True]
    control = right.get((TRAINED_PLAIN, True))
    pairs = [(after, before), *([] if control is None else [(after, control)])]
    first, second = (np.stack(list(side), axis=1) for side in zip(*pairs, strict=True))
    bands = share_bands(first, second, clusters=inputs_of(cells[UNTRAINED, False]))
    gained = None if control is None else 100 * float(control.mean() - before.mean())
    for k, kind in enumerate(("recovery", "recovery-beyond")[: len(pairs)]):
        effect, low, high = (100 * float(x[k]) for x in (bands.mean, bands.low, bands.high))
        p = known(float(bands.p[k]))
        beyond = None if control is None else bool(kind == "recovery-beyond" or bands.low[1] > 0)
        found.append(
            Claim(
                kind=kind,
                about=plan,
                quantity="right answers gained under the plan by training with it"
                if kind == "recovery"
                else "right answers gained under the plan beyond as much training without it",
                unit="points",
                effect=effect,
                low=known(low),
                high=known(high),
                p=p,
                control=None if control is None else TRAINED_PLAIN,
                control_effect=gained,
                n=int(bands.n[k]),
                inputs=bands.inputs,
                verdict=judged(effect, low, high, smallest=100 * allowed, inputs=bands.inputs, p=p, controlled=beyond),
            )
        )
    return found
