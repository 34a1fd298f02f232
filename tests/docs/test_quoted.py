"""What the guides quote is what the commands print."""

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


@pytest.mark.heavy
def test_the_quoted_comparison_is_printed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for name, window in (("one", "1"), ("three", "3")):
        with pytest.raises(SystemExit) as ended:
            main(["flow", "tiny", "--limit", "60", "--window", window, "--out", f"runs/{name}"])
        assert not ended.value.code
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["diff", "runs/one", "runs/three"])
    assert not ended.value.code
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    table = lines[lines.index("") + 1 : lines.index("and 30 more differences.") + 1]
    page = (DOCS / "diff.md").read_text()
    assert "\n".join(table) in page
    prose = " ".join(page.replace("\n> ", " ").split())
    assert lines[1].removeprefix("- ") in prose
    assert lines[-2] in prose
