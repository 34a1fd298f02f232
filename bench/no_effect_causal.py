"""Claims of causal methods on tables in which nothing is to be found: what is asked for, and how tables are drawn.

Real ones are drawn from the populations of `bench/null_populations.py`; made ones have the same form and a known
distribution.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from bench.no_effect_models import no_score
from bench.no_effect_words import as_untrained, lost_alike, made_words
from bench.null_data import DRAWS, Draw, Tables, made, resampled
from bench.null_populations import (
    SPANS,
    MeanTokens,
    ablations,
    centred_patches,
    heads,
    mean_tokens,
    named,
    patches,
)
from chiasm.core.statistics.jackknife import GROUPS, group_of, pairs_across
from chiasm.interventions.states import ABLATE
from chiasm.measures.geometry import NEIGHBOURS
from chiasm.measures.neighbours import common_without_each, unit_distances
from chiasm.measures.parts import part_rows
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.align.tables import SAME_EXAMPLES
from chiasm.studies.flow.tables import ALL, CLOSED, JUDGING, OPEN, RANDOM, SEARCH, SIZE_MATCHED
from chiasm.studies.look.naming_claims import RANK
from chiasm.studies.look.tables import ELSEWHERE, NAME, OBJECT, OTHER_OBJECT, OUTPUT, RANDOM_DIRECTION
from chiasm.studies.patch.tables import DENOISE, NOISE, RANDOM_TOKENS, SAME_ANSWER

Drawing = Callable[[int, np.random.Generator], Tables]
"""Tables of so many examples."""

_MODELS, _WIDTH = 6, 12
_ANY = pl.lit(True)


class Asked(NamedTuple):
    """Which claims of a study are asked for on the same draws, by the kind of claim; of some kinds only a part."""

    study: str
    data: str
    draw: Drawing
    kinds: Mapping[str, pl.Expr]


def real(cache: Path, limit: int, heads_limit: int) -> Iterator[Asked]:
    """What is asked of real runs; `limit` examples of each, and `heads_limit` of each seed of scenes with heads."""
    inputs = "centred real differences"
    every = {"head": _ANY, "head-held-out": _ANY, "sufficient-loss": _ANY}
    yield Asked("flow", inputs, _drawn(heads(cache, heads_limit)), every)
    ablated = {"effect": pl.col("about").str.starts_with(ABLATE), "value-path": _ANY, "knockout": _ANY}
    yield Asked("flow", f"states replaced, {inputs}", _drawn(ablations(cache, limit)), ablated)
    patched = patches(cache, limit)
    moved = centred_patches(patched)
    shares = {name: moved[name] for name in ("effects", "controls")}
    kinds = {"recovery": _ANY, "odds": _ANY, "most": _ANY, "type": _ANY, "types": _ANY}
    yield Asked("patch", inputs, _drawn(shares), kinds)
    yield Asked("patch", "real curves, the cut's layers in random order", partial(_reordered, patched), _AGREE)
    yield Asked("patch", "real curves that are highest in the same layer", partial(_same_layer, patched), _APART)
    idle = {"effects": patched["effects"], "knockouts": moved["knockouts"]}
    yield Asked("patch", "cuts that cost nothing", _drawn(idle), _AGREE | _APART)
    effects = patched["effects"].join(patched["screen"].select("example_id").unique(), on="example_id", how="semi")
    screened = partial(_disordered, {"effects": effects, "screen": patched["screen"]})
    yield Asked("patch", "exact patches in random order", screened, {"screen": _ANY})
    words = {"named": _ANY, "named-other": _ANY, "named-random": _ANY}
    yield Asked("look", inputs, _drawn(named(cache, limit)), words)
    tokens = mean_tokens(cache, max(limit, 250))
    yield Asked("align", "real mean tokens, paired at random", partial(_strangers, tokens), {"neighbours": _ANY})
    yield Asked("align", "one span's real mean tokens, halved", partial(_halves, tokens), {"gap": _ANY})


def made_up() -> Iterator[Asked]:
    """What is asked of made tables."""
    kinds = {"head": _ANY, "head-held-out": _ANY}
    for name in ("exponential", "heavy-tailed, t with 3 degrees"):
        yield Asked("flow", name, partial(made_heads, DRAWS[name]), kinds)
        shares = {"recovery": _ANY, "type": _ANY, "types": _ANY}
        yield Asked("patch", name, partial(made_patches, DRAWS[name]), shares)
    words = {"named": _ANY, "named-other": _ANY, "named-random": _ANY}
    yield Asked("look", "4 tokens of an object, words near in 1 of 5", made_names, words)
    right = {"sufficient": _ANY, "sufficient-control": _ANY}
    yield Asked("flow", "as often right as with random routes, and with none", _no_better, right)
    yield Asked("flow", "as often right as with all routes", _no_worse, {"sufficient-lost": _ANY})
    yield Asked("patch", "gaps as in models with random weights", _gaps, {"gap": _ANY})
    for name in ("exponential", "heavy-tailed, t with 3 degrees"):
        words = {"word": _ANY, "word-contrast": _ANY}
        yield Asked("flow", f"words that lose nothing, {name}", partial(made_words, DRAWS[name]), words)
    alike = {"word-contrast": _ANY}
    yield Asked("flow", "words that all lose as much", partial(lost_alike, DRAWS["exponential"]), alike)
    yield Asked("flow", "words that lose as in random weights", as_untrained, {"word": _ANY})
    yield Asked("align", "spans as far apart as in models with random weights", _gap_beside, {"gap": _ANY})


def _drawn(tables: Tables) -> Drawing:
    return lambda n, rng: resampled(tables, n, rng)


_AGREE = {"agreement": _ANY}
_APART = {"agreement-layer": _ANY}


def made_heads(draw: Draw, n: int, rng: np.random.Generator, *, per_layer: int = 4, layers: int = 6) -> Tables:
    """Two cuts of so many heads in so many layers; half of an example's variance is common to all of them."""
    tables = made(draw, rng, images=n, cuts=2 * per_layer, layers=layers)
    number = pl.col("cut").str.extract(r"^cut(\d+)").cast(pl.Int64)
    cut = pl.when(number < per_layer).then(pl.lit("image->last@heads=all")).otherwise(pl.lit("zero:heads@last"))
    single = {"cut": cut, "head": number % per_layer}
    controls = tables["controls"].filter(control=SIZE_MATCHED).with_columns(**single)
    own = tables["effects"].with_columns(**single)
    quiet = tables["effects"].filter(cut="cut0->last", layer=0).with_columns(logprob_cut=pl.lit(0.0))
    return {"effects": quiet, "heads": own, "heads_controls": controls}


def made_patches(draw: Draw, n: int, rng: np.random.Generator) -> Tables:
    """Shares of the gap whose mean is 0 (standard deviation 50 points), as of two controls, by span and direction."""
    both = ((DENOISE, "image"), (DENOISE, "last"), (NOISE, "image"), (NOISE, "last"))

    def rows(seed: int) -> pl.DataFrame:
        values = made(draw, np.random.default_rng(seed), images=n, cuts=len(both), layers=6, control=False)["effects"]
        number = pl.col("cut").str.extract(r"^cut(\d+)").cast(pl.Int64)
        names = {"direction": 0, "span": 1}
        named_as = {
            name: number.replace_strict({k: one[at] for k, one in enumerate(both)}, return_dtype=pl.String)
            for name, at in names.items()
        }
        return values.select(
            "example_id", "type", "layer", "start", "stop", **named_as, site=pl.lit("residual"),
            recovery=0.5 * pl.col("logprob_cut"), logprob_clean=pl.lit(0.0), logprob_donor=pl.lit(-5.0),
        )  # fmt: skip

    own, *beside = (rows(int(seed)) for seed in rng.integers(0, 2**31, 3))
    controls = [
        one.with_columns(control=pl.lit(name), sample=pl.lit(0))
        for one, name in zip(beside, (SAME_ANSWER, RANDOM_TOKENS), strict=True)
    ]
    return {"effects": own, "controls": pl.concat(controls)}


def made_names(n: int, rng: np.random.Generator) -> Tables:
    """Words that are near as many tokens of an object (of four) as of all others, in models with random weights too."""
    layers = 7
    places = {OBJECT: 4, ELSEWHERE: 60, OTHER_OBJECT: 8, RANDOM_DIRECTION: 4}

    def rows() -> list[pl.DataFrame]:
        near = rng.beta(0.4, 1.6, (n, layers))
        return [
            pl.DataFrame(
                {
                    "example_id": np.repeat([f"e{k:04d}" for k in range(n)], layers),
                    "type": "t",
                    "layer": np.tile(np.arange(layers), n),
                    "lens": OUTPUT,
                    "word": NAME,
                    "place": place,
                    "k": RANK,
                    "share": (rng.binomial(tokens, near) / tokens).ravel(),
                    "tokens": tokens,
                }
            )
            for place, tokens in places.items()
        ]

    model = pl.col("example_id").str.slice(1).cast(pl.Int64) % 4
    controls = pl.concat(rows()).with_columns(control=pl.lit(RANDOM_WEIGHTS), sample=model)
    shares = {"example_id": "e0000", "type": "t", "layer": 0, "query": "last", "span": "image"}
    return {
        "shares": pl.DataFrame([shares | {"share": 0.5, "visible": 0.5}]),
        "named": pl.concat(rows()),
        "named_controls": controls,
    }


def _no_better(n: int, rng: np.random.Generator) -> Tables:
    """A named and a searched set of routes: with either 60 % are right, as with random ones and with none."""
    return _routes(n, rng, clean=0.95, kept=0.6, random=0.6, closed=0.6)


def _no_worse(n: int, rng: np.random.Generator) -> Tables:
    """As often right (80 %) with all routes as with the set alone, where other routes leave less."""
    return _routes(n, rng, clean=0.8, kept=0.8, random=0.3, closed=0.2)


def _routes(n: int, rng: np.random.Generator, **share: float) -> Tables:
    names = [f"e{k:04d}" for k in range(n)]
    # What is hard is so with any routes.
    hard = rng.normal(0, 0.15, n)

    def right(role: str) -> Bool[np.ndarray, " n"]:
        return rng.random(n) < np.clip(share[role] + hard, 0, 1)

    def rows(routes: str, half: str, open_: str, size: int, role: str) -> pl.DataFrame:
        kept = {"example_id": names, "right_kept": right(role), "right_clean": clean}
        columns = {"type": "t", "routes": routes, "open": open_, "size": size, "half": half}
        return pl.DataFrame(kept).with_columns(
            *(pl.lit(value).alias(name) for name, value in columns.items()),
            logprob_clean=pl.lit(0.0),
            logprob_kept=pl.Series(rng.normal(0, 1, n)),
            target_token_id=pl.lit(1),
        )

    clean = right("clean")
    roles = ((OPEN, "kept"), (RANDOM, "random"), (CLOSED, "closed"))
    named_set = [rows("image->question, question->last", ALL, open_, 2, role) for open_, role in roles]
    judging = [
        rows(SEARCH, JUDGING, OPEN, 2, "kept"),
        rows(SEARCH, JUDGING, RANDOM, 2, "random"),
        rows(SEARCH, JUDGING, OPEN, 0, "closed"),
    ]
    half = pl.col("example_id").is_in(names[::2])
    chosen = pl.DataFrame(
        {
            "route": [f"image->question@layers={k}-{k}" for k in range(6)],
            "start": range(6),
            "stop": range(1, 7),
            "closed": range(1, 7),
            "kept": [False] * 4 + [True] * 2,
            "loss": 0.0,
            "round": 1,
            "n": n // 2,
        }
    )
    quiet = pl.DataFrame({"example_id": names}).with_columns(
        type=pl.lit("t"), cut=pl.lit("image->last"), layer=pl.lit(0), start=pl.lit(0), stop=pl.lit(1),
        logprob_clean=pl.lit(0.0), logprob_cut=pl.lit(0.0),
    )  # fmt: skip
    searched = pl.concat(judging).filter(half)
    return {
        "effects": quiet,
        "keep_only": pl.concat(named_set),
        "sufficiency": searched,
        "sufficient_routes": chosen,
    }


def _reordered(tables: Tables, n: int, rng: np.random.Generator) -> Tables:
    """Both curves as they are, but what the cut costs in a layer stands at another, drawn once for all examples."""
    drawn = resampled({name: tables[name] for name in ("effects", "knockouts")}, n, rng)
    rows, parts = drawn["knockouts"], []
    for cut in rows["cut"].unique(maintain_order=True):
        layers = sorted(rows["layer"].unique())
        order = dict(zip(layers, rng.permutation(layers).tolist(), strict=True))
        parts.append(rows.filter(cut=cut).with_columns(pl.col("layer").replace(order)))
    return drawn | {"knockouts": pl.concat(parts)}


def _same_layer(tables: Tables, n: int, rng: np.random.Generator) -> Tables:
    """What a cut costs is what patching moves (a gap is one nat), and beside it the spread of another example."""
    drawn = resampled({name: tables[name] for name in ("effects", "knockouts")}, n, rng)
    effects = tables["effects"].filter(site="residual").drop_nulls("recovery")
    depth = int(effects["layer"].max() or 0) + 1  # type: ignore[operator]  # a column of whole numbers
    parts = []
    for cut in tables["knockouts"]["cut"].unique(maintain_order=True):
        last = not cut.startswith("image->")
        means = effects.filter(span="last" if last else "image").group_by("layer").agg(pl.col("recovery").mean())
        share = means.sort("layer")["recovery"].to_numpy()
        moved = np.diff(np.append(share, 1.0 if last else 0.0)) * (1 if last else -1)
        rows = drawn["knockouts"].filter(cut=cut)
        loss = pl.col("logprob_cut") - pl.col("logprob_clean")
        other = (loss - loss.mean().over("layer")).gather(_other_rows(rows, rng))
        follows = pl.col("layer").replace_strict(dict(enumerate(moved.tolist())), return_dtype=pl.Float64)
        parts.append(rows.with_columns(logprob_cut=pl.col("logprob_clean") + other - follows))
    assert depth == len(moved)
    return drawn | {"knockouts": pl.concat(parts)}


def _other_rows(rows: pl.DataFrame, rng: np.random.Generator) -> list[int]:
    """For every row one of the same layer of another example, all rows of an example from the same one."""
    names = rows["example_id"].unique(maintain_order=True).to_list()
    to = dict(zip(names, rng.permutation(names).tolist(), strict=True))
    at = {key: k for k, key in enumerate(rows.select("example_id", "layer").iter_rows())}
    return [at[to[name], layer] for name, layer in rows.select("example_id", "layer").iter_rows()]


def _disordered(tables: Tables, n: int, rng: np.random.Generator) -> Tables:
    """Exact patches change places within a pair and direction: of the sampled tokens, and of whole spans."""
    drawn = resampled({name: tables[name] for name in ("effects", "screen")}, n, rng)
    pair, seed = ["example_id", "direction"], int(rng.integers(0, 2**31))
    sampled = drawn["screen"].drop_nulls("exact").with_columns(pl.col("exact").shuffle(seed).over(pair))
    rest = drawn["screen"].filter(pl.col("exact").is_null())
    effects = drawn["effects"].with_columns(pl.col("recovery").shuffle(seed).over(pair))
    return {"effects": effects, "screen": pl.concat([sampled, rest])}


def _gaps(n: int, rng: np.random.Generator) -> Tables:
    """Gaps that are as large in one more model with random weights: means differ by 0.4 nat, pairs by 1 nat."""
    means = rng.normal(1.0, 0.4, _MODELS)
    names = [f"e{k:04d}" for k in range(n)]
    own = pl.DataFrame({"example_id": names, "logprob_donor": -(means[0] + rng.exponential(1, n) - 1)}).with_columns(
        type=pl.lit("t"), site=pl.lit("residual"), span=pl.lit("image"), direction=pl.lit(DENOISE),
        layer=pl.lit(0), start=pl.lit(0), stop=pl.lit(1), logprob_clean=pl.lit(0.0),
        recovery=pl.lit(None, pl.Float64),
    )  # fmt: skip
    which = np.arange(n) % (_MODELS - 1)
    gaps = means[1 + which] + rng.exponential(1, n) - 1
    return {"effects": own, "pairs_controls": pl.DataFrame({"example_id": names, "gap": gaps, "sample": which})}


def _strangers(tokens: MeanTokens, n: int, rng: np.random.Generator) -> Tables:
    """Neighbours in common of one example's image and another's question."""
    chosen = rng.choice(len(tokens.names), n, replace=False)
    other = rng.permutation(chosen)
    marks = tokens.group_marks()
    groups = np.array([marks[k] % GROUPS for k in chosen])
    counts = np.bincount(groups, minlength=GROUPS).astype(float)
    k, (a, b), rows = min(NEIGHBOURS, n // 4), SPANS, []
    for layer in range(tokens.states.shape[1]):
        one = unit_distances(tokens.states[chosen, layer, 0].astype(np.float64))
        two = unit_distances(tokens.states[other, layer, 1].astype(np.float64))
        beyond, chance = common_without_each(one, two, groups, k)
        rows += part_rows("neighbours", beyond, counts, a=a, b=b, layer=layer)
        rows += part_rows("neighbours_null", chance, counts, a=a, b=b, layer=layer)
    return {"score": no_score(), "parts": _parts(rows)}


def _halves(tokens: MeanTokens, n: int, rng: np.random.Generator) -> Tables:
    """The gap between two sets of examples in the image's mean tokens alone; there is none."""
    chosen = rng.choice(len(tokens.names), 2 * n, replace=False)
    states = tokens.states[chosen, :, 0].astype(np.float64)
    return {"score": no_score(), "parts": _parts(_gap_rows(states[:n], states[n:], _groups(n)))}


def _gap_beside(n: int, rng: np.random.Generator) -> Tables:
    """Spans apart by 1 (models differ by 0.2) in a model as in six with random weights; vectors of heavy tails."""

    def model() -> pl.DataFrame:
        apart = np.zeros((4, _WIDTH))
        apart[:, 0] = rng.normal(1.0, 0.2)
        one, two = (rng.standard_t(5, (n, 4, _WIDTH)) for _ in range(2))
        return _parts(_gap_rows(one, two + apart, _groups(n)))

    own, random, *further = (model() for _ in range(_MODELS))
    beside = [
        rows.with_columns(control=pl.lit(name)) for name, rows in ((SAME_EXAMPLES, own), (RANDOM_WEIGHTS, random))
    ]
    more = [rows.with_columns(sample=pl.lit(k)) for k, rows in enumerate(further, 1)]
    return {"score": no_score(), "parts": own, "parts_controls": pl.concat(beside), "parts_random": pl.concat(more)}


def _groups(n: int) -> list[int]:
    return [group_of(f"i{k}") for k in range(n)]


def _gap_rows(one: Float[np.ndarray, "n L D"], two: Float[np.ndarray, "n L D"], groups: list[int]) -> list[dict]:
    """Rows of `gap_share`, from vectors scaled to norm 1 (see the measure `Similarity`)."""
    counts = np.bincount(groups, minlength=GROUPS).astype(float)
    rows = []
    for layer in range(one.shape[1]):
        sums = []
        for states in (one, two):
            unit = states[:, layer] / np.linalg.norm(states[:, layer], axis=1, keepdims=True)
            total = np.zeros((GROUPS, unit.shape[1]))
            np.add.at(total, groups, unit)
            sums.append(total)
        within = [pairs_across(total, total, counts, counts) for total in sums]
        across = pairs_across(sums[0], sums[1], counts, counts)
        if within[0] is None or within[1] is None or across is None:
            continue
        squared = within[0] + within[1] - 2 * across
        share = squared / 4 / (1 - (within[0] + within[1] + 2 * across) / 4)
        rows += part_rows("gap_share", share, counts, a=SPANS[0], b=SPANS[1], layer=layer)
    return rows


def _parts(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int64})
