"""The numbers of a run in a terminal: few rows, the strongest first, and no line beyond its width."""

from rich.console import Console

from chiasm.cli.tables import result_tables
from chiasm.core.claims import Claim
from chiasm.results.numbers import NumberTable


def claim(about: str, where: str, effect: float, verdict: str = "established") -> Claim:
    return Claim(
        kind="effect", about=about, where=where, quantity="change", unit="nat", effect=effect, n=116, inputs=110,
        low=effect - 0.25, high=effect + 0.25, p=0.001, control="twin", control_effect=0.0, verdict=verdict,
    )  # fmt: skip


def written(*tables: NumberTable) -> str:
    console = Console(width=80, soft_wrap=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        for part in result_tables(tables):
            console.print(part)
    return captured.get()


def test_a_row_for_each_thing_and_a_word_on_the_others():
    rows = [claim("image->last", str(layer), -9.0 + layer) for layer in range(8)]
    rows.append(claim("last->last", "3", 0.1, "not established"))
    found = written(NumberTable("What is lost?", tuple(rows)))
    lines = [line.rstrip() for line in found.splitlines() if line.strip()]
    assert lines[0] == "What is lost?"
    assert lines[1].split() == ["About", "Where", "Effect", "95", "%", "interval", "n", "Verdict"]
    assert lines[2].split("  ")[0] == "image → last"
    assert "-9 nat" in lines[2]
    assert lines[3].startswith("last → last")
    assert lines[4] == "and 7 more rows, 7 of them established."


def test_no_line_is_wider_than_a_terminal():
    names = ("mean:image.object+image.other->question.options", "blocks-half-of-the-middle-and-then-some-more-of-it")
    found = written(
        NumberTable("What is lost?", tuple(claim(name, "12-17", -1234.5, "practically none") for name in names))
    )
    assert max(map(len, found.splitlines())) <= 80
    assert "options" in found.replace("\n", "")


def test_what_holds_everywhere_needs_no_column_of_layers():
    assert "Where" not in written(NumberTable("How many?", (claim("all", "all", 1.0),)))


def test_few_tables():
    tables = [NumberTable(f"Question {k}?", (claim("all", "all", 1.0),)) for k in range(5)]
    assert written(*tables).count("Question") == 2


def test_a_verdict_says_which_way():
    table = NumberTable("Does it gain or lose?", (claim("image->last", "all", -1.0),))
    assert "established: lose" in written(table)
