"""What attribution, neurons and concepts say: every effect beside its control, corrected over all of one kind."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, judged, known
from chiasm.core.statistics.bands import ALPHA, mean_bands
from chiasm.core.statistics.intervals import critical, share_interval
from chiasm.results.series import in_order
from chiasm.studies.inside.means import COMPLETE, complete
from chiasm.studies.inside.tables import ENTROPY

SMALLEST = 2.0
"""The smallest effect worth naming, in points of a share; in nat and in area a hundredth of it."""
UNTUNED = "zero-shot"
# A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`).
_ERROR_SHARE = 0.2
_PATHS = ("integrated-gradients", "gradient-shap")


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm.attribute`, `neurons` and `concepts`, from those of their tables that there are."""
    least = SMALLEST if smallest is None else smallest
    found: list[Claim] = []
    if "attributions" in tables:
        rows = tables["attributions"]
        found += _complete(rows) + _pointing(complete(rows), least, seed) + _faithful(complete(rows), least, seed)
    if "modalities" in tables:
        found += _modalities(tables["modalities"], least, seed)
    if "neuron_ablation" in tables:
        found += _neurons(tables["neuron_ablation"], least, seed)
    if "specific_neurons" in tables:
        found += _specific(tables["specific_neurons"])
    if "neurons" in tables:
        found += _kept(tables["neurons"])
    if "concepts" in tables:
        found += _concepts(tables["concepts"], least)
    return found


class _Found(NamedTuple):
    """A mean over examples among several that hold at once."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    inputs: int


def _means(rows: pl.DataFrame, value: pl.Expr, least: float, seed: int) -> dict[str, _Found]:
    """The mean of `value` by `about`, over the examples that have it; several rows of one example are averaged."""
    keys = ["domain", "example_id", "input"]
    means = rows.group_by(*keys, "about", maintain_order=True).agg(value.cast(pl.Float64).mean().alias("value"))
    means = means.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    if not means.height:
        return {}
    who = means.select(keys).unique(maintain_order=True)
    row, column = {key: k for k, key in enumerate(who.rows())}, in_order(means, "about")
    values = np.zeros((who.height, len(column)))
    present = np.zeros(values.shape, dtype=bool)
    for *key, about, number in means.select(*keys, "about", "value").iter_rows():
        at = row[key[0], key[1], key[2]], column.index(about)
        values[at], present[at] = number, True
    clusters = [f"{domain}/{one}" for domain, one in who.select("domain", "input").iter_rows()]
    bands = mean_bands(values, clusters=clusters, present=present, smallest_error=_ERROR_SHARE * least, seed=seed)
    return {
        about: _Found(
            float(bands.mean[k]),
            float(bands.low[k]),
            float(bands.high[k]),
            float(bands.p[k]),
            int(bands.n[k]),
            len(set(np.array(clusters)[present[:, k]])),
        )
        for k, about in enumerate(column)
    }


def _named(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """With the column `about`: `scenes (as given), kernel-shap`."""
    parts = [pl.format("{} ({})", "domain", "setting"), *(pl.col(name) for name in columns)]
    return rows.with_columns(about=pl.concat_str(parts, separator=", "))


def _contrast(
    kind: str, about: str, quantity: str, unit: str, found: _Found, control: str, beside: float, least: float
) -> Claim:
    """A difference to its control, which the claim's effect is already."""
    return Claim(
        kind=kind,
        about=about,
        quantity=quantity,
        unit=unit,
        effect=found.mean,
        low=known(found.low),
        high=known(found.high),
        p=known(found.p),
        control=control,
        control_effect=beside,
        n=found.n,
        inputs=found.inputs,
        verdict=judged(found.mean, found.low, found.high, smallest=least, inputs=found.inputs, p=known(found.p)),
    )


def _complete(rows: pl.DataFrame) -> list[Claim]:
    """How many maps add up to the answer, by method, and how far they miss it."""
    found = []
    for method in in_order(rows, "method"):
        own = rows.filter(method=method)
        share = share_interval((own["error"] <= COMPLETE).to_numpy(), own["input"].to_list())
        effect, low, high = (100 * float(x) for x in (share.mean, share.low, share.high))
        about = {"about": method, "unit": "%", "n": own.height, "inputs": own["input"].n_unique()}
        found.append(
            Claim(
                kind="complete",
                quantity="maps that add up to the answer within 5 %",
                effect=effect,
                low=known(low),
                high=known(high),
                verdict="uncontrolled" if low > 0 else "not established",
                **about,
            )
        )
        error = float(np.median(own["error"].to_numpy()))
        if np.isfinite(error):
            quantity = "median error of what a map adds up to"
            found.append(Claim(kind="error", quantity=quantity, effect=100 * error, verdict="not established", **about))
    return found


def _pointing(rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """Positive attribution on the boxes less their area; its control are other examples' maps in the same boxes."""
    own = _named(rows.filter(pl.col("object").is_not_null()), "method")
    if not own.height:
        return []
    energy, area, swapped = (100 * pl.col(name) for name in ("object", "area", "object_swapped"))
    gain, over, beside = (
        _means(own, value, least, seed) for value in (energy - area, energy - swapped, swapped - area)
    )
    found = []
    for about, one in gain.items():
        past = over.get(about)
        beyond = None if past is None else bool(past.p <= ALPHA and past.mean > 0 and one.mean > 0)
        p = known(one.p)
        found.append(
            Claim(
                kind="pointing",
                about=about,
                quantity="positive attribution on what is asked about, less the area of its boxes",
                unit="points",
                effect=one.mean,
                low=known(one.low),
                high=known(one.high),
                p=p if p is None or past is None or np.isnan(past.p) else max(p, past.p),
                control=None if past is None else "other examples' maps in the same boxes",
                control_effect=None if past is None else beside[about].mean,
                n=one.n,
                inputs=one.inputs,
                verdict=judged(one.mean, one.low, one.high, smallest=least, inputs=one.inputs, p=p, controlled=beyond),
            )
        )
    return found


def _faithful(rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """How much sooner than in random order the answer is lost along a map, and found."""
    own, area = _named(rows, "method"), least / 100
    found = []
    for kind, sooner in (
        ("deletion", pl.col("deletion_random") - pl.col("deletion")),
        ("insertion", pl.col("insertion") - pl.col("insertion_random")),
    ):
        quantity = f"area between the {kind} curves of the map and of random orders"
        for about, one in _means(own, sooner, area, seed).items():
            beside = float(own.filter(about=about)[f"{kind}_random"].to_numpy().mean())
            found.append(_contrast(kind, about, quantity, "1", one, "random orders", beside, area))
    return found


def _modalities(rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """The image's share of the answer less what is found where there is no image."""
    own = _named(rows, "method")
    quantity = "the image's share of the answer, against the question's, less that without an image"
    return [
        _contrast(
            "modality", about, quantity, "points", one, "no image", 100 * _mean(own.filter(about=about), "blank"), least
        )
        for about, one in _means(own, 100 * (pl.col("share") - pl.col("blank")), least, seed).items()
    ]


def _neurons(rows: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """What is lost without neurons, less what is lost without random ones, on examples that did not choose them."""
    images = pl.when(pl.col("group") == "").then(pl.lit("")).when(pl.col("own")).then(pl.lit(", own images"))
    which = pl.format("{} neurons by {}", "count", "score")
    of = pl.when(pl.col("group") == "").then(pl.lit("")).otherwise(pl.format(" ({})", "group"))
    own = _named(rows.with_columns(set=pl.concat_str(which, of, images.otherwise(pl.lit(", other images")))), "set")
    quantity, nat = "change of the answer's lead over the runner-up, less that without random neurons", least / 100
    control = "as many random neurons of the same layers"
    return [
        _contrast("neurons", about, quantity, "nat", one, control, _mean(own.filter(about=about), "change_random"), nat)
        for about, one in _means(own, pl.col("change") - pl.col("change_random"), nat, seed).items()
    ]


def _specific(rows: pl.DataFrame) -> list[Claim]:
    """Neurons that are active in few groups, less those where groups are shuffled; the interval is that of shuffles."""
    found = []
    for row in rows.iter_rows(named=True):
        effect, low, high = (row["count"] - row[name] for name in ("count_random", "high_random", "low_random"))
        found.append(
            Claim(
                kind="specific",
                about=f"{row['domain']} ({row['setting']}), {row['groups']}",
                quantity="neurons specific to some of the groups, less those of shuffled groups",
                unit="neurons",
                effect=effect,
                low=low,
                high=high,
                control="shuffled groups",
                control_effect=row["count_random"],
                n=row["n"],
                verdict=judged(effect, low, high, smallest=1.0, inputs=None),
            )
        )
    return found


def _kept(neurons: pl.DataFrame) -> list[Claim]:
    """How many of the specific neurons are the same before and after tuning: of one model each, so no interval."""
    found = []
    for domain in in_order(neurons, "domain"):
        own = neurons.filter(domain=domain, score=ENTROPY)
        sets = {
            setting: set(own.filter(setting=setting).select("layer", "neuron").iter_rows())
            for setting in in_order(own, "setting")
        }
        before = sets.pop(UNTUNED, set())
        found += [
            Claim(
                kind="kept",
                about=f"{domain} ({setting})",
                quantity="specific neurons shared before and after tuning, of all",
                unit="%",
                effect=100 * len(before & after) / len(before | after),
                n=len(before | after),
                verdict="not established",
            )
            for setting, after in sets.items()
            if before
        ]
    return found


def _concepts(rows: pl.DataFrame, least: float) -> list[Claim]:
    """TCAV less that of random concepts, by concept and layer: p of the table, intervals over all of one setting."""
    found = []
    for about, own in _parts(rows):
        for row in own.iter_rows(named=True):
            # A share over n answers, as wide as holds for all concepts and layers at once.
            half = _half(row["value"], row["n"], own.height)
            effect = 100 * (row["value"] - row["random"])
            low, high = (None, None) if half is None else (effect - half[0], effect + half[1])
            verdict = judged(effect, low, high, smallest=least, inputs=row["n"], p=row["p"])
            found.append(
                Claim(
                    kind="concept",
                    about=f"{about}, {row['concept']}",
                    where=str(row["layer"]),
                    quantity="answers that grow along the concept's direction, less those along random concepts",
                    unit="points",
                    effect=effect,
                    low=low,
                    high=high,
                    p=row["p"],
                    control="random concepts of as many images",
                    control_effect=100 * row["random"],
                    n=row["n"],
                    verdict=verdict,
                )
            )
    return found


def _half(share: float, n: int, tests: int) -> tuple[float, float] | None:
    """How far Wilson's interval reaches below and above a share of `n`, in points."""
    if n < 2:
        return None
    z = critical(tests)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return 100 * max(0.0, share - float(centre - half)), 100 * max(0.0, float(centre + half) - share)


def _parts(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every domain and setting in the order of the table, and its rows."""
    named = _named(frame)
    for about in in_order(named, "about"):
        yield about, named.filter(about=about)


def _mean(rows: pl.DataFrame, column: str) -> float:
    return float(rows[column].to_numpy().mean())
