"""What a study is: its verb, its options, its tables, and where it is computed and reported; and all studies there are.

A study of this package is a folder beside this file whose `__init__.py` holds `STUDY`; the folder's name is the verb.
One outside is found through the entry point `chiasm.studies`, whose name is the verb and whose value points at a
`Study`.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import chiasm.studies
from chiasm.core.errors import ChiasmError
from chiasm.core.remote import is_address
from chiasm.core.schema import TableSchema
from chiasm.results.schemas import CLAIMS, FAILURES, MissingTableError
from chiasm.studies.options import StudySpec

if TYPE_CHECKING:
    import polars as pl

    from chiasm.core.claims import Claim
    from chiasm.results.report import Reporter
    from chiasm.results.rundir import RunDirectory
    from chiasm.results.values import ExampleValues

GROUP = "chiasm.studies"
OPENED: ContextVar[Callable[[], None]] = ContextVar("opened", default=lambda: None)
"""What is called when the directory of a run has been opened."""


@final
@dataclass(frozen=True, slots=True)
class Study:
    """One study. `compute` and `report` are `module:name`, imported when they are needed, not before.

    `spec`: its options; the docstring is the help of the command and of the function. `compute`: takes a spec, and
    returns the finished `RunDirectory`. `report`: a `Reporter`, which never needs torch. `claims`: from tables by name,
    `seed` and `smallest` to the `Claim`s of a run; empty where a study makes none. `values`: from tables by name and
    `smallest` to the `ExampleValues` that runs of it are compared by; empty where they only stand side by side.
    `size`: from a spec to how many examples its run is about; empty where that is one model on one set of examples.
    `order`: its place among the studies of this package; equal ones go by their verbs.
    """

    verb: str
    spec: type[StudySpec]
    tables: tuple[TableSchema, ...]
    compute: str
    report: str
    claims: str = ""
    values: str = ""
    size: str = ""
    order: int = 100

    @property
    def help(self) -> str:
        """What the study answers, with examples."""
        return inspect.cleandoc(self.spec.__doc__ or "")

    @property
    def question(self) -> str:
        """The first line of the help."""
        return self.help.partition("\n")[0]

    def run(self, spec: StudySpec) -> "RunDirectory":
        """Compute what `spec` asks for, as far as it is not there yet; beside what is at an address, on this machine.

        **Errors:** as of the study; `ChiasmError` for an address where a run lies already.
        """
        if is_address(spec.out):
            from chiasm.results.upload import place_for

            spec = spec.complete(out=place_for(str(spec.out), resume=spec.resume, fresh=spec.fresh))
        if spec.workers not in (1, None) or spec.runner != "processes":
            shared: Callable[..., RunDirectory] = _named("chiasm.studies.shared:run_shared")
            return shared(self, spec)
        compute: Callable[[Any], RunDirectory] = _named(self.compute)
        return compute(spec)

    def load(self) -> None:
        """Import what computes."""
        _named(self.compute)

    def reporter(self, directory: "RunDirectory") -> "Reporter[Any]":
        """What says in words and figures what the tables of a run hold."""
        kind: type[Reporter[Any]] = _named(self.report)
        spec = self.spec.read(directory.manifest["spec"])
        self._let_derive(directory, spec)
        found = kind(directory, spec)
        if set(directory.tables()) - {FAILURES.name}:
            return found
        from chiasm.results.report import NothingYet

        return NothingYet(directory, spec, found.title)

    def open(self, spec: StudySpec, facts: Mapping[str, Any], path: Path | None = None) -> "RunDirectory":
        """The directory of a run of this study, to write into: at `path`, else where `spec` says."""
        # Tables take polars and pyarrow, which help does not need.
        from chiasm.results.rundir import RunDirectory

        where = spec.out if path is None else path
        directory = RunDirectory.open(
            where, self.verb, spec, self.schemas, resume=spec.resume, fresh=spec.fresh, facts=facts
        )
        self._let_derive(directory, spec)
        if path is None:
            OPENED.get()()
        return directory

    def _let_derive(self, directory: "RunDirectory", spec: StudySpec) -> None:
        if self.claims:
            directory.derive = lambda run: {
                CLAIMS.name: self.claims_of(run.frames, seed=spec.seed, smallest=spec.smallest)
            }

    @property
    def schemas(self) -> tuple[TableSchema, ...]:
        """Its own tables, and that of its claims."""
        return (*self.tables, CLAIMS) if self.claims else self.tables

    def claims_of(
        self, tables: "Mapping[str, pl.DataFrame]", *, seed: int = 0, smallest: float | None = None
    ) -> "pl.DataFrame":
        """The table `claims` of a run that has these tables: a pure function of frames.

        `smallest`: the smallest effect worth naming, in the unit that the study's options say; None is its default.

        **Errors:** `ChiasmError` for a study that makes no claims, or a table that it needs and that is not there.
        """
        from chiasm.results.claims import Required, claims_frame

        if not self.claims:
            raise ChiasmError(f"the claims of {self.verb}", "this study makes none", "Read its tables")
        make: Callable[..., Sequence[Claim]] = _named(self.claims)
        try:
            return claims_frame(make(Required(tables), seed=seed, smallest=smallest))
        except MissingTableError as error:
            found = f"it needs the table `{error.args[0]}`, and there is {', '.join(tables) or 'none'}"
            raise ChiasmError(f"the claims of {self.verb}", found, "Give the tables of a run") from None

    def examples_asked(self, spec: StudySpec) -> int:
        """How many examples a run of `spec` is about, which its time grows with."""
        count: Callable[[Any], int] = _named(self.size or "chiasm.studies.inputs:count_examples")
        return count(spec)

    def values_of(self, directory: "RunDirectory") -> "ExampleValues | None":
        """What a run is compared with another of this study by, example by example; None where nothing is."""
        if not self.values:
            return None
        make: Callable[..., ExampleValues] = _named(self.values)
        return make(directory.frames, smallest=self.spec.read(directory.manifest["spec"]).smallest)

    def completed(
        self,
        spec: StudySpec,
        facts: Mapping[str, Any],
        fill: Callable[["RunDirectory"], object],
        path: Path | None = None,
    ) -> "RunDirectory":
        """The finished directory of a run, as `open` gives it; `fill` computes what it lacks."""
        with self.open(spec, facts, path) as directory:
            if not directory.complete:
                try:
                    fill(directory)
                except ChiasmError as error:
                    raise _naming_keep(error, directory) from None
        return directory


def _naming_keep(error: ChiasmError, directory: "RunDirectory") -> ChiasmError:
    """The same error; of a run that lost its examples to wrong answers it names the option that keeps those."""
    from chiasm.results.report import WRONG, reason_in_short

    wrong = sum(reason_in_short(one["reason"]) == WRONG for one in directory.left_out())
    counts = directory.counts()
    if directory.manifest["status"] != "failed" or counts["kept"] or not wrong:
        return error
    all_of = "every example was" if wrong == counts["asked"] else f"{wrong} of {counts['asked']} examples were"
    found = f"nothing is left: {all_of} {WRONG}, and those are left out by --keep correct"
    others = Counter(one["reason"] for one in directory.failures())
    found += "".join(f"; {n} x {reason}" for reason, n in others.most_common(2))
    return ChiasmError(error.asked, found, 'Give --keep all (in Python `keep="all"`) to measure wrong answers too')


@cache
def _own() -> frozenset[str]:
    """The verbs of this package's studies, by the text of their folders: importing all takes longer than most need."""
    files = [file for path in chiasm.studies.__path__ for file in Path(path).glob("*/__init__.py")]
    held = re.compile(r"^STUDY\b", re.MULTILINE)
    return frozenset(file.parent.name for file in files if held.search(file.read_text("utf-8")))


@cache
def _entries() -> dict[str, EntryPoint]:
    own = {verb: EntryPoint(verb, f"chiasm.studies.{verb}:STUDY", GROUP) for verb in _own()}
    return {one.name: one for one in entry_points(group=GROUP)} | own


def is_study(verb: str) -> bool:
    """Whether a study has this verb."""
    return verb in _entries()


def verbs() -> tuple[str, ...]:
    """The verbs of all studies: those of this package in their order, then those of others."""
    own = sorted(_own(), key=lambda verb: (study(verb).order, verb))
    return (*own, *sorted(_entries().keys() - _own()))


def study(verb: str) -> Study:
    """The study behind a verb.

    **Errors:** `ChiasmError` for an unknown verb, or a package whose study cannot be imported.
    """
    if not is_study(verb):
        raise ChiasmError(f"the study `{verb}`", f"there are {', '.join(verbs())}", "Name one of those")
    entry = _entries()[verb]
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        if verb in _own():
            raise
        raise ChiasmError(
            f"the study `{verb}`", f"{entry.value} cannot be loaded ({error})", "Mend its package"
        ) from error
    if not isinstance(found, Study):
        raise ChiasmError(f"the study `{verb}`", f"{entry.value} is no Study", "Point the entry point at a Study")
    return found


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
