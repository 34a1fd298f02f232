"""Writes the page of a run: one file that can be sent, printed and read anywhere."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from chiasm.results import images
from chiasm.results.agreement import RULE
from chiasm.results.charts.page import libraries, policy, starter
from chiasm.results.examples import Browsed
from chiasm.results.ledger import ledger
from chiasm.results.numbers import control_name
from chiasm.results.page import reproduce
from chiasm.results.page.cite import bibtex, named, papers_of
from chiasm.results.page.example_data import as_data
from chiasm.results.page.figures import ShownFigure, shown_figure
from chiasm.results.page.words import words_of
from chiasm.results.report import Reporter, kind_of_chart
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file

_OPEN_TABLES = 3
_IN_SENTENCES = ("layer", "state", "nat")
"""Words that mean the same in a sentence as in a table."""
_OPEN_FIGURES = 5
_FIRST_ROWS = 5
_PRINTED_ROWS = 12  # as page.css has it


def write_report(run: RunDirectory, reporter: Reporter[Any], figures: Sequence[tuple[str, str]]) -> Path:
    """Write `report.html` into the run and return its path. The file needs no network and no other file.

    `figures`: stems of saved charts (`charts.files.save`) with their captions.

    **Errors:** `ChiasmError` if a chart has not been saved; `FullDiskError`.
    """
    shown = _figures(run, reporter.figure_questions(), figures)
    browsed = reporter.examples()
    examples = None
    if browsed is not None and browsed.examples:
        examples = Markup(as_data(browsed, images.thumbnails(run)))
    scripts = [libraries(), starter()] if shown else []
    scripts += [_file("page.js")] if examples is None else [_file("page.js"), _file("browser.js")]
    in_memory = reproduce.in_memory(run, reporter.spec)
    command = reproduce.python_call if in_memory else reproduce.command_line
    papers = papers_of(run.manifest["study"], ledger())
    page = _template().render(
        title=reporter.title,
        headline=reporter.headline(),
        advice=reporter.advice(),
        policy=policy(scripts),
        scripts=[Markup(script) for script in scripts],
        css=Markup(_file("page.css")),
        facts=reproduce.facts(run, reporter.facts),
        complete=run.complete,
        findings=[one.text for one in sorted(reporter.ranked, key=lambda finding: -finding.strength)],
        figures=shown,
        open_figures=_OPEN_FIGURES,
        overview=reporter.overview(),
        numbers=reporter.numbers,
        open_tables=_OPEN_TABLES,
        printed_rows=_PRINTED_ROWS,
        words=words_of(_names(reporter, browsed)),
        examples=examples,
        against=browsed is not None and browsed.against is not None and examples is not None,
        example_count=0 if browsed is None else len(browsed.examples),
        example_total=0 if browsed is None else browsed.total,
        layouts=reporter.layouts(),
        published=list(zip(reporter.published, reporter.agreements, strict=True)),
        agreed=Counter(one.said for several in reporter.agreements for one in several).most_common(),
        agreement_rule=RULE,
        standings=Counter(entry.status for entry in reporter.published).most_common(),
        tables=[_tabled(run, name) for name in run.tables()],
        notes=[*reporter.notes(), *_rounding_notes(run)],
        counts=run.counts(),
        left_out=Counter(item["reason"] for item in run.left_out()).most_common(),
        failures=run.failures(),
        command=command(run, reporter.spec),
        in_memory=in_memory,
        filled=reproduce.filled_in(run, reporter.spec),
        provenance=reproduce.provenance(run),
        cited=named(papers, reporter.methods),
        bibtex=bibtex(papers, reporter.methods),
    )
    path = run.path / "report.html"
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def _names(reporter: Reporter[Any], browsed: Browsed | None) -> Iterator[str]:
    """Names of things that stand on the page: in rows and heads of its tables, in its findings, beside its examples."""
    for table in reporter.numbers:
        yield from table.heads
        for claim in table.shown:
            yield from (claim.verdict, claim.about, claim.unit, control_name(claim.control or ""), claim.where)
            if claim.where.isdecimal() or claim.unit == "layer":
                yield "layer"
    said = " ".join(one.text for one in reporter.ranked)
    yield from (word for word in _IN_SENTENCES if re.search(rf"\b{word}s?\b", said))
    for frame in reporter.overview().values():
        yield from (*frame.columns, *(str(value) for row in frame.rows() for value in row))
    if browsed is not None:
        yield from (browsed.unit, *(one.label for one in browsed.series), *{one.type for one in browsed.examples})


class _Tabled(NamedTuple):
    name: str
    height: int
    first: pl.DataFrame
    schema: Any
    classes: list[str]


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"unbroken": _unbroken, "cell": _cell, "minus": _minus}
    return environment.from_string(_file("page.html.j2"))


def _file(name: str) -> str:
    return files("chiasm.results.page").joinpath(name).read_text(encoding="utf-8")


def _figures(run: RunDirectory, questions: Mapping[str, str], figures: Sequence[tuple[str, str]]) -> list[ShownFigure]:
    """The figures in the order of their questions; those that have none stand behind, in their own order."""
    order = [*questions, ""]
    ordered = sorted(figures, key=lambda one: order.index(kind_of_chart(one[0], questions)))
    return [
        shown_figure(run, stem, caption, questions.get(kind_of_chart(stem, questions), "")) for stem, caption in ordered
    ]


def _rounding_notes(run: RunDirectory) -> list[str]:
    """What a run computed in half precision cannot tell."""
    precision = str(run.manifest.get("precision", ""))
    if precision not in ("computed in bfloat16", "computed in float16"):
        return []
    return [f"It was {precision}, as the model is served: rounding to half precision is in every number above."]


def _unbroken(text: str) -> Markup:
    """Layer ranges keep together at the end of a line; routes have an arrow; what stands in backticks is code."""
    # What stands in backticks can be copied, and keeps its hyphens.
    parts = text.split("`")
    text = "`".join(part if k % 2 else _minus(part) for k, part in enumerate(parts))
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    marked = re.sub(r"\d+-\d+", r'<span class="range">\g<0></span>', marked)
    return Markup(marked.replace("-&gt;", " → "))


def _minus(text: str) -> str:
    """Numbers below 0 with the sign that charts give them; hyphens within names and ranges stay."""
    return re.sub(r"(?<![\w.)\]-])-(?=\d)", "\u2212", text)


def _tabled(run: RunDirectory, name: str) -> _Tabled:
    first = run.table(name, rows=_FIRST_ROWS)
    classes = [' class="number"' if dtype.is_numeric() else "" for dtype in first.dtypes]
    known = run.manifest.get("tables") if run.complete else None
    height = known[name]["rows"] if isinstance(known, dict) else run.table(name).height
    return _Tabled(name, height, first, run.schema(name), classes)


def _cell(value: Any) -> str:
    if value is None:
        return "missing"
    return _minus(f"{value:.4g}") if isinstance(value, float) else str(value)
