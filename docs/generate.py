"""Writes the reference pages that are made from the code: `make docs`.

docs/reference/commands.md from the command line's own help, docs/reference/tables.md from the schemas of the tables.
A test compares both with what this file would write, so that neither page can fall behind.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from chiasm.cli.main import app
from chiasm.core.schema import TableSchema
from chiasm.results.schemas import SCHEMAS

REFERENCE = Path(__file__).parent / "reference"
_COMMANDS = "# Commands\n\nMade from `chiasm --help` by `make docs`.\n\n"
_TABLES = """# Tables

Every run writes Parquet files under `tables/`. Titles, units and descriptions below are kept in the files' metadata
too. Columns may be added by later versions; none is renamed. Made from the schemas by `make docs`.
"""


def commands() -> str:
    """The page of commands: what `--help` says, verb after verb."""
    told = app.generate_docs()
    return _COMMANDS + told[told.index("\n## chiasm ") + 1 :].rstrip() + "\n"


def tables(schemas: Iterable[TableSchema]) -> str:
    """The page of tables, in the order in which they are registered."""
    return _TABLES + "".join(_table(schema) for schema in schemas)


def _table(schema: TableSchema) -> str:
    lines = [f"\n## `{schema.name}`\n", "| column | type | unit | what it is |", "|---|---|---|---|"]
    for column in schema.columns:
        kind = column.kind + (", may be missing" if column.nullable else "")
        said = column.description or column.title
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    return {"commands.md": commands(), "tables.md": tables(SCHEMAS.values())}


def main(arguments: list[str]) -> int:
    """Writes the pages, or with `--check` says which are not current and ends with 1."""
    checking, stale = arguments == ["--check"], []
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        page = REFERENCE / name
        if not checking:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(name)
    if stale:
        print(f"not current: {', '.join(stale)}; run `make docs`")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
