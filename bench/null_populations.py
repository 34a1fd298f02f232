"""Populations of causal claims in which nothing is to be found: runs of `tiny`, every mean difference moved to 0.

The form of every table is that of the study. What is drawn from them are whole examples, so that skewness, heavy tails
and the dependence between heads, layers and spans stay.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

import chiasm
from bench.null_data import Tables, centred
from chiasm.core.statistics.jackknife import priority
from chiasm.models.observe import SiteStates, observe
from chiasm.studies.flow.tables import KNOCKOUT
from chiasm.studies.look.naming_claims import RANK
from chiasm.studies.look.tables import OBJECT

ABLATIONS = ("ablate:mean@image", "ablate:resample@image")
ROUTES = ("image->question", "question->last")
SEEDS = (101, 102, 103)
"""Of the scenes that heads are measured on: none that was looked at while the rule of held-out heads was chosen."""
SCREENED = 80
"""Scenes whose gradient is taken."""
SPANS = ("image", "question")


def heads_run(cache: Path, seed: int, limit: int) -> Path:
    """The directory of `chiasm flow tiny --heads` on scenes of a seed; made where it is not there."""
    where = cache / f"heads-{seed}-{limit}"
    if not (where / "tables" / "claims.parquet").exists():
        chiasm.flow("tiny", heads=True, keep_only=ROUTES, seed=seed, limit=limit, out=where, resume=where.exists())
    return where


def heads(cache: Path, limit: int) -> Tables:
    """`heads`, `heads_controls` and `keep_only` of scenes of three seeds, each head and route centred at each layer."""
    read = [_tables(heads_run(cache, seed, limit), "heads", "heads_controls", "keep_only", "effects") for seed in SEEDS]
    joined = {name: pl.concat([one[name] for one in read], how="vertical_relaxed") for name in read[0]}
    of = ["cut", "layer", "head"]
    return {
        "effects": _one_row_each(joined["effects"]),
        "heads": _without_mean(joined["heads"], "logprob_cut", of),
        "heads_controls": _without_mean(joined["heads_controls"], "logprob_cut", [*of, "control"]),
        "keep_only": _without_mean(joined["keep_only"], "logprob_kept", ["routes", "open"]),
    }


def ablations(cache: Path, limit: int) -> Tables:
    """`effects` and `controls` of states that are replaced, beside the knockout of the same span, all centred."""
    where = cache / f"ablations-{limit}"
    if not (where / "tables" / "claims.parquet").exists():
        chiasm.flow("tiny", cuts=ABLATIONS, limit=limit, out=where, resume=where.exists())
    tables, _ = centred(where)
    assert KNOCKOUT in set(tables["controls"]["control"])
    return tables


def patches(cache: Path, limit: int) -> Tables:
    """`effects`, `controls`, `knockouts` and `screen` of `chiasm patch tiny`, as they are."""
    where = cache / f"patches-{limit}"
    if not (where / "tables" / "claims.parquet").exists():
        chiasm.patch("tiny", limit=limit, screen=SCREENED, out=where, resume=where.exists())
    return _tables(where, "effects", "controls", "knockouts", "screen")


def centred_patches(tables: Tables) -> dict[str, pl.DataFrame]:
    """The same with the mean share of every span, direction and layer, and of every control of it, moved to 0."""
    of = ["site", "span", "direction", "layer"]
    found = {}
    for name, by in (("effects", of), ("controls", [*of, "control"])):
        rows = tables[name]
        found[name] = rows.with_columns(
            pl.col(value) - pl.col(value).mean().over(by) for value in ("recovery", "recovery_odds")
        )
    cost = pl.col("logprob_cut") - pl.col("logprob_clean")
    over = cost.mean().over("cut", "layer")
    found["knockouts"] = tables["knockouts"].with_columns(logprob_cut=pl.col("logprob_cut") - over)
    return found


def named(cache: Path, limit: int) -> Tables:
    """`named` and `named_controls` of `chiasm look tiny`: words are as often near an object as at each other place."""
    where = cache / f"named-{limit}"
    if not (where / "tables" / "claims.parquet").exists():
        chiasm.look("tiny", limit=limit, named=limit, maps=0, out=where, resume=where.exists())
    read = _tables(where, "named", "named_controls", "shares")
    shares = read["shares"].filter(example_id=read["shares"]["example_id"][0])
    return {"effects": _one_row_each(read["named"]), "shares": shares} | {
        name: _as_often_elsewhere(read[name], name) for name in ("named", "named_controls")
    }


def _as_often_elsewhere(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The shares of other places moved by the mean difference to the object's."""
    rows = rows.filter(k=RANK)
    at = ["example_id", "lens", "word", "layer"]
    own = rows.filter(place=OBJECT).select(*at, own="share")
    others = rows.filter(pl.col("place") != OBJECT).join(own, on=at, maintain_order="left")
    moved = (pl.col("own") - pl.col("share")).mean().over("lens", "word", "layer", "place")
    others = others.with_columns(share=pl.col("share") + moved).drop("own")
    return pl.concat([rows.filter(place=OBJECT), others])


class MeanTokens(NamedTuple):
    """By example, hidden state and span (`SPANS`) the mean token of `tiny` (D wide), each of another image."""

    names: tuple[str, ...]
    states: Float[np.ndarray, "n L 2 D"]

    def group_marks(self) -> list[int]:
        return [priority(name, 0) for name in self.names]


def mean_tokens(cache: Path, limit: int) -> MeanTokens:
    """The states of so many scenes; computed where they are not kept."""
    where = cache / f"mean-tokens-{limit}.npz"
    if where.exists():
        with np.load(where) as kept:
            return MeanTokens(tuple(kept["names"]), kept["states"])
    view, names, found = chiasm.load("tiny"), [], []
    for example in chiasm.examples("scenes", limit=limit):
        states: list[np.ndarray] = []

        def listen(seen: SiteStates, states: list[np.ndarray] = states) -> None:
            states.append(seen.means.cpu().float().numpy())

        observe(view, (), [view.encode(example)], SPANS, listen)
        names.append(example.id)
        found.append(np.stack(states))
    cache.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(where, names=names, states=np.stack(found))
    return MeanTokens(tuple(names), np.stack(found))


def _tables(directory: Path, *names: str) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(directory / "tables" / f"{name}.parquet") for name in names}


def _without_mean(rows: pl.DataFrame, cut: str, by: Sequence[str]) -> pl.DataFrame:
    """Differences of log-probabilities less their mean over examples; models with random weights together."""
    change = pl.col(cut) - pl.col("logprob_clean")
    return rows.with_columns((change - change.mean().over(list(by))).alias(cut), logprob_clean=pl.lit(0.0))


def _one_row_each(rows: pl.DataFrame) -> pl.DataFrame:
    """A cut that changes nothing, of each example: `chiasm flow` makes no claims without `effects`."""
    who = rows.select("example_id", "type").unique("example_id", maintain_order=True)
    nothing = {"cut": pl.lit("image->last"), "layer": pl.lit(0), "start": pl.lit(0), "stop": pl.lit(1)}
    return who.with_columns(**nothing, logprob_clean=pl.lit(0.0), logprob_cut=pl.lit(0.0))
