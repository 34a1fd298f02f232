"""Tables described as data: every column has a title, a unit and a sentence, kept in the file it is written to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["string", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `unit` is empty for names and counts; a nullable column may hold missing values."""

    name: str
    kind: Kind
    title: str
    unit: str = ""
    description: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A named table and its columns, in order."""

    name: str
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, name: str, *columns: Column) -> Self:
        """The table `name` with `columns`."""
        return cls(name, columns)

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.columns):
            raise ValueError(f"table `{self.name}` names a column twice: {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column called `name`; `KeyError` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def plus(self, name: str, *columns: Column) -> "TableSchema":
        """The same columns and `columns` after them, under another name (controls beside results)."""
        return TableSchema(name, self.columns + columns)


def _column_of(kind: Kind) -> Callable[..., Column]:
    def column(name: str, title: str, description: str, *, unit: str = "", nullable: bool = False) -> Column:
        return Column(name, kind, title, unit, description, nullable)

    return column


text, integer, number, flag = (_column_of(kind) for kind in ("string", "int", "float", "bool"))
"""Declare a column of that kind: its name, its title, what it holds, and by keyword its unit and `nullable`."""
