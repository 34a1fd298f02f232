"""The table `claims`: what a run says, one row for each estimate."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, final

import polars as pl

from chiasm.core.claims import Claim, known
from chiasm.results.frames import Frames, some_of
from chiasm.results.schemas import CLAIMS, MissingTableError
from chiasm.results.series import inputs_of, majority, right_share
from chiasm.results.tables import conform


@final
class Required(Frames):
    """Tables by name; asking for one that is not there is a `MissingTableError`."""

    def __init__(self, tables: Mapping[str, pl.DataFrame]) -> None:
        self._tables = tables

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._tables:
            raise MissingTableError(name)
        return self._tables[name]

    def part(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        if name not in self._tables:
            raise MissingTableError(name)
        return some_of(self._tables, name, columns)

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def claims_frame(claims: Sequence[Claim]) -> pl.DataFrame:
    """The table of `claims`, each named by its kind and a number."""
    seen: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for one in claims:
        seen[one.kind] += 1
        values = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "kind"}
        rows.append({"claim": f"{one.kind}-{seen[one.kind]}", **values})
    return conform(CLAIMS, rows)


def read_claims(frame: pl.DataFrame) -> list[Claim]:
    """The claims of a table."""
    found = []
    for row in frame.iter_rows(named=True):
        kind = row.pop("claim").rpartition("-")[0]
        found.append(Claim(kind=kind, **row))
    return found


def untouched_score(rows: pl.DataFrame, about: str, model: str) -> Claim:
    """What there is to lose: right answers of the untouched `model` beside the most frequent answer of each type.

    `rows`: its answers (`correct`, `answer`, `type`), with the column `input` where inputs are known.
    """
    right, guess = right_share(rows), majority(rows)
    low = known(float(right.low))
    return Claim(
        kind="score",
        about=about,
        quantity=f"right answers of the {model} model",
        unit="%",
        effect=100 * float(right.mean),
        low=None if low is None else 100 * low,
        high=None if low is None else 100 * float(right.high),
        control="the most frequent answer of each type",
        control_effect=100 * guess,
        n=right.n,
        inputs=len(set(inputs_of(rows) or rows["example_id"])),
        verdict="established" if low is not None and low > guess else "not established",
    )
