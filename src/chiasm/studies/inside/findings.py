"""Where inside, in words: every number stands in a table of the run, with its control, its interval and its n."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import ALPHA, Estimate, mean_interval
from chiasm.results.findings import Finding
from chiasm.results.series import in_order
from chiasm.results.wording import bounds, percent, worded
from chiasm.results.wording import estimate as in_words
from chiasm.studies.inside.tables import ENTROPY

# Of an area between 0 and 1: a model that is sure of nothing gives tiny differences that are significant all the same.
_MIN_AREA = 0.01
_UNTUNED = "zero-shot"
_SOONER = pl.col("deletion_random") - pl.col("deletion"), pl.col("insertion") - pl.col("insertion_random")
"""How much sooner than in random order the answer is lost, and found: differences in area under the curves."""


class Pointing(NamedTuple):
    """Positive attribution on what is asked about, in %.

    `energy` on the boxes, their `area`, `gain` (energy minus area), and `over` (energy minus that of other examples'
    maps).
    """

    energy: Estimate
    area: Estimate
    gain: Estimate
    over: Estimate


def inside_findings(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """What attribution, neurons and concepts show, strongest first."""
    found: list[Finding] = []
    if "attributions" in tables:
        rows = tables["attributions"]
        found += [_complete(rows), *_pointing(rows), *_faithful(rows)]
    if "modalities" in tables:
        found += _modalities(tables["modalities"])
    if "neuron_ablation" in tables:
        found += _neurons(tables["neurons"], tables["neuron_ablation"])
    if "specific_neurons" in tables:
        found += [*_specific(tables["specific_neurons"]), *_kept(tables["neurons"])]
    if "concepts" in tables:
        found += _concepts(tables["concepts"])
    return sorted(found, key=lambda finding: -finding.strength)


def estimate(rows: pl.DataFrame, value: str | pl.Expr) -> Estimate | None:
    """The mean of `value` over the examples that have it, images resampled whole; None where none has it.

    Several rows of one example (methods are filtered before) are averaged first.
    """
    what = pl.col(value) if isinstance(value, str) else value
    means = rows.group_by("example_id", "input", maintain_order=True).agg(what.cast(pl.Float64).mean().alias("value"))
    means = means.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    if not means.height:
        return None
    return mean_interval(means["value"].to_numpy(), clusters=means["input"].to_list())


def pointing(rows: pl.DataFrame, method: str) -> Pointing | None:
    """How far one method points at what is asked about; None where no example has boxes to point at."""
    own = rows.filter(pl.col("method") == method, pl.col("object").is_not_null())
    energy, area, swapped = pl.col("object"), pl.col("area"), pl.col("object_swapped")
    found = [estimate(own, value * 100) for value in (energy, area, energy - area, energy - swapped)]
    known = [one for one in found if one is not None]
    return Pointing(*known) if len(known) == len(found) else None


def _parts(frame: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Every domain and setting in the order of the table, and its rows."""
    for domain in in_order(frame, "domain"):
        rows = frame.filter(domain=domain)
        for setting in in_order(rows, "setting"):
            yield domain, setting, rows.filter(setting=setting)


def _mean(of: Estimate, digits: int = 2, unit: str = "", scale: float = 1.0) -> str:
    return worded(of, digits=digits, unit=unit, scale=scale, missing="no interval from one image")


def _complete(rows: pl.DataFrame) -> Finding:
    own = rows.filter(method="integrated-gradients")
    if not own.height:
        return Finding("Integrated Gradients was not asked for, so no completeness was checked.", 1.0)
    complete = own.filter(pl.col("error") <= 0.05).height
    text = (
        f"Integrated Gradients adds up within 5 % in {complete} of {own.height} maps (median error "
        f"{percent(float(own['error'].median() or 0), 1)}, largest {percent(float(own['error'].max() or 0), 1)}; "
        f"{own['steps'].min()} to {own['steps'].max()} steps)."
    )
    return Finding(text, 20.0 if complete == own.height else 75.0)


def _pointing(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in _parts(rows):
        methods, area, n, strong = [], None, 0, False
        for method in in_order(own, "method"):
            measured = pointing(own, method)
            if measured is None:
                continue
            area, n = measured.area, measured.energy.n
            sure = bool(measured.gain.low > 0 and measured.over.low > 0)
            strong |= sure
            word = "above both controls" if sure else "not surely above both controls"
            over = _mean(measured.over, 0, "points")
            methods.append(f"{method} {_mean(measured.energy, 0, '%')}, {word}: {over} over other maps")
        if area is not None:
            text = (
                f"On {domain} ({setting}), boxes of what is asked about cover {_mean(area, 0, '%')} of the image's "
                f"tokens (n = {n}) and hold of the positive attribution: {'; '.join(methods)}."
            )
            found.append(Finding(text, 70.0 if strong else 30.0))
    return found


def _faithful(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in _parts(rows):
        methods = []
        for method in in_order(own, "method"):
            lost, gained = (estimate(own.filter(method=method), value) for value in _SOONER)
            if lost is not None and gained is not None:
                methods.append(f"{method} {_mean(lost)} and {_mean(gained)}")
        better = all((e := estimate(own, value)) is not None and e.low > _MIN_AREA for value in _SOONER)
        sooner = "is lost sooner and found sooner" if better else "is not surely lost and found sooner"
        text = (
            f"On {domain} ({setting}), the answer {sooner} along the maps than in random order; difference in area "
            f"under the deletion and the insertion curve: {'; '.join(methods)} (n = {own['example_id'].n_unique()})."
        )
        found.append(Finding(text, 40.0 if better else 35.0))
    return found


def _modalities(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain in in_order(rows, "domain"):
        shares, n = [], 0
        for _, setting, own in _parts(rows.filter(domain=domain)):
            exact, kernel = (estimate(own.filter(method=m), "share") for m in ("two-players", "kernel-shap"))
            blank = estimate(own.filter(method="kernel-shap"), "blank")
            if exact is None or kernel is None or blank is None:
                continue
            n = exact.n
            shares.append(
                f"{setting} {_mean(exact, 0, '%', 100)} of two players, {_mean(kernel, 0, '%', 100)} by Kernel SHAP "
                f"(with no image {_mean(blank, 0, '%', 100)})"
            )
        if shares:
            text = f"On {domain} the image's share of the answer, against the question's: {'; '.join(shares)}; n = {n}."
            found.append(Finding(text, 25.0))
    return found


def _neurons(neurons: pl.DataFrame, ablation: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, rows in _parts(ablation):
        first = neurons.filter(domain=domain, setting=setting, rank=1)
        for score in in_order(rows, "score"):
            part = rows.filter(score=score)
            for group in in_order(part, "group"):
                for own in (True, False):
                    chosen = part.filter(group=group, own=own)
                    if chosen.height:
                        found.append(_ablated(f"On {domain} ({setting})", chosen, first))
    return found


def _ablated(where: str, rows: pl.DataFrame, first: pl.DataFrame) -> Finding:
    """What is lost without one set of neurons. `rows`: of one score, group, and own or other images."""
    about = rows.row(0, named=True)
    change = estimate(rows, "change")
    beyond = estimate(rows, pl.col("change") - pl.col("change_random"))
    assert change is not None
    assert beyond is not None
    sure = bool(beyond.high < 0)
    of, images = f"first by {about['score']}", ""
    if about["group"]:
        of = f"specific to {about['group']}"
        images = " (its own images)" if about["own"] else " (other images)"
    text = (
        f"{where}{images}, without the {about['count']} neurons {of} the answer's lead over the runner-up changes by "
        f"{_mean(change, unit='nat')}, by {_mean(beyond, unit='nat')} more than without as many random neurons of the "
        f"same layers (n = {rows['example_id'].n_unique()} examples that did not choose them, {about['draws']} draws)"
    )
    named = first.filter(score=about["score"])
    if named.height and not about["group"]:
        row = named.row(0, named=True)
        text += f"; first is neuron {row['neuron']} of layer {row['layer']}, which writes: {row['words']}"
    return Finding(f"{text}.", (45.0 if sure else 15.0) - (0.0 if about["own"] else 10.0))


def _specific(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for row in rows.iter_rows(named=True):
        sure = row["count"] > row["high_random"]
        text = (
            f"With {row['setting']} on {row['domain']}, {row['count']} neurons are specific to some of "
            f"{row['groups']}, with an entropy of at most {row['edge']:.2f} nat, "
            f"{'more than' if sure else 'not surely more than'} the {row['count_random']:.1f} "
            f"({bounds(row['low_random'], row['high_random'], digits=0)}) of shuffled groups (n = {row['n']} images, "
            f"{row['draws']} shuffles)."
        )
        found.append(Finding(text, 28.0 if sure else 12.0))
    return found


def _kept(neurons: pl.DataFrame) -> list[Finding]:
    """How many of the specific neurons are the same before and after tuning."""
    found = []
    for domain in in_order(neurons, "domain"):
        sets = {
            setting: set(rows.select("layer", "neuron").iter_rows())
            for _, setting, rows in _parts(neurons.filter(domain=domain, score=ENTROPY))
        }
        before = sets.pop(_UNTUNED, set())
        shared = [f"{name} {len(before & own) / len(before | own):.2f}" for name, own in sets.items() if before | own]
        if before and shared:
            text = (
                f"Neurons specific to a domain before and after tuning on {domain} (shared / all, {len(before)} "
                f"before; one model each: no interval): {', '.join(shared)}."
            )
            found.append(Finding(text, 14.0))
    return found


def _concepts(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in _parts(rows):
        used, n = [], own["n"].sum() // max(1, own["layer"].n_unique())
        for concept in in_order(own, "concept"):
            sure = own.filter((pl.col("concept") == concept) & (pl.col("p") <= ALPHA))
            if sure.height:
                best = sure.sort("p", "layer").row(0, named=True)
                layers = ", ".join(str(layer) for layer in sorted(sure["layer"]))
                value = in_words(best["value"], best["low"], best["high"], digits=2, brackets=False)
                used.append(
                    f"{concept} at layers {layers} (layer {best['layer']}: TCAV {value}; random {best['random']:.2f}, "
                    f"{bounds(best['random_low'], best['random_high'], digits=2)})"
                )
        text = (
            f"On {domain} ({setting}), of {own['concept'].n_unique()} concepts {len(used)} move the answer further "
            f"than random concepts do (p ≤ {ALPHA:g}, corrected over layers and concepts; {own['concepts'][0]} random "
            f"ones; n = {n} answers)"
        )
        right = percent(float(np.mean(own["accuracy"].to_numpy())))
        text += f": {'; '.join(used)}" if used else f", although their directions are {right} right"
        found.append(Finding(f"{text}.", 32.0 if used else 11.0))
    return found
