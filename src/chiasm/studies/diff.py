"""Runs of one study side by side: what differs between them, beyond what chance and other examples explain."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import polars as pl

from chiasm.core.errors import ChiasmError, require_one_of
from chiasm.core.options import declared
from chiasm.results.diff.beyond import missing_controls
from chiasm.results.diff.depths import at_depths_of, unlike_depths
from chiasm.results.diff.differences import DIFFERENCES, Pair, Side, differences_frame, pairs_of
from chiasm.results.diff.sentences import as_text, design, in_short, sentences
from chiasm.results.report import WRONG, reason_in_short
from chiasm.results.rundir import RunDirectory
from chiasm.results.tables import write
from chiasm.results.values import ExampleValues
from chiasm.results.wording import listed
from chiasm.studies.run import Run, open_run
from chiasm.studies.study import study

if TYPE_CHECKING:
    from chiasm.results.charts.lines import Chart

_NOT_TYPED: Final = ("out", "resume", "fresh", "given")
# What runs are called by, where it differs; what comes behind all other options.
_MAJOR: Final = ("model", "data", "seed", "window")
_MINOR: Final = (
    "controls",
    "baseline",
    "random_models",
    "limit",
    "smallest_effect",
    "draws",
    "words",
    "patches",
    "blind",
)


@final
class Comparison:
    """Two or more runs of one study; the others are set beside the first."""

    def __init__(self, runs: Sequence[Run]) -> None:
        if len(runs) < 2:
            named = "one was named" if runs else "none was named"
            raise ChiasmError("compare runs", named, "Name two or more runs of one study")
        verbs = [run.directory.manifest["study"] for run in runs]
        if len(set(verbs)) > 1:
            found = ", ".join(f"`{run.path}` is of {verb}" for run, verb in zip(runs, verbs, strict=True))
            raise ChiasmError("compare runs", found, "Name runs of one study")
        self.runs, self.verb = tuple(runs), verbs[0]
        if not study(self.verb).claims:
            raise ChiasmError(f"compare runs of {self.verb}", "this study makes no claims", "Compare its tables")
        for run in runs:
            _require_claims(run)

    @cached_property
    def asked(self) -> dict[str, list[Any]]:
        """What differs by design: the values in the order of the runs, by the name of the option or fact."""
        return self._differing

    @cached_property
    def options(self) -> pl.DataFrame:
        """The same as a frame of texts: `option`, and a column for the value in each run, by its label."""
        labels = self.labels
        rows = [
            {"option": name, **dict(zip(labels, map(as_text, values), strict=True))}
            for name, values in self._differing.items()
        ]
        return pl.DataFrame(rows, schema=dict.fromkeys(["option", *labels], pl.String))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What each run is called: by what was typed otherwise, else by its folder."""
        typed = {name for run in self.runs for name in run.directory.manifest.get("given", {})} - set(_NOT_TYPED)
        order = {name: place for place, name in enumerate(_MAJOR)} | dict.fromkeys(_MINOR, len(_MAJOR) + 1)
        typed &= self._differing.keys()
        names = sorted(sorted(typed), key=lambda name: order.get(name, len(_MAJOR)))
        for chosen in (names[:1], names[:2]):
            bare = chosen[:1] in (["model"], ["data"])
            words = [
                ", ".join(
                    as_text(values[k])
                    if bare and name == chosen[0]
                    else f"{name.replace('_', ' ')} {as_text(values[k])}"
                    for name, values in ((name, self._differing[name]) for name in chosen)
                )
                for k in range(len(self.runs))
            ]
            if chosen and len(set(words)) == len(words):
                return tuple(words)
        folders = [run.path.resolve().name for run in self.runs]
        words = folders if len(set(folders)) == len(folders) else [str(run.path) for run in self.runs]
        again = [words[:k].count(word) + 1 for k, word in enumerate(words)]
        return tuple(word if number == 1 else f"{word} ({number})" for word, number in zip(words, again, strict=True))

    @cached_property
    def _differing(self) -> dict[str, list[Any]]:
        """Options and facts that are not the same in all runs, by name."""
        manifests = [run.directory.manifest for run in self.runs]
        specs = [manifest["spec"] for manifest in manifests]
        identity = [one.name for one in declared(study(self.verb).spec) if one.option.identity]
        found = {name: [spec.get(name) for spec in specs] for name in identity}
        for part, key in (("model", "weights"), ("data", "hash"), ("baseline", "weights")):
            held = [manifest.get(part) for manifest in manifests]
            found[f"{part} {key}"] = [one.get(key) if isinstance(one, dict) else None for one in held]
        found["precision"] = [manifest.get("precision") for manifest in manifests]
        found["chiasm"] = [manifest["versions"].get("chiasm") for manifest in manifests]
        return {name: values for name, values in found.items() if any(value != values[0] for value in values)}

    @cached_property
    def same(self) -> tuple[str, ...]:
        """The labels of the runs that hold the very rows of the first: one run twice, or one asked for twice."""
        return tuple(
            label
            for label, run in zip(self.labels[1:], self.runs[1:], strict=True)
            if _same_rows(self.runs[0].directory, run.directory)
        )

    @cached_property
    def _sides(self) -> tuple[Side, ...]:
        """The runs as far as they are compared."""
        found = study(self.verb)
        return tuple(
            Side(label, run.reporter.claimed, found.values_of(run.directory), _identities(run))
            for label, run in zip(self.labels, self.runs, strict=True)
        )

    @cached_property
    def _pairs(self) -> list[Pair]:
        """Every other run beside the first: what both measured, and on which examples."""
        first = self._sides[0]
        return pairs_of(first, [at_depths_of(first, side) for side in self._sides[1:]])

    @cached_property
    def differences(self) -> pl.DataFrame:
        """Claims side by side, a row each, with the difference (second less first) where examples allow one.

        Intervals and p hold over all differences at once. Where the runs share at least half of the smaller one's
        examples, these are compared one by one; otherwise the runs are two samples.
        """
        return differences_frame(self._sides[0], self._pairs)

    @cached_property
    def examples(self) -> pl.DataFrame:
        """By run: `examples` measured, `shared` with the first (same id, input and question), and whether `paired`."""
        rows = []
        for k, side in enumerate(self._sides):
            known = len(side.identities) if side.values is None else len(side.values.examples)
            shared = None if k == 0 else len(self._sides[0].shared_with(side))
            paired = None if k == 0 or self._pairs[k - 1].samples is None else bool(self._pairs[k - 1].paired)
            rows.append({"run": side.label, "examples": known, "shared": shared, "paired": paired})
        return pl.DataFrame(
            rows, schema={"run": pl.String, "examples": pl.Int64, "shared": pl.Int64, "paired": pl.Boolean}
        )

    @property
    def headline(self) -> str:
        """What differs by design, which runs are not finished, in how many places each differs and where most."""
        return " ".join([*self._setting, *self._in_short])

    @property
    def findings(self) -> list[str]:
        """The same with what differs most in numbers; what was found not to differ; or that nothing is known."""
        rows = self.differences.drop_nulls("difference")
        found = [*self._setting, *self._alike]
        for pair in self._pairs:
            own = rows.filter(run=pair.second.label)
            if pair.second.label not in self.same:
                found += sentences(own, self.labels[0]) if own.height else [self._why_none(pair)]
        return found

    @property
    def _setting(self) -> list[str]:
        """What differs by design, and which runs are not finished."""
        parts = [design(self._differing), *unlike_depths(self._sides)]
        for label, run in zip(self.labels, self.runs, strict=True):
            if not run.directory.complete:
                counts = run.directory.counts()
                done = sum(counts[name] for name in ("kept", "left_out", "failed"))
                parts.append(f"Not finished: {label}, with {done} of {counts['asked']} examples.")
        return parts

    @property
    def _in_short(self) -> list[str]:
        rows = self.differences.drop_nulls("difference")
        parts = [*self._alike]
        for pair in self._pairs:
            own = rows.filter(run=pair.second.label)
            if pair.second.label not in self.same:
                parts.append(in_short(own, self.labels[0]) if own.height else self._why_none(pair))
        return parts

    @property
    def _alike(self) -> list[str]:
        """That runs are the same, where they are."""
        parts = []
        for k, (label, run) in enumerate(zip(self.labels, self.runs, strict=True)):
            if k and run.path.resolve() == self.runs[0].path.resolve():
                parts.append(f"The same run are {self.labels[0]} and {label}: both are `{run.path}`.")
            elif label in self.same:
                otherwise = any(values[k] != values[0] for values in self._differing.values())
                yet = ", although they were asked otherwise" if otherwise else ""
                parts.append(f"The same rows are in {self.labels[0]} and {label}{yet}: they differ in nothing.")
        return parts

    def _why_none(self, pair: Pair) -> str:
        """Why there is no difference between a run and the first."""
        runs = f"between {pair.second.label} and {self.labels[0]}"
        first, second = self._sides[0].values, pair.second.values
        if first is None or second is None:
            return (
                f"No difference {runs} is given: {self.verb} keeps no table by which two runs can be compared example "
                "by example; their claims stand side by side."
            )
        measured = [
            f"{side.label} measured {listed(_abouts(side.values))}"
            for side in (pair.second, self._sides[0])
            if side.values is not None
        ]
        return f"No difference {runs} is given, as nothing was measured in both: {' and '.join(measured)}."

    @property
    def notes(self) -> list[str]:
        """What this comparison cannot tell."""
        return [*self._own_notes, *self._depth_notes]

    @property
    def _depth_notes(self) -> list[str]:
        """What comparing models of unlike depth leaves open."""
        if not unlike_depths(self._sides):
            return []
        return [
            "Models of unlike depth: a layer at the same share of the depth need not do the same work, and a window of "
            "as many layers is another share of the depth in each."
        ]

    @property
    def _own_notes(self) -> list[str]:
        found = [f"`{run.path}` is not finished." for run in self.runs if not run.directory.complete]
        if self.differences["difference"].is_not_null().any():
            found += self._control_notes
        for pair in self._pairs:
            if pair.samples is not None and not pair.paired:
                found.append(
                    f"{pair.second.label} and {self.labels[0]} are not compared example by example, since they share "
                    "less than half of their examples: their difference may be one of the examples."
                )
            elif pair.paired:
                counts = [
                    len(side.values.examples) for side in (self._sides[0], pair.second) if side.values is not None
                ]
                if min(counts) > len(pair.paired) or counts[0] != counts[1]:
                    found.append(
                        f"Only the {len(pair.paired)} examples that {self.labels[0]} and {pair.second.label} both "
                        f"measured are compared (of {counts[0]} and {counts[1]}): which those are is no accident."
                    )
        if not self.differences["difference"].null_count():
            return found
        if any(pair.columns for pair in self._pairs):
            found.append("Claims without a difference stand side by side: they are not single values of examples.")
        return found

    @property
    def _control_notes(self) -> list[str]:
        """What was taken off for controls, what was not, and why."""
        found = [
            "A difference can be established where neither run's own effect is: those verdicts stand beside it, and "
            "whether an effect goes beyond its control stands in the run's own report."
        ]
        if self.differences["beyond"].is_not_null().any():
            found.append(
                "Beyond the control: in each example the control is taken off the effect, in both runs, before they "
                "are compared. Of several controls the one is shown that explains most."
            )
        for pair in self._pairs:
            first, second = self._sides[0].values, pair.second.values
            if pair.samples is not None and first is not None and second is not None:
                names = (self.labels[0], pair.second.label)
                found += [
                    f"Not taken off between {pair.second.label} and {self.labels[0]}: {why}."
                    for why in missing_controls(first, second, names)
                ]
        return found

    @property
    def charts(self) -> list[str]:
        """The names of the charts that can be drawn."""
        return ["difference", "runs"] if self.differences["difference"].is_not_null().any() else []

    def chart(self, name: str = "difference", width: str | None = None) -> "Chart":
        """How the others differ from the first (`difference`), or what each run shows, on one scale (`runs`).

        `width`: on paper, as `3.3in` or `17cm`; None is the screen's.

        **Errors:** `ChiasmError` naming the charts there are, or for a width that is none.
        """
        # Drawing takes Altair, which reading differences does not need.
        from chiasm.results.charts.saving import saveable
        from chiasm.results.charts.theme import size_of
        from chiasm.results.diff import charts
        from chiasm.results.notebook import offer_charts

        offer_charts()
        if not self.charts:
            found = "no difference was measured in both"
            raise ChiasmError(f"the chart `{name}`", found, "Read `differences`")
        require_one_of(f"the chart `{name}`", name, self.charts)
        if name == "runs":
            return saveable(charts.runs_chart(self.differences, self._sides, size_of(width)))
        return saveable(charts.difference_chart(self.differences, self.labels[0], size_of(width)))

    def report(self, out: str | Path) -> Path:
        """Write `report.html`, one file, and `differences.parquet` into the folder `out`. Returns the page's path."""
        from chiasm.results.diff.page import write_page

        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "differences.parquet", DIFFERENCES, [self.differences])
        return write_page(
            folder / "report.html",
            headline=self.headline,
            title=f"chiasm {self.verb}, side by side: {' · '.join(self.labels)}",
            findings=[one for one in self.findings if one not in self._setting],
            charts=[self.chart(name) for name in self.charts],
            options=self.options,
            examples=self.examples,
            differences=self.differences,
            labels=self.labels,
            notes=self.notes,
            paths=[(label, str(run.path)) for label, run in zip(self.labels, self.runs, strict=True)],
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: what differs, the chart of differences, and what else there is."""
        from chiasm.results.charts.files import specification
        from chiasm.results.notebook import page_of

        facts = [f"chiasm diff of {self.verb}", *self.labels]
        spec = specification(self.chart()) if self.charts else None
        page = page_of(self.headline, facts, None, spec, {"rows": "found.differences", "options": "found.options"})
        return {"text/plain": "\n".join([repr(self), *self.findings]), "text/html": page}

    def __repr__(self) -> str:
        return f"Comparison({self.verb}: {', '.join(self.labels)})"


def diff(*runs: Run | str | Path, out: str | Path | None = None) -> Comparison:
    """Runs of one study side by side, of two models, windows, data sets or seeds; the others are set beside the first.

    `runs`: runs, or their directories. `out`: a folder that the page and the table of differences are written into.

    **Errors:** `ChiasmError` for less than two runs, runs of several studies, or a directory that holds none.
    """
    made = Comparison([run if isinstance(run, Run) else open_run(run) for run in runs])
    if out is not None:
        made.report(out)
    return made


def _require_claims(run: Run) -> None:
    """**Errors:** `ChiasmError` for a run that holds nothing to compare, which says what became of its examples."""
    directory = run.directory
    # Some tables of a run are of the examples alone.
    if any(directory.table(name).height for name in directory.tables()):
        with suppress(ChiasmError):
            if run.reporter.claimed:
                return
    counts = directory.counts()
    what = f"`{run.path}` has nothing to compare"
    if directory.complete or counts["left_out"] or counts["failed"]:
        of = (
            f"of {counts['asked']} examples {counts['left_out']} were left out and {counts['failed']} could not be used"
        )
        wrong = any(reason_in_short(one["reason"]) == WRONG for one in directory.left_out())
        todo = "Run it with --keep all, which takes wrong answers too" if wrong else "Name a run that has results"
        raise ChiasmError("compare runs", f"{what}: {of}", todo)
    raise ChiasmError("compare runs", f"{what}: no example is finished yet", "Go on with it: the same with --resume")


def _same_rows(first: RunDirectory, other: RunDirectory) -> bool:
    """Whether two runs hold the same tables, row by row."""
    if first.path.resolve() == other.path.resolve():
        return True
    if not (first.complete and other.complete) or set(first.tables()) != set(other.tables()):
        return False
    return all(first.table(name).equals(other.table(name)) for name in first.tables())


def _abouts(values: ExampleValues | None) -> list[str]:
    return [] if values is None else list(dict.fromkeys(about.replace("->", " → ") for about, _ in values.columns))


def _identities(run: Run) -> dict[str, tuple[str, ...]]:
    """What each example was: its input, its question, its label; empty where a run keeps no table of its examples."""
    rows = run.reporter.table("examples")
    if rows is None:
        return {}
    return {
        one: tuple(map(str, rest)) for one, *rest in rows.select("example_id", "input", "question", "answer").rows()
    }
