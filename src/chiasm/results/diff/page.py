"""The page of a comparison: one file that needs no network, as the report of a run."""

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.page import as_json, libraries, policy, starter
from chiasm.results.diff.differences import strongest_first, unit_of_difference
from chiasm.results.diff.sentences import beyond_in_short
from chiasm.results.storage import whole_file
from chiasm.results.wording import bounds, number, probability

_HEADS = ("Run", "About", "Where", "Difference", "95 % interval", "p", "n", "Beyond the control", "Verdict")


class _Shown(NamedTuple):
    """A chart: drawn, and to be drawn again where scripts run."""

    title: str
    image: str
    spec: str


def write_page(
    path: Path,
    *,
    title: str,
    headline: str,
    findings: Sequence[str],
    charts: Sequence[Chart],
    options: pl.DataFrame,
    examples: pl.DataFrame,
    differences: pl.DataFrame,
    labels: Sequence[str],
    notes: Sequence[str],
    paths: Sequence[tuple[str, str]],
) -> Path:
    """Write the page of a comparison to `path`, and return that."""
    # Of two runs every row is about the second.
    drop, sides = (1, labels) if len(labels) == 2 else (0, (labels[0], "there"))
    alone = differences.filter(pl.col("difference").is_null())
    scripts = [*([libraries(), starter()] if charts else []), _file("chiasm.results.page", "page.js")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(_file("chiasm.results.diff", "diff.html.j2")).render(
        title=title,
        headline=headline,
        css=Markup(_file("chiasm.results.page", "page.css")),
        policy=policy(scripts),
        scripts=[Markup(script) for script in scripts],
        findings=findings,
        charts=[_shown(chart) for chart in charts],
        options=options,
        examples=[[*row, {None: "", True: "yes", False: "no"}[paired]] for *row, paired in examples.rows()],
        compared=[_cells(row)[drop:] for row in strongest_first(differences).iter_rows(named=True)],
        beside=[_side_by_side(row)[drop:] for row in alone.iter_rows(named=True)],
        heads=[*_HEADS[:3], *sides, *_HEADS[3:]][drop:],
        numbers=[place - drop for place in range(3, 9)],
        wide=[9 - drop],
        beside_heads=["Run", "Quantity", "About", "Where", *sides][drop:],
        labels=labels,
        notes=notes,
        paths=paths,
    )
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def _file(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _shown(chart: Chart) -> _Shown:
    spec = specification(chart)
    drawn = base64.b64encode(svg(spec).encode()).decode()
    title = spec["title"]["text"]
    title = " ".join(title) if isinstance(title, list) else title
    return _Shown(title, f"data:image/svg+xml;base64,{drawn}", as_json(spec))


def _cells(row: dict[str, Any]) -> list[str]:
    """A difference as texts: run, about, where, first, second, difference, interval, p, n, beyond, verdict."""
    how = {"significant": 3}
    inputs = "" if row["inputs"] == row["n"] else f" ({row['inputs']} inputs)"
    return [
        row["run"],
        row["about"].replace("->", " → "),
        row["where"],
        number(row["first"], **how),
        number(row["second"], **how),
        number(row["difference"], unit=unit_of_difference(row["unit"]), signed=True, **how),
        bounds(row["low"], row["high"], signed=True, **how),
        "" if row["p"] is None else probability(row["p"]).removeprefix("p ").removeprefix("= "),
        f"{row['n']}{inputs}{'' if row['paired'] else ', unpaired'}",
        _beyond(row),
        row["verdict"],
    ]


def _beyond(row: dict[str, Any]) -> str:
    """The difference beyond the control, and which that is."""
    text = beyond_in_short(row)
    return f"{text} ({row['control']})" if text else ""


def _side_by_side(row: dict[str, Any]) -> list[str]:
    """A claim of either run as texts: run, quantity, about, where, and effect and verdict in both."""
    cells = [row["run"], row["quantity"], row["about"].replace("->", " → "), row["where"]]
    for side in ("first", "second"):
        effect, verdict = row[side], row[f"{side}_verdict"]
        written = "" if effect is None else number(effect, unit=_unit(row), significant=3)
        cells.append(f"{written}, {verdict}" if written else "not claimed")
    return cells


def _unit(row: dict[str, Any]) -> str:
    return "" if row["unit"] == "1" else row["unit"]
