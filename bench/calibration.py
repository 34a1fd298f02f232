"""How often a run claims what is not there, and how often intervals hold: `python -m bench.calibration` (half an hour).

With --quick a few minutes and wide errors. Parts are kept in the results, so that one may be measured anew by itself.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from cyclopts import App
from rich.console import Console

import chiasm
from bench import no_effect, no_effect_causal, null_data
from bench.coverage import Case, Covered, cases, coverage
from bench.measure import RESULTS, machine
from bench.null_data import DRAWS, Tables
from bench.report import Sheet, machine_lines, write_results

Part = Literal["real", "made", "clustered", "studies", "causal", "causal-made", "random", "coverage", "power"]
PARTS: tuple[Part, ...] = get_args(Part)
SIZES = (24, 48, 100)
TARGET, RANDOM_TARGET = 0.07, 1
POWER_SIZE, SHIFTS = 50, (0.1, 0.3)

RESULTS_LINE = "<!-- Below: written by `python -m bench.calibration --page docs/calibration.md`. -->"

app = App(name="bench.calibration", help=__doc__, help_format="plaintext")


class Claimed(NamedTuple):
    """In how many of `runs` data sets without any effect something was claimed."""

    data: str
    size: str
    established: int
    found: int
    runs: int


@app.default
def calibration(
    *,
    quick: bool = False,
    only: tuple[Part, ...] = PARTS,
    runs: int = 1000,
    examples: int = 1000,
    cache: Path = Path("runs/calibration"),
    out: Path = RESULTS,
    page: Path | None = None,
    sample: Path | None = None,
) -> None:
    """Measure, print, and write `calibration.json` and `calibration.md`.

    quick: a twentieth of the runs.
    only: parts to measure; the others are kept as they are in the results.
    runs: data sets without an effect per row; twice as many per interval.
    examples: of the run that real differences come from.
    cache: where that run and those of untrained models are kept, and taken from where they are there.
    out: where the results go.
    page: a page whose part below the line of results is replaced by them (docs/calibration.md).
    sample: where some of the real differences are kept for the tests (bench/centred.parquet).
    """
    if sample is not None:
        null_data.save_sample(null_data.centred(null_data.flow_run(cache, examples))[0], sample)
    count, console = max(20, runs // 20 if quick else runs), Console(width=140)
    causal_runs = max(10, count * 3 // 20)
    kept = out / "calibration.json"
    body: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}

    def record(part: Part, rows: Sequence[Any]) -> None:
        body[part] = [row._asdict() if hasattr(row, "_asdict") else row for row in rows]
        body.setdefault("machines", {})[part] = machine("cpu", int(os.environ.get("OMP_NUM_THREADS", "0")))
        write_results(out, "calibration", body, _text(body))

    def causal(part: Part, asked: Iterable[no_effect_causal.Asked]) -> list[Claimed]:
        return _causal(asked, causal_runs, partial(record, part))

    makers: dict[Part, Callable[[], Any]] = {
        "real": lambda: _real(cache, examples, count),
        "made": lambda: _made(count),
        "clustered": lambda: _clustered(count),
        "studies": lambda: _studies(count // 2),
        "causal": lambda: causal("causal", no_effect_causal.real(cache, examples // 4, examples // 10)),
        "causal-made": lambda: causal("causal-made", no_effect_causal.made_up()),
        "random": lambda: _random(cache, 2 if quick else 6, 24 if quick else 100),
        "coverage": lambda: _coverage(cache, examples, 2 * count, console),
        "power": lambda: _power(cache, examples, max(20, count // 4)),
    }
    for part in PARTS:
        if part in only:
            found = makers[part]()
            record(part, found if isinstance(found, list) else [found])
    for sheet in sheets(body):
        sheet.show(console)
    if page is not None:
        head = page.read_text().partition(RESULTS_LINE)[0]
        page.write_text(f"{head}{RESULTS_LINE}\n\n{_text(body)}")


def claimed(
    data: str,
    size: str,
    study: str,
    draw: Callable[[np.random.Generator], Tables],
    runs: int,
    chosen: pl.Expr | None = None,
) -> Claimed:
    """Draw data without any effect `runs` times, and count in how many `chiasm.claims` says that there is one.

    Counted are verdicts "established", and those or "uncontrolled" as `found`; of the `chosen` claims, or all but
    scales, which have no control by design.
    """
    return claimed_of_kinds({data: ~_kind("scale") if chosen is None else chosen}, size, study, draw, runs)[0]


def claimed_of_kinds(
    kinds: Mapping[str, pl.Expr], size: str, study: str, draw: Callable[[np.random.Generator], Tables], runs: int
) -> list[Claimed]:
    """The same of several kinds of claims on the same draws. `kinds`: by the name of the row, which claims count."""
    rng = np.random.default_rng([7, *next(iter(kinds)).encode()[-8:], len(size)])
    established, found = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    for run in range(runs):
        claims = chiasm.claims(study, draw(rng), seed=run)
        for name, counted in kinds.items():
            verdicts = set(claims.filter(counted)["verdict"])
            established[name] += "established" in verdicts
            found[name] += bool(verdicts & {"established", "uncontrolled"})
    return [Claimed(name, size, established[name], found[name], runs) for name in kinds]


def _kind(name: str) -> pl.Expr:
    return pl.col("claim").str.replace(r"-\d+$", "") == name


def _studies(runs: int) -> list[Claimed]:
    return [
        claimed(data, size, family.study, draw, runs, _kind(family.kind) & family.chosen)
        for data, size, family, draw in no_effect.studies()
    ]


def _causal(
    asked: Iterable[no_effect_causal.Asked], runs: int, record: Callable[[list[Claimed]], None]
) -> list[Claimed]:
    """By data, kind of claim and size; recorded after each data set, as all of them take long."""
    rows: list[Claimed] = []
    for study, data, draw, kinds in asked:
        chosen = {f"{study}, `{kind}`: {data}": _kind(kind) & part for kind, part in kinds.items()}
        found = [claimed_of_kinds(chosen, str(n), study, lambda rng, n=n, draw=draw: draw(n, rng), runs) for n in SIZES]
        rows += [row for of_kind in zip(*found, strict=True) for row in of_kind]
        record(rows)
    return rows


def _real(cache: Path, examples: int, runs: int) -> list[Claimed]:
    tables, _ = null_data.centred(null_data.flow_run(cache, examples))
    alone = {"effects": tables["effects"]}
    rows = []
    for n in SIZES:
        for name, chosen in (("beside controls", tables), ("without any control", alone)):
            rows.append(
                claimed(
                    f"real differences, {name}",
                    str(n),
                    "flow",
                    lambda rng, chosen=chosen, n=n: null_data.resampled(chosen, n, rng),
                    runs,
                )
            )
    return rows


def _made(runs: int) -> list[Claimed]:
    return [
        claimed(
            f"{name}, {'beside a control' if control else 'without any control'}",
            str(n),
            "flow",
            lambda rng, n=n, draw=draw, control=control: null_data.made(draw, rng, images=n, control=control),
            runs // 2,
        )
        for name, draw in DRAWS.items()
        for n in SIZES
        for control in (True, False)
    ]


def _clustered(runs: int) -> list[Claimed]:
    rows = []
    for name in ("normal", "exponential", "bimodal, 1 in 3 apart"):
        for images, each in ((10, 5), (40, 3)):
            for nested in (True, False):

                def draw(
                    rng: np.random.Generator, name: str = name, i: int = images, e: int = each, nested: bool = nested
                ) -> Tables:
                    # No control, so that whatever is found counts, and differences of types with it.
                    return null_data.made(DRAWS[name], rng, images=i, per_image=e, nested=nested, control=False)

                kind = "one type per image" if nested else "types mixed"
                rows.append(claimed(f"{name}, {kind}", f"{images} x {each}", "flow", draw, runs // 2))
    return rows


def _random(cache: Path, models: int, limit: int) -> list[dict[str, Any]]:
    rows = []
    for seed in range(1, models + 1):
        effects = chiasm.claims("flow", null_data.random_model(cache, seed, limit)).filter(_kind("effect"))
        verdicts = [set(of_cut) for _, of_cut in effects.group_by("about").agg("verdict").iter_rows()]
        established = sum("established" in of_cut for of_cut in verdicts)
        found = sum(bool(of_cut & {"established", "uncontrolled"}) for of_cut in verdicts)
        rows.append({"seed": seed, "cuts": len(verdicts), "established": established, "found": found, "limit": limit})
    return rows


def _coverage(cache: Path, examples: int, runs: int, console: Console) -> list[Covered]:
    found = []
    for case in cases(real_columns(cache, examples)):
        found.append(coverage(case, max(20, runs // 8) if _slow(case) else runs))
        console.print(f"{found[-1].interval}, {found[-1].data}, {found[-1].size}: {found[-1].share:.3f}", style="dim")
    return found


def _slow(case: Case) -> bool:
    return "correlation" in case.interval


def real_columns(cache: Path, examples: int) -> dict[str, np.ndarray]:
    """Centred real differences of single cuts, each at the layer where they vary most."""
    tables, _ = null_data.centred(null_data.flow_run(cache, examples))
    effects, found = tables["effects"], {}
    for cut in ("image->question", "image.object->question", "question->last"):
        rows = effects.filter(cut=cut)
        spread = rows.group_by("layer").agg(pl.col("logprob_cut").std()).sort("logprob_cut")
        found[f"real, {cut}"] = rows.filter(layer=spread["layer"][-1])["logprob_cut"].to_numpy()
    return found


def _power(cache: Path, examples: int, runs: int) -> list[dict[str, Any]]:
    tables, spread = null_data.centred(null_data.flow_run(cache, examples))
    rng = np.random.default_rng(11)
    rows = []
    for shift in SHIFTS:
        found = []
        for run in range(runs):
            drawn = null_data.resampled(null_data.shifted(tables, -shift), POWER_SIZE, rng)
            claims = chiasm.claims("flow", drawn, seed=run).filter(_kind("effect"))
            named = claims.group_by("about").agg((pl.col("verdict") == "established").sum().alias("layers"), pl.len())
            found.append(named)
        each = (
            pl.concat(found)
            .group_by("about")
            .agg((pl.col("layers") > 0).sum().alias("any"), (pl.col("layers") / pl.col("len")).mean().alias("layers"))
        )
        by_cut = {cut: (any_layer, layers) for cut, any_layer, layers in each.iter_rows()}
        rows += [
            {
                "cut": cut,
                "sd": spread[cut],
                "shift": shift,
                "any": by_cut[cut][0],
                "layers": by_cut[cut][1],
                "runs": runs,
            }
            for cut in spread
        ]
    return rows


def _share(count: int, of: int) -> str:
    share = count / of
    return f"{100 * share:.1f} ({100 * np.sqrt(max(share * (1 - share), 0.25 / of) / of):.1f})"


def _claims_sheet(title: str, rows: Iterable[Claimed], notes: Sequence[str]) -> Sheet:
    table = [
        (row.data, row.size, _share(row.established, row.runs), _share(row.found, row.runs), str(row.runs))
        for row in rows
    ]
    return Sheet(title, ("data", "n", "established, % of runs", "or uncontrolled, %", "runs"), table, list(notes))


def sheets(body: dict[str, Any]) -> list[Sheet]:
    """The tables of everything that the results hold."""
    found = []
    for part, title, note in (
        ("real", "False claims: centred real differences", "Every mean difference of the population is 0."),
        ("made", "False claims: made differences", "Six cuts of eight layers, one question per image."),
        ("clustered", "False claims: several questions on one image", "Without any control; images x questions."),
        ("studies", "False claims: other studies", "Data without the effects that these studies look for."),
        ("causal", "False claims: causal methods and words, real differences", "Drawn from runs of `tiny`."),
        ("causal-made", "False claims: causal methods and words, made differences", "One question per image."),
    ):
        if part in body:
            rows = [Claimed(**row) for row in body[part]]
            most = max(row.found / row.runs for row in rows)
            notes = [
                note,
                f"Target: at most {TARGET:.0%}. Largest share found: {most:.1%}. In brackets: standard error.",
            ]
            found.append(_claims_sheet(title, rows, notes))
    if "random" in body:
        rows = body["random"]
        total, cuts = (sum(row[name] for row in rows) for name in ("found", "cuts"))
        note = f"{total} of {cuts} cuts are claimed to do anything; target: at most {RANDOM_TARGET} of 36."
        table = [tuple(str(row[k]) for k in ("seed", "cuts", "established", "found", "limit")) for row in rows]
        titles = ("seed", "cuts", "established", "or uncontrolled", "examples")
        found.append(Sheet("Models that have learnt nothing", titles, table, [note]))
    if "coverage" in body:
        found += _coverage_sheets([Covered(**row) for row in body["coverage"]])
    if "power" in body:
        table = [
            (
                row["cut"],
                f"{row['sd'][0]:.2g} to {row['sd'][1]:.2g}",
                f"{row['shift']}",
                _share(row["any"], row["runs"]),
                f"{100 * row['layers']:.0f}",
            )
            for row in body["power"]
        ]
        titles = ("cut", "sd by layer, nat", "planted, nat", "established at any layer, % of runs", "layers, %")
        note = (
            f"n = {POWER_SIZE}; planted at every layer of every cut, with its real spread and controls. Layers: the "
            "share of a cut's layers that are established, in the mean over runs."
        )
        found.append(Sheet("Power: planted effects that are found", titles, table, [note]))
    return found


def _coverage_sheets(rows: Sequence[Covered]) -> list[Sheet]:
    columns = ("interval", "data", "by size: covered, % (no interval, %)", "target, %", "kept")
    table = []
    for interval, data in dict.fromkeys((row.interval, row.data) for row in rows):
        own = [row for row in rows if (row.interval, row.data) == (interval, data)]
        each = []
        for row in own:
            nothing = f" ({100 * row.without / row.runs:.0f})" if row.without else ""
            each.append(f"{row.size}: {100 * row.share:.1f}{nothing}")
        targets = dict.fromkeys(_range(row.target) for row in own)
        wrong = [row.size for row in own if row.kept is False]
        kept = "limit" if all(row.target is None for row in own) else "yes" if not wrong else f"not {', '.join(wrong)}"
        table.append((interval, data, "; ".join(each), ", ".join(targets), kept))
    error, runs = max(row.error for row in rows), sorted({row.runs for row in rows}, reverse=True)
    note = (
        f"{' or '.join(map(str, runs))} data sets per size (the fewest for correlations). Standard errors are at most "
        f"{100 * error:.1f} points; a target counts as kept within two of them."
    )
    return [Sheet("Coverage of 95 % intervals", columns, table, [note])]


def _range(target: Sequence[float] | None) -> str:
    return "limit" if target is None else f"{100 * target[0]:.0f} to {100 * target[1]:.0f}"


def _text(body: dict[str, Any]) -> str:
    facts = next(iter(body["machines"].values()))
    return "\n".join([*(sheet.markdown() for sheet in sheets(body)), "## Machine\n", machine_lines(facts)]) + "\n"


if __name__ == "__main__":
    app()
