"""Tables of flow runs in which the truth is known: real differences centred on 0, made ones, and untrained models."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

import chiasm
from chiasm.models.redraw import redrawn
from chiasm.results.series import in_order
from chiasm.studies.flow.tables import SIZE_MATCHED, SWAPS, dose_share

Tables = Mapping[str, pl.DataFrame]
Draw = Callable[[np.random.Generator, int], Float[np.ndarray, " n"]]

WINDOW = 3
_WINDOW_KEYS = ("cut", "layer", "start", "stop")
_KEPT = ("example_id", "type", *_WINDOW_KEYS, "logprob_cut")
SAMPLE = Path(__file__).parent / "centred.parquet"
_DIFFERENCE = pl.col("logprob_cut") - pl.col("logprob_clean")


def _exponential(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    return 1 - rng.exponential(1.0, n)


def _lognormal(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    return np.exp(0.5) - rng.lognormal(0.0, 1.0, n)


def _bimodal(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    """A third of the examples loses much, the others gain a little."""
    return np.where(rng.random(n) < 1 / 3, -2.0, 1.0) + 0.1 * rng.normal(size=n)


def _rare(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    """One example in ten loses much: with few of them, often none is seen."""
    return np.where(rng.random(n) < 0.1, -4.5, 0.5) + 0.1 * rng.normal(size=n)


DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": _exponential,
    "log-normal, sd of the logarithm 1": _lognormal,
    "bimodal, 1 in 3 apart": _bimodal,
    "bimodal, 1 in 10 apart": _rare,
    "heavy-tailed, t with 3 degrees": lambda rng, n: rng.standard_t(3, n),
}
"""Distributions of mean 0. The skewed ones lean to losses, as effects do."""


def flow_run(cache: Path, limit: int) -> Path:
    """The directory of a `chiasm flow tiny` run that the real differences come from; made where it is not there."""
    where = cache / f"flow-{limit}"
    if not (where / "manifest.json").exists() or not (where / "tables" / "effects.parquet").exists():
        chiasm.flow("tiny", limit=limit, window=WINDOW, out=where)
    return where


def centred(directory: Path) -> tuple[dict[str, pl.DataFrame], dict[str, tuple[float, float]]]:
    """The tables of a run with every mean difference of log-probabilities moved to 0, and the deviation by cut.

    Each cut and each control is centred at each layer over all examples; models with random weights together, so that
    they still differ from each other. The deviations are the least and the largest over a cut's layers (nat).
    """
    read = {name: pl.read_parquet(directory / "tables" / f"{name}.parquet") for name in ("effects", "controls")}
    # Doses and swapped inputs are scales, and stand beside no claim as a control.
    names = [name for name in in_order(read["controls"], "control") if name not in SWAPS and dose_share(name) is None]
    controls = read["controls"].filter(pl.col("control").is_in(names))
    by = [*_WINDOW_KEYS, "control"]
    columns = ["example_id", "type", *_WINDOW_KEYS, "logprob_clean", "logprob_cut"]

    def moved(rows: pl.DataFrame, over: list[str]) -> pl.DataFrame:
        return rows.with_columns(logprob_cut=_DIFFERENCE - _DIFFERENCE.mean().over(over), logprob_clean=pl.lit(0.0))

    effects = moved(read["effects"], list(_WINDOW_KEYS)).select(columns)
    spread = effects.group_by("cut", "layer").agg(pl.col("logprob_cut").std().alias("sd"))
    ends = spread.group_by("cut").agg(pl.col("sd").min().alias("least"), pl.col("sd").max().alias("most"))
    deviations = {cut: (least, most) for cut, least, most in ends.iter_rows()}
    beside = moved(controls, by).select(*columns, "control", "sample")
    return {"effects": effects, "controls": beside}, {cut: deviations[cut] for cut in in_order(effects, "cut")}


def save_sample(tables: Tables, where: Path, examples: int = 240) -> None:
    """Keep some of a centred population in one small file, for tests that cannot wait for a run."""
    chosen = tables["effects"]["example_id"].unique(maintain_order=True).head(examples)
    kept = [*_KEPT, "control", "sample"]
    effects = tables["effects"].with_columns(control=pl.lit(None, pl.String), sample=pl.lit(None, pl.Int64))
    both = pl.concat([effects.select(kept), tables["controls"].select(kept)], how="vertical_relaxed")
    both = both.filter(pl.col("example_id").is_in(chosen.to_list())).with_columns(
        pl.col("logprob_cut").cast(pl.Float32)
    )
    both.write_parquet(where, compression="zstd", compression_level=19)


def load_sample(where: Path) -> dict[str, pl.DataFrame]:
    """The population that `save_sample` kept, centred anew."""
    both = pl.read_parquet(where).with_columns(pl.col("logprob_cut").cast(pl.Float64), logprob_clean=pl.lit(0.0))
    mean = pl.col("logprob_cut").mean().over([*_WINDOW_KEYS, "control"])
    both = both.with_columns(pl.col("logprob_cut") - mean)
    return {
        "effects": both.filter(pl.col("control").is_null()).drop("control", "sample"),
        "controls": both.filter(pl.col("control").is_not_null()),
    }


def resampled(tables: Tables, n: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """`n` examples of the population, drawn with replacement, each with all of its rows and under a name of its own."""
    names = tables["effects"]["example_id"].unique(maintain_order=True)
    drawn = names.gather(rng.integers(0, len(names), n)).rename("example_id")
    who = pl.DataFrame({"example_id": drawn, "drawn": [f"e{k:04d}" for k in range(n)]})
    return {
        name: rows.join(who, on="example_id").drop("example_id").rename({"drawn": "example_id"})
        for name, rows in tables.items()
    }


def shifted(tables: Tables, by: float) -> dict[str, pl.DataFrame]:
    """The same with every cut's effect moved by `by` nat; controls are left where they are."""
    effects = tables["effects"].with_columns(pl.col("logprob_cut") + by)
    return {**tables, "effects": effects}


def made(
    draw: Draw,
    rng: np.random.Generator,
    *,
    images: int,
    per_image: int = 1,
    types: int = 4,
    nested: bool = False,
    cuts: int = 6,
    layers: int = 8,
    control: bool = True,
) -> dict[str, pl.DataFrame]:
    """A run without any effect: `per_image` questions on each image, which share most of their difference.

    Half of the variance of an image is common to all columns (cuts at layers). `nested`: all questions on one image are
    of one type.
    """
    n, columns = images * per_image, cuts * layers
    of_image = np.repeat(np.arange(images), per_image)

    def values() -> Float[np.ndarray, "n k"]:
        common, own = draw(rng, images)[:, None], draw(rng, images * columns).reshape(images, columns)
        image = 0.7 * (common + own)
        return image[of_image] + (0.5 * draw(rng, n * columns).reshape(n, columns) if per_image > 1 else 0.0)

    kinds = rng.integers(0, types, images)[of_image] if nested else rng.integers(0, types, n)
    ids = [f"e{k:04d}" for k in range(n)]
    place = [(f"cut{k // layers}->last", k % layers) for k in range(columns)]

    def rows(changes: Float[np.ndarray, "n k"]) -> pl.DataFrame:
        layer = pl.Series([layer for _, layer in place] * n)
        return pl.DataFrame(
            {
                "example_id": np.repeat(ids, columns),
                "type": np.repeat([f"type {kind}" for kind in kinds], columns),
                "cut": [cut for cut, _ in place] * n,
                "layer": layer,
                "start": layer,
                "stop": layer + 1,
                "logprob_clean": np.zeros(n * columns),
                "logprob_cut": changes.ravel(),
            }
        )

    tables = {
        "effects": rows(values()),
        "examples": pl.DataFrame({"example_id": ids, "input": [f"i{k}" for k in of_image]}),
    }
    if control:
        tables["controls"] = rows(values()).with_columns(control=pl.lit(SIZE_MATCHED), sample=pl.lit(0))
    return tables


def random_model(cache: Path, seed: int, limit: int) -> dict[str, pl.DataFrame]:
    """The tables of a run on a model that has learnt nothing, drawn from `seed`, beside other such models."""
    where = cache / f"random-{seed}-{limit}"
    if not (where / "tables" / "effects.parquet").exists():
        view = redrawn(chiasm.load("tiny-random"), seed)
        chiasm.flow(view, data="scenes", limit=limit, window=WINDOW, keep="all", baseline="random", out=where)
    return {file.stem: pl.read_parquet(file) for file in (where / "tables").glob("*.parquet")}
