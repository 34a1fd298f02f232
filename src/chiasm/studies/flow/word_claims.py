"""What words of the answer lose by each cut, by group; whether objects that are not there differ from those that are.

A word's log-probability is the mean over its tokens. Of an example's words of one group the mean is taken, so that
every example weighs the same, however much it says. Groups of fewer inputs than establish anything are only counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.beside_control import BesideControl
from chiasm.core.claims import MIN_INPUTS, Claim, known
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands
from chiasm.core.statistics.relabelling import relabelled
from chiasm.data.answer_words import GROUPS, NOT_THERE, THERE
from chiasm.results.frames import some_of
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.flow.controlled import Judging
from chiasm.studies.flow.sweep import Sweep, sweep
from chiasm.studies.flow.tables import BLANK, ERROR_SHARE, OF_WORDS, SIZE_MATCHED, SWAPS

QUANTITY_OF_WORDS: Final = "change of the log-probability of words, mean over a word's tokens"
_NULLS: Final = (SIZE_MATCHED, BLANK, RANDOM_WEIGHTS)
_FREE: Final = "of any group of words at any layer"
_AGAINST: Final = f"{NOT_THERE} against {THERE}"


def word_claims(tables: Mapping[str, pl.DataFrame], least: float, seed: int) -> list[Claim]:
    """The claims about words, from `answer_words` and, where they are there, `answer_words_controls` and `examples`.

    `least`: the smallest effect worth naming (nat per token). About: the cut and the group; where: the layer.
    """
    rows = words_by_group(tables, "answer_words")
    if rows is None:
        return []
    counts = _counts(rows)
    enough = [one.about for one in counts if (one.inputs or 0) >= MIN_INPUTS]
    if not enough:
        return counts
    controls = words_by_group(tables, "answer_words_controls")
    data = sweep(of_groups(rows, enough))
    beside = None if controls is None else of_groups(controls, enough)
    # A word may be named under any of these cuts, so the bound on one more random model holds for all of them.
    judging = Judging("word", QUANTITY_OF_WORDS, _FREE, _NULLS, cut_of, least, seed, together=True)
    found = [*counts, *_untouched(rows, enough, least, seed), *judging.claims(data, beside)]
    if controls is not None:
        found += _scales(controls, enough, least, seed)
    return found + _contrasts(data, beside, least, seed)


def words_by_group(tables: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame | None:
    """The table `name` with the mean over the words of each example and group, and their number (`words`), in the order
    of groups; None where there is none. Of a long run the rows of all words are a lot to hold.
    """
    if name not in tables:
        return None
    rows = some_of(tables, name, OF_WORDS)
    if not rows.height:
        return None
    few = [column for column in ("type", "cut", "group", "control") if column in rows.columns]
    rows = rows.with_columns(pl.col(few).cast(pl.Categorical))
    keys = [column for column in rows.columns if column not in ("word", "logprob_clean", "logprob_cut")]
    means = rows.group_by(keys, maintain_order=True).agg(pl.col("logprob_clean", "logprob_cut").mean(), words=pl.len())
    order = {cut: place for place, cut in enumerate(in_order(rows, "cut"))}
    placed = means.with_columns(pl.col(few).cast(pl.String)).with_columns(
        first=pl.col("cut").replace_strict(order, return_dtype=pl.Int32),
        then=pl.col("group").replace_strict({group: k for k, group in enumerate(GROUPS)}, default=len(GROUPS)),
    )
    return with_inputs(placed.sort("first", "then", maintain_order=True).drop("first", "then"), tables.get("examples"))


def of_groups(rows: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame:
    """Rows of some groups, with the group in the cut's name, as claims are about."""
    return rows.filter(pl.col("group").is_in(groups)).with_columns(cut=pl.format("{}, {}", "cut", "group"))


def cut_of(about: str) -> str:
    """The cut of what a claim about words is about."""
    return about.rpartition(", ")[0]


def group_of(about: str) -> str:
    """Its group."""
    return about.rpartition(", ")[2]


def _input(rows: pl.DataFrame) -> pl.Expr:
    return pl.coalesce("input", "example_id") if "input" in rows.columns else pl.col("example_id")


def _counts(rows: pl.DataFrame) -> list[Claim]:
    """How many words of each group the answers have: a count, and no estimate."""
    once = rows.unique(["example_id", "group"], keep="first", maintain_order=True)
    found = once.group_by("group", maintain_order=True).agg(
        pl.col("words").sum(), n=pl.len(), inputs=_input(once).n_unique()
    )
    order = {group: k for k, group in enumerate(GROUPS)}
    return [
        Claim(
            kind="word-count",
            about=row["group"],
            quantity="words of the answers",
            unit="words",
            effect=float(row["words"]),
            n=row["n"],
            inputs=row["inputs"],
            verdict="not established",
        )
        for row in sorted(found.iter_rows(named=True), key=lambda row: order.get(row["group"], len(order)))
    ]


def _untouched(rows: pl.DataFrame, groups: Sequence[str], least: float, seed: int) -> list[Claim]:
    """How probable the words are before anything is cut: one that is sure already can only lose."""
    once = rows.unique(["example_id", "group"], keep="first", maintain_order=True)
    one = sweep(once.with_columns(cut="group", layer=0, start=0, stop=1), of=pl.col("logprob_clean"))
    chosen = [k for k, column in enumerate(one.columns) if column[0] in groups]
    bands = _bands(one, least, seed)
    return [
        Claim(
            kind="word-base",
            about=one.columns[k][0],
            quantity="log-probability of words, untouched, mean over a word's tokens",
            unit="nat",
            effect=float(bands.mean[k]),
            low=known(float(bands.low[k])),
            high=known(min(float(bands.high[k]), 0.0)),
            n=int(bands.n[k]),
            inputs=_behind(one, k),
            verdict="not established",
        )
        for k in sorted(chosen, key=lambda k: GROUPS.index(one.columns[k][0]))
    ]


def _scales(controls: pl.DataFrame, groups: Sequence[str], least: float, seed: int) -> list[Claim]:
    """What another example's image (video, sound) in place of the own one changes, nothing cut, by group."""
    found = []
    for name in [one for one in SWAPS if one in set(controls["control"])]:
        rows = controls.filter(pl.col("control") == name, pl.col("group").is_in(groups))
        if not rows.height:
            continue
        # The same in every window, as nothing is cut.
        one = sweep(rows.with_columns(cut="group", layer=0, start=0, stop=1))
        bands = _bands(one, least, seed)
        about = f"another example's {name.removesuffix('-swap').replace('audio', 'sound')} with nothing cut"
        found += [
            column_claim(
                bands,
                k,
                kind="word-scale",
                about=f"{about}, {one.columns[k][0]}",
                quantity=QUANTITY_OF_WORDS,
                unit="nat",
                smallest=least,
                inputs=_behind(one, k),
            )
            for k in range(len(one.columns))
        ]
    return found


class _Pairs(NamedTuple):
    """Places of the columns of objects that are not there, and of those that are, under the same cut and layer."""

    absent: list[int]
    present: list[int]

    @classmethod
    def of(cls, data: Sweep) -> "_Pairs":
        at = {column: k for k, column in enumerate(data.columns)}
        pairs = [
            (k, at[other])
            for column, k in at.items()
            if group_of(column[0]) == NOT_THERE and (other := (f"{cut_of(column[0])}, {THERE}", *column[1:])) in at
        ]
        return cls([k for k, _ in pairs], [k for _, k in pairs])


def _contrasts(data: Sweep, controls: pl.DataFrame | None, least: float, seed: int) -> list[Claim]:
    """What objects that are not there lose, less what those lose that are, at every cut and layer.

    `p` is the larger of that of the bootstrap, with which the interval agrees, and that of dealing the labels anew.
    """
    pairs = _Pairs.of(data)
    if not pairs.absent:
        return []
    whole = _contrast(data, data.values, data.present, pairs, least, seed)
    beside = {} if controls is None else {name: _less(data, controls, name, pairs, least, seed) for name in _NULLS}
    quantity = f"difference of the {QUANTITY_OF_WORDS}"
    found = []
    for q, (k, other) in enumerate(zip(*pairs, strict=True)):
        about, behind = f"{cut_of(data.columns[k][0])}, {_AGAINST}", min(_behind(data, k), _behind(data, other))
        effect, mean = float(whole.bands.mean[q]), float(data.values[data.present[:, other], other].mean())
        nulls = [
            BesideControl.of(name, float(of.shown[at]), of.bands, at, behind, _beyond(of.bands, at, effect))
            for name, of in beside.items()
            if q in of.places
            for at in (of.places.index(q),)
        ]
        own = column_claim(
            whole.bands,
            q,
            kind="word-contrast",
            about=about,
            where=data.where(k),
            quantity=quantity,
            unit="nat",
            smallest=least,
            inputs=behind,
            controlled=all(one.beyond for one in nulls) if nulls else None,
            control=THERE,
            control_effect=mean,
        )
        found.append(own)
        if own.low is None or own.high is None or own.low <= 0 <= own.high:
            continue
        found += [one.claim(own, "word-contrast-beyond", f"{quantity}, less that of the control") for one in nulls]
    return found


def _beyond(bands: Bands, at: int, effect: float) -> bool:
    return bool(bands.p[at] <= ALPHA and bands.mean[at] * effect > 0)


class _Contrast(NamedTuple):
    """Differences with their intervals, and as p the larger of both, for the pairs at `places`. `shown`: what a control
    shows itself.
    """

    bands: Bands
    places: tuple[int, ...]
    shown: Float[np.ndarray, " q"]


def _contrast(
    data: Sweep,
    values: Float[np.ndarray, "n k"],
    present: Bool[np.ndarray, "n k"],
    pairs: _Pairs,
    least: float,
    seed: int,
) -> _Contrast:
    columns = sorted({*pairs.absent, *pairs.present})
    at = {k: j for j, k in enumerate(columns)}
    rows = present[:, columns].any(axis=1)
    contrasts = np.zeros((len(pairs.absent), len(columns)))
    for q, (k, other) in enumerate(zip(*pairs, strict=True)):
        contrasts[q, at[k]], contrasts[q, at[other]] = 1.0, -1.0
    inputs = np.array(data.inputs)[rows]
    own, there = values[rows][:, columns], present[rows][:, columns]
    bands = mean_bands(
        own, clusters=list(inputs), present=there, contrasts=contrasts, smallest_error=ERROR_SHARE * least, seed=seed
    )
    means, seen = _by_input(own, there, inputs)
    absent, with_object = [at[k] for k in pairs.absent], [at[k] for k in pairs.present]
    dealt = relabelled(means[:, absent], means[:, with_object], seen[:, absent], seen[:, with_object], seed=seed)
    places = tuple(range(len(pairs.absent)))
    return _Contrast(replace(bands, p=np.fmax(bands.p, dealt)), places, np.zeros(len(places)))


def _by_input(
    values: Float[np.ndarray, "n k"], present: Bool[np.ndarray, "n k"], inputs: np.ndarray
) -> tuple[Float[np.ndarray, "i k"], Bool[np.ndarray, "i k"]]:
    """The mean of every input, and which inputs each column has."""
    names, codes = np.unique(inputs, return_inverse=True)
    total, count = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]))
    np.add.at(total, codes, np.where(present, values, 0.0))
    np.add.at(count, codes, present.astype(np.float64))
    return total / np.maximum(count, 1), count > 0


def _less(data: Sweep, controls: pl.DataFrame, name: str, pairs: _Pairs, least: float, seed: int) -> _Contrast:
    """The same of the effects less those of the control called `name`, example by example, for the pairs beside which
    it stands in at least half of the examples of both groups.
    """
    other = sweep(controls.filter(pl.col("control") == name), data.columns)
    row = {example: i for i, example in enumerate(other.examples)}
    values, present = np.zeros_like(data.values), np.zeros_like(data.present)
    for i, example in enumerate(data.examples):
        if example in row:
            values[i], present[i] = other.values[row[example]], other.present[row[example]]
    present &= data.present
    n, of = present.sum(axis=0), data.present.sum(axis=0)
    enough = (2 * n >= of) & (n > 0)
    places = [q for q, (k, j) in enumerate(zip(*pairs, strict=True)) if enough[k] and enough[j]]
    nothing = np.zeros(0)
    if not places:
        return _Contrast(Bands(*[nothing] * 4, n=np.zeros(0, dtype=np.int64), inputs=0), (), nothing)
    kept = _Pairs([pairs.absent[q] for q in places], [pairs.present[q] for q in places])
    mean = np.where(present, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    found = _contrast(data, data.values - values, present, kept, least, seed)
    return found._replace(places=tuple(places), shown=mean[kept.absent] - mean[kept.present])


def _bands(one: Sweep, least: float, seed: int) -> Bands:
    error = ERROR_SHARE * least
    return mean_bands(one.values, clusters=one.inputs, present=one.present, smallest_error=error, seed=seed)


def _behind(data: Sweep, k: int) -> int:
    return len(set(np.array(data.inputs)[data.present[:, k]]))
