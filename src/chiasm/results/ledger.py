"""The ledger: what the papers say, number by number and claim by claim, and what has been measured of it since.

Kept in `published/*.toml` beside this file, which ships with the package. An entry is `unverified` until it has been
measured on the paper's own model and data; what the embedded model shows stands apart and changes no status.
"""

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from chiasm.core.claims import Claim
from chiasm.results.wording import claimed

Status = Literal["unverified", "reproduced", "contradicted"]
Shown = Literal["agrees", "disagrees", "not established"]
Source = Literal["paper", "abstract", "caption", "released code", "secondary notes", "rerun by others"]
STATUSES: tuple[Status, ...] = get_args(Status)
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper, by its arXiv id."""

    arxiv: str
    title: str
    authors: str
    venue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The claim of a run that measures the same as a published number: its `kind`, `about` and `where`.

    `model`: the model whose run does, where that is not the entry's own, as of a tower that a larger model holds.
    """

    kind: str
    about: str
    where: str = "all"
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedValue:
    """One published number, with the digits that it was published with; None where it is unknown.

    `approximate`: read off a curve, or given as "about"; `measures`: what in a run can be held against it.
    """

    of: str
    value: Decimal | None
    unit: str = ""
    approximate: bool = False
    measures: Measures | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.of} {_UNKNOWN}"
        about, unit = "about " if self.approximate else "", f" {self.unit}" if self.unit else ""
        return f"{self.of} {about}{self.value}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a run of ours found: rows of its claims, and the command that repeats it."""

    model: str
    data: str
    command: str
    date: date
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        if not self.claims or any(None in (claim.low, claim.high) for claim in self.claims):
            raise ValueError(f"`{self.command}`: a value without an interval, or none at all")

    def __str__(self) -> str:
        said, parts = "", []
        for claim in self.claims:
            parts.append(_claim(claim, quantity=claim.quantity != said))
            said = claim.quantity
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTiny:
    """What the embedded model shows of a claim. It is another model, so this says nothing about the paper's."""

    shows: Shown
    measured: Measurement
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A published claim, or numbers of one row of a table.

    `where`: section, table or figure. `source`: what of the paper we have read it from; `secondary notes` were not
    checked against the paper. `studies`: the verbs whose runs touch it; `about`: of those, only runs that have one of
    these (a cut, a domain, a table); empty for all. `ours`: what the status rests on.
    """

    id: str
    paper: str
    where: str
    claim: str
    source: Source
    model: str
    data: str
    studies: tuple[str, ...]
    status: Status
    about: tuple[str, ...] = ()
    values: tuple[PublishedValue, ...] = ()
    note: str | None = None
    ours: Measurement | None = None
    tiny: OnTiny | None = None

    def __post_init__(self) -> None:
        if not self.studies:
            raise ValueError(f"{self.id}: it names no study")
        if (self.status == "unverified") != (self.ours is None):
            raise ValueError(
                f"{self.id}: {self.status}, with{'out' if self.ours is None else ''} a measurement of ours"
            )
        if self.ours is not None and (self.ours.model, self.ours.data) != (self.model, self.data):
            raise ValueError(f"{self.id}: a status needs {self.model} on {self.data}, the paper's own")
        if self.tiny is not None and not self.tiny.measured.model.startswith("tiny"):
            raise ValueError(f"{self.id}: {self.tiny.measured.model} is no embedded model")

    @property
    def published(self) -> str:
        """The published values in words."""
        return ", ".join(map(str, self.values))

    @property
    def read_in(self) -> str:
        """Where it stands, and what we have read it from."""
        return self.where if self.where == self.source else f"{self.where} ({self.source})"

    @property
    def standing(self) -> str:
        """The status, and what it rests on."""
        return self.status if self.ours is None else f"{self.status}: {self.ours}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """All papers and entries."""

    papers: tuple[Paper, ...]
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for name, given in (("paper", [p.arxiv for p in self.papers]), ("entry", [e.id for e in self.entries])):
            repeated = [one for one, times in Counter(given).items() if times > 1]
            if repeated:
                raise ValueError(f"the {name} {repeated[0]} stands in the ledger twice")
        lost = {entry.paper for entry in self.entries} - {paper.arxiv for paper in self.papers}
        if lost:
            raise ValueError(f"entries of {', '.join(sorted(lost))}, a paper that is not in the ledger")

    def counts(self) -> dict[Status, int]:
        """Entries by status, all statuses named."""
        counted = Counter(entry.status for entry in self.entries)
        return {status: counted[status] for status in STATUSES}

    def concerning(self, study: str, present: Collection[str] = ()) -> list[Entry]:
        """The entries that a run of `study` touches. `present`: its cuts, domains, tables: what `about` may name."""
        there = set(present)
        return [e for e in self.entries if study in e.studies and (not e.about or there & set(e.about))]


@cache
def ledger() -> Ledger:
    """The ledger that ships with the package."""
    folder = files("chiasm.results").joinpath("published")
    named = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return read_ledger(file.read_text(encoding="utf-8") for file in named)


def read_ledger(texts: Iterable[str]) -> Ledger:
    """The ledger in several TOML files, each with `papers` and `entries`.

    **Errors:** `ValueError` for anything that is missing, unknown, of the wrong type, or named twice; for a status
    without its measurement, and one that was not measured on the paper's own model and data.
    """
    papers: list[Paper] = []
    entries: list[Entry] = []
    for text in texts:
        given = tomllib.loads(text, parse_float=Decimal)
        _known(given, {"papers", "entries"}, "the ledger")
        papers += [_made(Paper, one, "a paper") for one in given.get("papers", ())]
        entries += [_made(Entry, one, str(one.get("id", "an entry"))) for one in given.get("entries", ())]
    return Ledger(tuple(papers), tuple(entries))


def _claim(claim: Claim, *, quantity: bool) -> str:
    where = "" if claim.where == "all" else f" at {claim.where}"
    what = f", {claim.quantity}" if quantity else ""
    beside = "" if claim.control_effect is None else f", control {claim.control} {claim.control_effect:+.2g}"
    return f"{claim.about}{where}{what}: {claimed(claim)}{beside}, {claim.verdict}"


_hints = cache(get_type_hints)


def _made(kind: Any, given: Any, where: str) -> Any:
    """A value of a dataclass from a table of TOML, nothing guessed."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: {given!r} is no table")
    hints = _hints(kind)
    _known(given, set(hints), where)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in given]
    if missing:
        raise ValueError(f"{where}: it lacks {', '.join(missing)}")
    return kind(**{name: _value(hints[name], value, f"{where}, {name}") for name, value in given.items()})


def _known(given: Mapping[str, Any], names: Collection[str], where: str) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)} is unknown there")


def _value(kind: Any, given: Any, where: str) -> Any:
    of = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        if given == _UNKNOWN:
            return None
        return _value(next(one for one in of if one is not NoneType), given, where)
    if get_origin(kind) is tuple and isinstance(given, list):
        return tuple(_value(of[0], one, where) for one in given)
    if get_origin(kind) is Literal and given in of:
        return given
    if dataclasses.is_dataclass(kind):
        return _made(kind, given, where)
    if kind in (float, Decimal) and type(given) in (int, Decimal):
        return kind(given)
    if isinstance(kind, type) and type(given) is kind and given != "":
        return given
    raise ValueError(f"{where}: {given!r} is not allowed there")
