"""The pages made from the code are those in the repository."""

import subprocess
import sys
from pathlib import Path

from chiasm.results.ledger import ledger

DOCS = Path(__file__).parents[2] / "docs"


def test_pages_are_current() -> None:
    # In a process of its own: the page of commands is laid out by the name of the running program.
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_verb_has_a_section() -> None:
    page = (DOCS / "reference" / "commands.md").read_text()
    for verb in ("demo", "flow", "eval", "report", "models", "check", "doctor"):
        assert f"\n## chiasm {verb}\n" in page


def test_no_column_is_left_unexplained() -> None:
    rows = [line for line in (DOCS / "reference" / "tables.md").read_text().splitlines() if line.startswith("| `")]
    assert rows
    assert all(line.split("|")[4].strip() for line in rows)


def test_the_ledger_is_counted_at_the_top_and_whole_below():
    page = (DOCS / "published.md").read_text()
    top = page.partition("\n## ")[0]
    assert all(f"| {status} | {n} |\n" in top for status, n in ledger().counts().items())
    assert all(page.count(f"| `{entry.id}` |") == 1 for entry in ledger().entries)
