"""Where inside, in words: every number stands in a table of the run, with its control, its interval and its n."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from chiasm.results.findings import Finding
from chiasm.results.series import in_order
from chiasm.studies.inside.summary import estimate, interval, neuron_sets, parts, pointing

_ALPHA = 0.05
# Of an area between 0 and 1: a model that is sure of nothing gives tiny differences that are significant all the same.
_HARDLY = 0.01
_UNTUNED = "zero-shot"
Tables = Mapping[str, pl.DataFrame]


def inside_findings(tables: Tables) -> list[Finding]:
    """What attribution, neurons and concepts tell, strongest first."""
    found: list[Finding] = []
    if "attributions" in tables:
        rows = tables["attributions"]
        found += [_complete(rows), *_pointing(rows), *_faithful(rows)]
    if "modalities" in tables:
        found += _modalities(tables["modalities"])
    if "neuron_ablation" in tables:
        found += _neurons(tables["neurons"], tables["neuron_ablation"])
    if "specific_neurons" in tables:
        found += _specific(tables)
    if "concepts" in tables:
        found += _concepts(tables["concepts"])
    return sorted(found, key=lambda finding: -finding.strength)


def _complete(rows: pl.DataFrame) -> Finding:
    own = rows.filter(method="integrated-gradients")
    if not own.height:
        return Finding("Integrated Gradients was not asked for, so no completeness was checked.", 1.0)
    good = own.filter(pl.col("error") <= 0.05).height
    text = (
        f"Integrated Gradients adds up within 5 % in {good} of {own.height} maps (median error "
        f"{100 * float(own['error'].median() or 0):.1f} %, largest {100 * float(own['error'].max() or 0):.1f} %; "
        f"{own['steps'].min()} to {own['steps'].max()} steps)."
    )
    return Finding(text, 20.0 if good == own.height else 75.0)


def _pointing(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in parts(rows):
        told, area, n, strong = [], None, 0, False
        for method in in_order(own, "method"):
            numbers = pointing(own, method)
            if numbers is None:
                continue
            energy, area, gain, over = numbers
            n, sure = energy.n, bool(gain.low > 0 and over.low > 0)
            strong |= sure
            word = "above both controls" if sure else "not surely above both controls"
            told.append(
                f"{method} {interval(energy, 0, unit=' %')}, {word}: {interval(over, 0)} points over other maps"
            )
        if area is not None:
            text = (
                f"On {domain} ({setting}), boxes of what is asked about cover {float(area.mean):.0f} % of the image's "
                f"tokens (n = {n}) and hold of the positive attribution: {'; '.join(told)}."
            )
            found.append(Finding(text, 70.0 if strong else 30.0))
    return found


def _faithful(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in parts(rows):
        told = []
        for method in in_order(own, "method"):
            part = own.filter(method=method)
            removed = estimate(part, pl.col("deletion_random") - pl.col("deletion"))
            put = estimate(part, pl.col("insertion") - pl.col("insertion_random"))
            if removed is not None and put is not None:
                told.append(f"{method} {interval(removed)} and {interval(put)}")
        n = own["example_id"].n_unique()
        text = (
            f"On {domain} ({setting}), the answer is lost sooner and found sooner along the maps than in random order; "
            f"difference in area under the deletion and the insertion curve: {'; '.join(told)} (n = {n})."
        )
        better = all(
            (e := estimate(own, value)) is not None and e.low > _HARDLY
            for value in (
                pl.col("deletion_random") - pl.col("deletion"),
                pl.col("insertion") - pl.col("insertion_random"),
            )
        )
        if not better:
            text = text.replace("is lost sooner and found sooner along", "is not surely lost and found sooner along")
        found.append(Finding(text, 40.0 if better else 35.0))
    return found


def _modalities(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain in in_order(rows, "domain"):
        told, n = [], 0
        own = rows.filter(domain=domain)
        for setting in in_order(own, "setting"):
            part = own.filter(setting=setting)
            shares = [estimate(part.filter(method=m), "share") for m in ("two-players", "kernel-shap")]
            blank = estimate(part.filter(method="kernel-shap"), "blank")
            if None in shares or blank is None:
                continue
            exact, kernel = shares
            n = exact.n  # type: ignore[union-attr]
            told.append(
                f"{setting} {interval(exact, scale=100, digits=0, unit=' %')} of two players, "  # type: ignore[arg-type]
                f"{interval(kernel, scale=100, digits=0, unit=' %')} by Kernel SHAP "  # type: ignore[arg-type]
                f"(with no picture {100 * float(blank.mean):.0f} %)"
            )
        if told:
            text = f"On {domain} the image's share of the answer, against the question's: {'; '.join(told)}; n = {n}."
            found.append(Finding(text, 25.0))
    return found


def _neurons(neurons: pl.DataFrame, ablation: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in parts(ablation):
        for score in in_order(own, "score"):
            part = own.filter(score=score)
            for group in in_order(part, "group"):
                for mine in (True, False):
                    rows = part.filter(group=group, own=mine)
                    if rows.height:
                        found.append(_ablated(domain, setting, score, group, mine, rows, neurons))
    return found


def _ablated(
    domain: str, setting: str, score: str, group: str, mine: bool, rows: pl.DataFrame, neurons: pl.DataFrame
) -> Finding:
    change = estimate(rows, "change")
    beyond = estimate(rows, pl.col("change") - pl.col("change_random"))
    assert change is not None
    assert beyond is not None
    sure = bool(beyond.high < 0)
    of = f"specific to {group}" if group else f"first by {score}"
    where = "" if not group else " (its own pictures)" if mine else " (other pictures)"
    text = (
        f"On {domain} ({setting}){where}, without the {rows['count'][0]} neurons {of} the answer's lead over "
        f"the runner-up changes by {interval(change)} nat, by {interval(beyond)} more than without as many random "
        f"neurons of the same layers (n = {rows['example_id'].n_unique()} examples that did not choose them, "
        f"{rows['draws'][0]} draws)"
    )
    first = neurons.filter(domain=domain, setting=setting, score=score, rank=1)
    if first.height and not group:
        row = first.row(0, named=True)
        text += f"; first is neuron {row['neuron']} of layer {row['layer']}, which writes: {row['words']}"
    return Finding(f"{text}.", (45.0 if sure else 15.0) - (10.0 if not mine else 0.0))


def _specific(tables: Tables) -> list[Finding]:
    found = []
    for row in tables["specific_neurons"].iter_rows(named=True):
        sure = row["count"] > row["high_random"]
        text = (
            f"With {row['setting']} on {row['domain']}, {row['count']} neurons tell {row['groups']} apart with an "
            f"entropy of at most {row['edge']:.2f} nat, {'more than' if sure else 'not surely more than'} the "
            f"{row['count_random']:.1f} ({row['low_random']:.0f} to {row['high_random']:.0f}) of shuffled groups "
            f"(n = {row['n']} pictures, {row['draws']} shuffles)."
        )
        found.append(Finding(text, 28.0 if sure else 12.0))
    for domain in in_order(tables["neurons"], "domain"):
        sets = neuron_sets(tables["neurons"], domain, "entropy")
        base = sets.pop(_UNTUNED, set())
        told = [f"{name} {len(base & own) / len(base | own):.2f}" for name, own in sets.items() if base | own]
        if base and told:
            text = (
                f"Neurons specific to a domain before and after tuning on {domain} (shared / all, {len(base)} before; "
                f"one model each: no interval): {', '.join(told)}."
            )
            found.append(Finding(text, 14.0))
    return found


def _concepts(rows: pl.DataFrame) -> list[Finding]:
    found = []
    for domain, setting, own in parts(rows):
        used, n = [], own["n"].sum() // max(1, own["layer"].n_unique())
        for concept in in_order(own, "concept"):
            part = own.filter(concept=concept)
            sure = part.filter(pl.col("p") <= _ALPHA)
            if sure.height:
                best = sure.sort("p", "layer").row(0, named=True)
                layers = ", ".join(str(layer) for layer in sorted(sure["layer"]))
                used.append(
                    f"{concept} at layers {layers} (layer {best['layer']}: TCAV {best['value']:.2f}, "
                    f"{_bounds(best)}; random {best['random']:.2f}, {best['random_low']:.2f} to "
                    f"{best['random_high']:.2f})"
                )
        count = own["concept"].n_unique()
        known = float(np.mean(own["accuracy"].to_numpy()))
        text = (
            f"On {domain} ({setting}), of {count} concepts {len(used)} move the answer further than random concepts do "
            f"(p ≤ {_ALPHA:g}, corrected over layers and concepts; {own['concepts'][0]} random ones; n = {n} answers)"
        )
        text += f": {'; '.join(used)}" if used else f", although their directions are {100 * known:.0f} % right"
        found.append(Finding(f"{text}.", 32.0 if used else 11.0))
    return found


def _bounds(row: dict[str, object]) -> str:
    return "no interval" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
