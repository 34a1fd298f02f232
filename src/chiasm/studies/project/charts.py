"""What a project run shows of answers: where the class is lost on its way, settings, confusions, projectors by size."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.statistics.intervals import Estimate
from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import PALETTE, Size, counted
from chiasm.results.series import in_order
from chiasm.studies.project.levels import (
    best_setting,
    capacities,
    claimed,
    reference_mean,
    shown_score,
    swept,
)
from chiasm.studies.project.scores import LINE, UNTUNED, ProbeAnswers, ProbeSite, Runs, scored
from chiasm.studies.project.tables import IMAGE_MLP, OWN, RANDOM, SHUFFLED, TOWER
from chiasm.studies.project.verdict import PRIMARY

_SINGLE = "one seed, 95 % over images alone"
UNIT: Final = "Macro-F1"
_STYLES: Final = {
    UNTUNED: 6,
    PRIMARY: 0,
    "ft-e2e": 1,
    "ft-proj-lowlr": 2,
    "ft-lora": 3,
    "ft-tower": 4,
    "ft-proj-released": 5,
}
_REFERENCES: Final = {
    RANDOM: "uniform guessing (control)",
    TOWER: "tower zero-shot",
    IMAGE_MLP: "MLP on the tower",
}
_FREE, _AMONG = Mark("free answer", 0), Mark("most probable label", 4)
_REFERENCE = Mark("no language model", None, control=True)
SHUFFLED_LABELS: Final = Mark("shuffled labels (control)", 6, control=True)
_ALL: Final = "Which setting learns the domain?"
_NO_CLASS: Final = "no class"


def setting_mark(setting: str) -> Mark:
    """How a setting looks in every chart of every run."""
    known = _STYLES.get(setting)
    return Mark(setting, zlib.crc32(setting.encode()) % len(PALETTE) if known is None else known)


def verdict_chart(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    probed: pl.DataFrame,
    references: pl.DataFrame | None,
    size: Size,
    *,
    claims: Sequence[Claim] = (),
) -> Chart:
    """What can be read of the class on its way from the tower to the answer: linear probes, then answers.

    Of the untouched model, of the paper's setting, and of the one that answers best; a panel for each domain.
    """
    own = tuning.filter(projector=OWN)
    dots, shown = [], []
    for domain in in_order(own, "domain"):
        rows, of = own.filter(domain=domain), ProbeAnswers.of(probed, domain)
        last = f"layer.{max(of.states, default=0)}.last"
        sites = {
            "tower's summary": CLS,
            "before the projector": PRE,
            "behind the projector": POST,
            "last token, last state": last,
        }
        there = followed(rows)
        for stage, where in sites.items():
            read = {name: of.score(ProbeSite(name, where)) for name in there}
            # What tuning leaves as it is is drawn once.
            read = {
                name: score for name, score in read.items() if name == UNTUNED or not _same(score, read.get(UNTUNED))
            }
            read[SHUFFLED_LABELS.label] = of.score(ProbeSite(UNTUNED, where, LINE, SHUFFLED))
            dots += [dot(stage, score, mark, domain) for mark, score in read.items() if score is not None]
        for setting in there:
            shown.append(setting)
            chosen = Runs.of(predictions.filter(domain=domain, setting=setting, projector=OWN), "constrained")
            answered = {
                "most probable label": None if chosen is None else scored(chosen),
                "free answer": shown_score(claims, predictions, domain, setting),
            }
            dots += [dot(stage, score, setting, domain) for stage, score in answered.items() if score is not None]
    order = ["tower's summary", "before the projector", "behind the projector", "last token, last state"]
    order += ["most probable label", "free answer"]
    marks = [setting_mark(name) for name in dict.fromkeys(shown)]
    marks += [SHUFFLED_LABELS] if any(one.mark == SHUFFLED_LABELS.label for one in dots) else []
    return dots_chart(
        sorted(dots, key=lambda one: order.index(one.row)),
        _domains(own, references),
        marks,
        size,
        title="Where is what the tower sees lost on its way to the answer?",
        subtitle=(
            f"First four rows: linear probes; last two: answers; {over(own)}; dotted: guessing; {_images(own)}."
            f"{_not_followed(own)}"
        ),
    )


def followed(rows: pl.DataFrame) -> list[str]:
    """The settings that `verdict_chart` draws of a domain: the untouched model, the paper's, the one that answers
    best."""
    there = set(rows["setting"])
    return [name for name in dict.fromkeys((UNTUNED, PRIMARY, best_setting(rows))) if name in there]


def _not_followed(own: pl.DataFrame) -> str:
    """Which settings it leaves out; begins with a space."""
    drawn = {name for domain in in_order(own, "domain") for name in followed(own.filter(domain=domain))}
    rest = [name for name in in_order(own, "setting") if name not in drawn]
    named = ", ".join(rest)
    return f' Not drawn, as none has a higher macro-F1: {named} (all are in "{_ALL}").' if rest else ""


def _same(one: Estimate | None, other: Estimate | None) -> bool:
    return (
        one is not None and other is not None and (one.mean, one.low, one.high) == (other.mean, other.low, other.high)
    )


def verdict_caption(tuning: pl.DataFrame) -> str:
    """For `verdict_chart`."""
    own = tuning.filter(projector=OWN)
    return (
        "Macro-F1 of linear probes on what goes into the projector, on what comes out of it, and on the last prompt "
        f"token, and of the model's own answers ({counts(own)}). Of every domain: the untouched model, the setting of "
        f"the paper ({PRIMARY}), and the one that answers best.{_not_followed(own)} Where it falls from a row "
        "to the next, what could be read is no longer read, or no longer said. Each interval holds on its own, those "
        "of free answers for all settings at once; differences are in the claims. What goes into the projector is "
        "the same for all settings that leave the tower as it is."
    )


def tuning_chart(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    references: pl.DataFrame | None,
    size: Size,
    *,
    claims: Sequence[Claim] = (),
) -> Chart:
    """Macro-F1 of every setting: of free answers, and of the most probable label; below: what needs no language model.

    Hovering says what single seeds have.
    """
    own = tuning.filter(projector=OWN)
    domains, dots = in_order(own, "domain"), []
    for domain in domains:
        for setting in in_order(own, "setting"):
            score = shown_score(claims, predictions, domain, setting)
            if score is None:
                continue
            each = own.filter(domain=domain, setting=setting)
            seeds = ", ".join(f"{value:.3f}" for value in each["macro_f1"])
            dots.append(dot(setting, score, _FREE.label, domain, {"single seeds": seeds}))
            among = float(each["constrained_macro_f1"].mean())  # type: ignore[arg-type]
            dots.append(Dot(setting, among, n=score.n, mark=_AMONG.label, panel=domain))
    for domain in domains:
        for name, label in _REFERENCES.items():
            level, score = reference_mean(references, domain, name), claimed(claims, "reference", domain, name)
            if score is not None:
                dots.append(dot(label, score, _REFERENCE.label, domain))
            elif level is not None:
                dots.append(Dot(label, level, mark=_REFERENCE.label, panel=domain))
    marks = [_FREE, _AMONG, *([_REFERENCE] if any(one.mark == _REFERENCE.label for one in dots) else [])]
    return dots_chart(
        dots,
        _domains(own, references),
        marks,
        size,
        title=_ALL,
        subtitle=f"Dots: {over(own)}, for all settings at once; dotted: guessing; {_images(own)}.",
    )


def tuning_caption(tuning: pl.DataFrame, references: pl.DataFrame | None) -> str:
    """For `tuning_chart`."""
    beside = "" if references is None else " Below: what needs no language model (of guessing, its expectation)."
    return (
        f"Macro-F1 of free greedy answers after tuning in each setting ({counts(tuning.filter(projector=OWN))}), and "
        "of the most probable of all labels. Answers that name no class count as wrong. Intervals hold for all "
        f"settings at once.{beside}"
    )


def confusion_chart(tuning: pl.DataFrame, predictions: pl.DataFrame, size: Size) -> Chart:
    """Share of each class's images (rows) that is answered as each class or as none, where macro-F1 is highest."""
    own = tuning.filter(projector=OWN)
    cells = []
    for domain in in_order(own, "domain"):
        best = best_setting(own.filter(domain=domain))
        rows = predictions.filter(domain=domain, setting=best, projector=OWN)
        classes = sorted(set(rows["label"]))
        found = {(label, answer): count for label, answer, count in rows.group_by("label", "parsed").len().iter_rows()}
        for label in classes:
            n = rows.filter(label=label).height
            for answer in (*classes, None):
                share = 100 * found.get((label, answer), 0) / n
                cells.append(Cell(label, answer or _NO_CLASS, share, n=n, panel=f"{domain}, {best}"))
    cells.sort(key=lambda cell: cell.column == _NO_CLASS)
    return grid_chart(
        cells,
        Shades("Answered so (%)", limits=(0, 100), written=".0f"),
        Sides("Class", "Answer"),
        size,
        title="What is taken for what?",
        subtitle=f"Cells: share of a class's answers, over all seeds; right ones on the diagonal; {_images(own)}.",
    )


def confusion_caption(tuning: pl.DataFrame) -> str:
    """For `confusion_chart`."""
    return (
        "Share of each class's images (rows) that the model answers as each class, or as none, under the setting with "
        f"the highest macro-F1 ({counts(tuning.filter(projector=OWN))}); no intervals are drawn."
    )


def capacity_chart(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    aligned: pl.DataFrame,
    references: pl.DataFrame | None,
    size: Size,
    *,
    claims: Sequence[Claim] = (),
) -> Chart:
    """One projector a point, by the parameters that it learns; dotted: uniform guessing. A panel for each setting."""
    names = sorted(set(aligned["projector"]) - {OWN})
    marks = [Mark("the model's own", 6), *(Mark(name, style) for style, name in enumerate(names))]
    labels = {OWN: marks[0].label} | {name: name for name in names}
    points, planes = [], []
    for domain, setting in swept(tuning):
        panel = f"{domain}, {setting}"
        for one in capacities(aligned, predictions, domain, setting, claims):
            mean, low, high = (float(part) for part in (one.score.mean, one.score.low, one.score.high))
            bounds = {"y_low": low, "y_high": high, "n": one.score.n, "facts": {"tokens": one.tokens}}
            mark = labels[one.projector]
            points.append(Point(mark, one.parameters, mean, mark=mark, panel=panel, **bounds))
        chance = reference_mean(references, domain, RANDOM)
        x = _parameters(aligned["parameters"].to_list())
        y = Scale(UNIT, limits=(0, 1), dotted=() if chance is None else (chance,))
        planes.append(Plane(panel, x, y))
    there = {point.mark for point in points}
    return points_chart(
        points,
        planes,
        [mark for mark in marks if mark.label in there],
        size,
        title="Does a larger projector learn more?",
        subtitle=f"Bars: {over(tuning)}; dotted: guessing; {_images(tuning)}.",
        things="projector",
    )


def _parameters(sizes: Sequence[int]) -> Scale:
    """An axis on which all sizes of projectors have a place, also that of one that learns nothing."""
    least, most, title = min(sizes), max(sizes), "Parameters of the projector"
    ticks = [step * 10.0**k for k in range(2, 10) for step in (1, 2, 5)]
    if least > 0:
        limits = (least / 1.5, 1.5 * most)
        return Scale(title, "", "log", None, (), limits, ticks, 1, ".3~s", ".3~s")
    # Below a thousand it is linear.
    ticks = [0.0, *(10.0**k for k in range(3, 10))]
    return Scale(title, "", "symlog", None, (), (-100, 2.0 * max(1000, most)), ticks, 1000, ".3~s", ".3~s")


def capacity_caption(tuning: pl.DataFrame, aligned: pl.DataFrame) -> str:
    """For `capacity_chart`."""
    others = tuning.filter(pl.col("projector") != OWN)
    steps = aligned.filter(pl.col("steps") > 0)["steps"]
    length = f"{steps.min()} steps of 32 captions" if len(steps) else "no step, as nothing in them is learned"
    return (
        f"Macro-F1 after tuning with other projectors (n = {others['n'].max()} images, "
        f"{others['seed'].n_unique()} seeds), each aligned for {length} with tower and decoder frozen. The model's own "
        "has seen many more images: compare the others with each other."
    )


def _domains(own: pl.DataFrame, references: pl.DataFrame | None) -> list[Scale]:
    """An axis for each domain, where uniform guessing is dotted."""
    chances = {domain: reference_mean(references, domain, RANDOM) for domain in in_order(own, "domain")}
    return [
        Scale(UNIT, domain, limits=(0, 1), dotted=() if chance is None else (chance,))
        for domain, chance in chances.items()
    ]


def dot(row: str, score: Estimate, mark: str, panel: str, facts: Mapping[str, str] | None = None) -> Dot:
    """A score as it is drawn."""
    mean, low, high = (float(part) for part in (score.mean, score.low, score.high))
    return Dot(row, mean, low, high, score.n, mark, panel, facts or {})


def over(rows: pl.DataFrame) -> str:
    """What dots and bars are."""
    return "mean over seeds, 95 % over images and seeds" if rows["seed"].n_unique() > 1 else _SINGLE


def _images(rows: pl.DataFrame) -> str:
    return counted([int(n) for n in rows["n"]])


def counts(rows: pl.DataFrame) -> str:
    """How many images and seeds there are, by domain."""
    counts = rows.group_by("domain", maintain_order=True).agg(
        pl.col("seed").n_unique(), n=pl.col("n").first() if "n" in rows.columns else pl.col("example_id").n_unique()
    )
    return "; ".join(f"{r['domain']}: n = {r['n']} images, seeds: {r['seed']}" for r in counts.iter_rows(named=True))
