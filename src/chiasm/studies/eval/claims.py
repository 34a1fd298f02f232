"""What an evaluation says: right answers against guessing and against not seeing, by type, and other measures.

Levels (how many answers are right) have the interval that the tables give; differences, which sentences rest on, have
one that holds over all types or measures at once.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.core.statistics.intervals import Estimate, share_difference, share_interval, shares_differ
from chiasm.core.statistics.unpaired import unpaired_difference
from chiasm.results.series import guessed, in_order, with_inputs
from chiasm.studies.eval.tables import SMALLEST

ALL = "all"
GUESS, BLANKED = "the most frequent answer", "image blanked"
_POINTS = "points"
_RANGE = {"cider_d": 10.0}
# A standard error below this share of the smallest difference worth naming counts as so much (see `mean_bands`).
ERROR_SHARE = 0.2


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm eval`, from its tables alone: `eval`, and of `blind`, `examples`, `metrics` and `scores`
    what there is.

    Against guessing, question by question: the most frequent answer of a type is known from the same labels, which
    favours guessing.
    """
    least = SMALLEST if smallest is None else smallest
    examples = tables.get("examples")
    answers = with_inputs(tables["eval"], examples)
    blind = None if "blind" not in tables else with_inputs(tables["blind"], examples)
    metrics = tables.get("metrics")
    found = []
    if metrics is None or "accuracy" in metrics["metric"]:
        found += _accuracy(answers, blind, least)
    if metrics is not None:
        found += _measures(metrics, tables.get("scores"), answers, least, seed)
    return found


def _accuracy(answers: pl.DataFrame, blind: pl.DataFrame | None, least: float) -> list[Claim]:
    """Over all types, then by type where there are several: levels, and differences corrected over types."""
    rows = answers.with_columns(guess=guessed(answers))
    if blind is not None:
        unseen = blind.select("example_id", unseen="correct").unique("example_id")
        rows = rows.join(unseen, on="example_id", how="left", maintain_order="left")
    types = in_order(rows, "type")
    found = _of_group("", ALL, rows, least, 1)
    if len(types) > 1:
        # Kinds of their own, since a type may be called `all`.
        for name in types:
            found += _of_group("type-", name, rows.filter(type=name), least, len(types))
        found += _types(rows, types, least)
    return found


def _of_group(prefix: str, name: str, rows: pl.DataFrame, least: float, tests: int) -> list[Claim]:
    gain = _difference(f"{prefix}gain", name, rows, "guess", GUESS, least, tests)
    found = [_level(f"{prefix}right", name, rows, "correct", gain, least), gain]
    if "unseen" in rows.columns and (both := rows.drop_nulls("unseen")).height:
        beyond = _difference(f"{prefix}unseen-gain", name, both, "guess", GUESS, least, tests, of="unseen")
        found.append(_difference(f"{prefix}seen", name, both, "unseen", BLANKED, least, tests))
        found.append(_level(f"{prefix}unseen", name, both, "unseen", beyond, least))
        found.append(beyond)
    return found


def _level(kind: str, name: str, rows: pl.DataFrame, column: str, against: Claim, least: float) -> Claim:
    inputs = _inputs(rows)
    share = share_interval(rows[column].to_numpy(), inputs)
    value, low, high = (100 * float(bound) for bound in (share.mean, share.low, share.high))
    controlled = against.established and against.effect > 0
    return Claim(
        kind=kind,
        about=name,
        quantity=_RIGHT[column],
        unit="%",
        effect=value,
        low=known(low),
        high=known(high),
        control=against.control,
        control_effect=against.control_effect,
        n=rows.height,
        inputs=len(set(inputs)),
        verdict=judged(value, low, high, smallest=least, inputs=len(set(inputs)), controlled=controlled),
    )


_RIGHT = {"correct": "right answers", "unseen": "right answers with the image blanked"}


def _difference(
    kind: str, name: str, rows: pl.DataFrame, other: str, control: str, least: float, tests: int, of: str = "correct"
) -> Claim:
    inputs = _inputs(rows)
    own, beside = (rows[column].to_numpy().astype(bool) for column in (of, other))
    found, p = (make(own, beside, inputs, tests=tests) for make in (share_difference, shares_differ))
    assert isinstance(found, Estimate)
    effect, low, high = (100 * float(bound) for bound in (found.mean, found.low, found.high))
    verdict = judged(effect, low, high, smallest=least, inputs=len(set(inputs)), p=known(float(p)))
    if control == GUESS and effect < 0 and verdict == "established":
        verdict = "not established"  # the guess is picked on these labels, so that it may lie too high
    return Claim(
        kind=kind,
        about=name,
        quantity=f"{_RIGHT[of]}, less those of the control",
        unit=_POINTS,
        effect=effect,
        low=known(low),
        high=known(high),
        p=known(float(p)),
        control=control,
        control_effect=100 * float(beside.mean()),
        n=rows.height,
        inputs=len(set(inputs)),
        verdict=verdict,
    )


def _types(rows: pl.DataFrame, types: Sequence[str], least: float) -> list[Claim]:
    """The type with most and the one with fewest right answers; the interval allows for having picked them."""
    shares = {name: float(rows.filter(type=name)["correct"].cast(pl.Float64).to_numpy().mean()) for name in types}
    best, worst = (pick(types, key=shares.__getitem__) for pick in (max, min))
    if best == worst:  # all alike: any two of them
        best, worst = types[0], types[1]
    sides = [rows.filter(type=name) for name in (best, worst)]
    found, p = unpaired_difference(
        *(side["correct"].to_numpy() for side in sides),
        *(_inputs(side) for side in sides),
        tests=len(list(combinations(types, 2))),
    )
    effect, low, high = (100 * float(bound) for bound in (found.mean, found.low, found.high))
    return [
        Claim(
            kind="types",
            about=f"{best} against {worst}",
            quantity="right answers, less those of the control",
            unit=_POINTS,
            effect=effect,
            low=known(low),
            high=known(high),
            p=known(p),
            control=worst,
            control_effect=100 * shares[worst],
            n=sum(side.height for side in sides),
            inputs=len({one for side in sides for one in _inputs(side)}),
            # The smaller of the two sides decides how well their difference is known.
            verdict=judged(
                effect, low, high, smallest=least, inputs=min(len(set(_inputs(side))) for side in sides), p=known(p)
            ),
        )
    ]


def _measures(
    metrics: pl.DataFrame, scores: pl.DataFrame | None, answers: pl.DataFrame, least: float, seed: int
) -> list[Claim]:
    """Every measure over all examples but accuracy, against the same with the image blanked, corrected over them."""
    whole = metrics.filter(pl.col("type") == ALL, pl.col("metric") != "accuracy").unique(
        ["metric", "shown"], keep="first", maintain_order=True
    )
    rows = [row for row in whole.filter(shown="image").iter_rows(named=True) if row["value"] is not None]
    seen = {} if scores is None else _seen(scores, answers, [row["metric"] for row in rows], least, seed)
    found = []
    for row in rows:
        name = row["metric"]
        of = ANSWER_METRICS[name]
        scale = 100.0 if of.percent else 1.0
        beside = seen.get(name)
        bounds = [None if row[side] is None else scale * row[side] for side in ("low", "high")]
        better = None
        if beside is not None:
            better = beside.established and (beside.effect > 0) == of.more_is_better
        found.append(
            Claim(
                kind="context" if of.kind == "description" else "measure",
                about=name,
                quantity=of.title,
                unit="%" if of.percent else "1",
                effect=scale * row["value"],
                low=bounds[0],
                high=bounds[1],
                control=None if beside is None else beside.control,
                control_effect=None if beside is None else beside.control_effect,
                n=row["n"],
                inputs=len(set(_inputs(answers))) if row["n"] == answers.height else None,
                verdict=judged(
                    scale * row["value"], *bounds, smallest=_least(name, least), inputs=row["n"], controlled=better
                ),
            )
        )
        if beside is not None:
            found.append(beside)
    if any(row["metric"] == "pope_f1" for row in rows):
        found.append(_always_yes(answers))
    return found


def _least(name: str, least: float) -> float:
    """The smallest difference of a measure worth naming, in its unit."""
    return least if ANSWER_METRICS[name].percent else least / 100 * _RANGE.get(name, 1.0)


def _seen(
    scores: pl.DataFrame, answers: pl.DataFrame, names: Sequence[str], least: float, seed: int
) -> dict[str, Claim]:
    """Every measure less the same with the image blanked, by whole inputs; both ratios are linearised."""
    shown = {
        side: {name: scores.filter(metric=name, shown=side).sort("example_id") for name in names}
        for side in ("image", "blank")
    }
    examples = sorted(set(answers["example_id"]))
    of = dict(zip(answers["example_id"], _inputs(answers), strict=True))
    clusters = [of[example] for example in examples]
    found: dict[str, _Ratios] = {}
    for name in names:
        own, blank = (shown[side][name] for side in ("image", "blank"))
        complete = own["example_id"].to_list() == examples == blank["example_id"].to_list()
        if complete and own["whole"].sum() and blank["whole"].sum():
            (parts, wholes), (beside, wholes_beside) = (
                (side["part"].to_numpy(), side["whole"].to_numpy()) for side in (own, blank)
            )
            scale = 100.0 if ANSWER_METRICS[name].percent else 1.0
            found[name] = _Ratios(parts, wholes, beside, wholes_beside, scale)
    # Those that only describe are tested by no one.
    tested = [name for name in found if ANSWER_METRICS[name].kind != "description"]
    bands = None
    if len(tested) > 1 or not all(found[name].paired_shares for name in tested):
        # In smallest differences worth naming, so that all have one smallest error.
        values = [found[name].moved / (_least(name, least) or 1.0) for name in tested]
        error = ERROR_SHARE if least else 0.0
        bands = mean_bands(np.stack(values, axis=1), clusters=clusters, smallest_error=error, seed=seed)
    made = {}
    for k, name in enumerate(tested):
        if bands is None:
            sides = (found[name].parts.astype(bool), found[name].parts_beside.astype(bool), clusters)
            share = share_difference(*sides)
            effect, low, high = (100 * float(x) for x in (share.mean, share.low, share.high))
            p = shares_differ(*sides)
        else:
            unit = _least(name, least) or 1.0
            effect, low, high = (unit * float(x[k]) for x in (bands.mean, bands.low, bands.high))
            p = float(bands.p[k])
            if ANSWER_METRICS[name].percent:  # shares differ by no more than all
                low, high = max(low, -100.0), min(high, 100.0)
        made[name] = _measured(name, found[name], effect, low, high, p, _least(name, least), len(set(clusters)))
    return made


class _Ratios(NamedTuple):
    """A measure and the same of the control, example by example: sums of parts over sums of wholes."""

    parts: Float[np.ndarray, " n"]
    wholes: Float[np.ndarray, " n"]
    parts_beside: Float[np.ndarray, " n"]
    wholes_beside: Float[np.ndarray, " n"]
    scale: float

    @property
    def moved(self) -> Float[np.ndarray, " n"]:
        """The difference of the two ratios, and by how much every example moves it."""
        ratio, own = _linearised(self.parts, self.wholes)
        beside, other = _linearised(self.parts_beside, self.wholes_beside)
        return self.scale * (ratio - beside + own - other)

    @property
    def paired_shares(self) -> bool:
        """Whether every example is right or wrong on both sides."""
        ones = (self.wholes == 1).all() and (self.wholes_beside == 1).all()
        return bool(ones and np.isin([self.parts, self.parts_beside], (0, 1)).all())


def _measured(
    name: str, of: _Ratios, effect: float, low: float, high: float, p: float, smallest: float, inputs: int
) -> Claim:
    return Claim(
        kind="measure-seen",
        about=name,
        quantity=f"{ANSWER_METRICS[name].title}, less those of the control",
        unit=_POINTS if ANSWER_METRICS[name].percent else "1",
        effect=effect,
        low=known(low),
        high=known(high),
        p=known(p),
        control=BLANKED,
        control_effect=of.scale * float(of.parts_beside.sum() / of.wholes_beside.sum()),
        n=int((of.wholes > 0).sum()),
        inputs=inputs,
        verdict=judged(effect, low, high, smallest=smallest, inputs=inputs, p=known(p)),
    )


def _linearised(
    parts: Float[np.ndarray, " n"], wholes: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " n"]]:
    """The ratio of sums, and by how much every example moves it, times n."""
    ratio = float(parts.sum() / wholes.sum())
    return ratio, (parts - ratio * wholes) * len(parts) / wholes.sum()


def _always_yes(answers: pl.DataFrame) -> Claim:
    yes = float((answers["answer"].str.strip_chars().str.to_lowercase() == "yes").to_numpy().mean())
    return Claim(
        kind="context",
        about="always yes",
        quantity="POPE F1",
        unit="%",
        effect=200 * yes / (1 + yes),
        n=answers.height,
        verdict="not established",
    )


def _inputs(rows: pl.DataFrame) -> list[str]:
    """The input of every row; one whose input was not recorded stands for itself."""
    if "input" not in rows.columns:
        return rows["example_id"].to_list()
    return rows.select(pl.coalesce("input", "example_id")).to_series().to_list()
