"""The tables of Verma et al. 2024 in their own layout, from the tables of a run; and its confusion matrices."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.measures.probes.kinds import POST
from chiasm.results.series import in_order
from chiasm.results.wording import compact, number, percent, probability
from chiasm.studies.project.choice import learnt, named
from chiasm.studies.project.findings import reason, unusable
from chiasm.studies.project.levels import claimed, shown_score
from chiasm.studies.project.scores import MLP, UNTUNED
from chiasm.studies.project.tables import IMAGE_MLP, OWN, RANDOM, SMALLEST, TOWER

_TITLES = {
    RANDOM: "Random (uniform)",
    TOWER: "Tower zero-shot",
    UNTUNED: "Zero-shot",
    "ft-proj": "FT-Proj",
    "ft-proj-released": "FT-Proj, as released",
    "ft-proj-lowlr": "FT-Proj, rate of FT-E2E",
    "ft-e2e": "FT-E2E",
    "ft-lora": "FT-LoRA",
    "ft-tower": "FT-Tower",
}
_BOUNDS = ("macro_f1", "macro_f1_low", "macro_f1_high")


def table_one(
    tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame, claims: Sequence[Claim] = ()
) -> pl.DataFrame:
    """Verma et al. 2024, table 1: F1 and accuracy of every model by domain, means over seeds; intervals of `claims`."""
    rows = []
    for name, title in _TITLES.items():
        row: dict[str, str] = {"model": title}
        for domain in in_order(tuning, "domain"):
            beside = references.filter(domain=domain, reference=name)
            found = shown_score(claims, predictions, domain, name)
            if found is not None:
                own = tuning.filter(domain=domain, setting=name, projector=OWN)
                row[f"{domain} F1"] = _score(found.mean, found.low, found.high)
                row[f"{domain} Acc"] = _plain(own["accuracy"].mean())
            elif beside.height:
                row[f"{domain} F1"] = _reference(beside, claims, domain, name)
                row[f"{domain} Acc"] = _plain(beside["accuracy"].mean())
        if len(row) > 1:
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def table_two(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    richness: pl.DataFrame | None,
    claims: Sequence[Claim] | None = None,
) -> pl.DataFrame:
    """Verma et al. 2024, table 2: the probe's F1 on the projector's output beside the model's F1, with changes in %.

    "Original" is the untouched model. Without `richness` the probe's columns are empty. With `claims` a change that is
    not established is a dash.
    """
    names = {UNTUNED: "Original"} | {name: title for name, title in _TITLES.items() if name.startswith("ft-")}
    rows = []
    for domain in in_order(tuning, "domain"):
        base: tuple[float | None, float] | None = None
        for name, title in names.items():
            found = shown_score(claims or (), predictions, domain, name)
            if found is None:
                continue
            probe = _probe(richness, domain, name)
            if base is None:
                base = (probe, float(found.mean))
            changes = (
                _known(claims, "richness", domain, name, MLP, text=_change(probe, base[0])),
                _known(claims, "gain", domain, name, text=_change(float(found.mean), base[1])),
            )
            rows.append(
                {
                    "task": domain,
                    "setting": title,
                    "probe F1": None if probe is None else _plain(probe),
                    "probe Δ%": None if name == UNTUNED else changes[0],
                    "MLLM F1": _score(found.mean, found.low, found.high),
                    "MLLM Δ%": None if name == UNTUNED else changes[1],
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def table_three(references: pl.DataFrame, claims: Sequence[Claim] = ()) -> pl.DataFrame:
    """Verma et al. 2024, table 3: an MLP on the tower's image embedding, no language model."""
    own = references.filter(reference=IMAGE_MLP)
    rows = []
    for domain in in_order(own, "domain"):
        part = own.filter(domain=domain)
        f1 = _reference(part, claims, domain, IMAGE_MLP)
        rows.append({"task": domain, "F1": f1, "Acc": _plain(part["accuracy"].mean())})
    return pl.DataFrame(rows, infer_schema_length=None)


def confusion(predictions: pl.DataFrame, domain: str, setting: str) -> pl.DataFrame:
    """Share of each class's images (rows) that was answered as each class, or as none, over all seeds.

    `n`: answers to images of the class. Classes that nothing was answered as have no column.
    """
    own = predictions.filter(domain=domain, setting=setting, projector=OWN)
    counted = own.with_columns(pl.col("parsed").fill_null("(invalid)")).group_by("label", "parsed").len()
    wide = counted.pivot("parsed", index="label", values="len").fill_null(0).sort("label")
    names = sorted(name for name in wide.columns if name != "label")
    total = pl.sum_horizontal(names)
    shares = [(pl.col(name) / total).round(2).alias(name) for name in names]
    return wide.select("label", total.alias("n"), *shares)


def learnt_table(claims: Sequence[Claim]) -> pl.DataFrame:
    """What each setting learnt, and what it lacks where that is not established: a line for every setting."""
    rows = []
    for one in of_kind(claims, "score"):
        domain, _, setting = one.about.rpartition(", ")
        gain, invalid, among = (named(claims, kind, domain, setting) for kind in ("gain", "invalid", "labels"))
        above = one.established and one.effect > (one.control_effect or 0.0)
        why = "" if above else "below guessing" if one.established else "not above guessing"
        if above and gain is not None and not (gain.established and gain.effect > 0):
            why = "not above the untouched model"
        rows.append(
            {
                "task": domain,
                "setting": setting,
                "macro-F1": _level(one),
                "guessing": number(one.control_effect or 0.0, digits=3),
                "p": _p(one),
                "less untouched": "" if gain is None else _change_of(gain),
                "p of that": "" if gain is None else _p(gain),
                "name no class": "" if invalid is None else percent(invalid.effect),
                "right among labels": "" if among is None else _level(among),
                "learnt": "" if setting == UNTUNED else f"not shown: {why}" if why else "yes",
            }
        )
    return pl.DataFrame(rows)


def richness_table(claims: Sequence[Claim], smallest: float = SMALLEST) -> pl.DataFrame:
    """What probes read of the projector's output after tuning less before: a line for every setting and probe.

    The last column says why a change is not established, where it is not.
    """
    rows = []
    for one in of_kind(claims, "richness"):
        domain, setting, probe = one.about.rsplit(", ", 2)
        less = named(claims, "richness-control", domain, setting, probe)
        rows.append(
            {
                "task": domain,
                "setting": setting,
                "probe": probe,
                "change": _change_of(one),
                "p": _p(one),
                "shuffled labels": "-" if one.control_effect is None else _signed(one.control_effect),
                "less shuffled labels": "-" if less is None else _change_of(less),
                "p of that": "-" if less is None else _p(less),
                "verdict": one.verdict,
                "why not": reason(one, smallest, untaught=not learnt(claims, domain, setting)),
            }
        )
    return pl.DataFrame(rows)


def _change_of(one: Claim) -> str:
    return _signed(one.effect) if unusable(one) else compact(one.effect, one.low, one.high, digits=3)


def _level(one: Claim) -> str:
    return number(one.effect, digits=3) if unusable(one, 0.0) else compact(one.effect, one.low, one.high, digits=3)


def _p(one: Claim) -> str:
    return "-" if one.p is None or unusable(one) else probability(one.p).removeprefix("p = ").removeprefix("p ")


def _signed(value: float) -> str:
    return number(value, digits=3, signed=True)


def _reference(rows: pl.DataFrame, claims: Sequence[Claim], domain: str, name: str) -> str:
    """Macro-F1 of what needs no language model: with the interval of its claim, else of the table."""
    one = claimed(claims, "reference", domain, name)
    return _score(*(rows[c].mean() for c in _BOUNDS)) if one is None else _score(one.mean, one.low, one.high)


def _known(claims: Sequence[Claim] | None, kind: str, *about: str, text: str | None) -> str | None:
    """A change, or a dash where it is not established."""
    if claims is None:
        return text
    one = named(claims, kind, *about)
    return text if one is not None and one.established else "-"  # not established: why is in the other tables


def _probe(richness: pl.DataFrame | None, domain: str, setting: str) -> float | None:
    if richness is None:
        return None
    own = richness.filter(domain=domain, setting=setting, where=POST, projector=OWN)
    if not own.height:
        return None
    probe = MLP if MLP in own["probe"] else own["probe"][0]
    return float(own.filter(probe=probe)["macro_f1"].mean())  # type: ignore[arg-type]


def _change(value: float | None, base: float | None) -> str | None:
    if value is None or base is None:
        return None
    return ("0" if value == base else "from 0") if not base else number((value - base) / base, scale=100.0, signed=True)


def _score(value: Any, low: Any, high: Any) -> str:
    return compact(float(value), float(low), float(high), digits=4, bound_digits=3)


def _plain(value: Any) -> str:
    return number(float(value), digits=4)
