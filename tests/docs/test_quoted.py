"""What the tour and the guide to answers quote is what the command prints."""

from pathlib import Path

import pytest

from chiasm.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"


def test_the_quoted_evaluation_is_printed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["eval", "tiny", "--limit", "24", "--blind", "--out", "run"])
    assert not ended.value.code
    printed = capsys.readouterr().out
    lines = [line.rstrip() for line in printed[printed.index("type ") :].splitlines()]
    table, findings = lines[: lines.index("")], [line for line in lines if line.startswith(("1. ", "2. ", "3. "))]
    assert (len(table), len(findings)) == (8, 3)
    tour, guide = ((DOCS / page).read_text() for page in ("tour.md", "eval.md"))
    assert all("\n".join(table) in page for page in (tour, guide))
    prose = [" ".join(page.replace("\n> ", " ").split()) for page in (tour, guide)]
    assert findings[1][3:] in prose[0]
    assert all(finding[3:] in prose[1] for finding in findings)
