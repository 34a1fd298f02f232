"""One page about a run that can be sent, printed and read anywhere: findings, figures, limits, how to repeat it."""

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from chiasm.core.errors import ChiasmError
from chiasm.results.findings import Finding
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file

_FIRST_ROWS = 5
_MOST_FAILURES = 50


def write_report(
    run: RunDirectory,
    title: str,
    findings: Sequence[Finding],
    figures: Sequence[tuple[str, str]],
    notes: Sequence[str],
    reproduce: str,
) -> Path:
    """Write `report.html` into the run and return its path. The file needs no network and no other file.

    `figures`: stems of saved figures (`figures.save`) with their captions, in order; `notes`: what this run cannot
    tell; `reproduce`: the command line that repeats it.

    **Errors:** `ChiasmError` if a figure has not been saved; `FullDiskError`.
    """
    parts = [
        _head(run, title),
        _findings(findings),
        _figures(run, figures),
        _tables(run),
        _notes(notes),
        _left_out(run),
        _reproduce(run, reproduce),
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{files('chiasm.results').joinpath('report.css').read_text(encoding='utf-8')}\n</style>\n</head>\n<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )
    path = run.path / "report.html"
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def _head(run: RunDirectory, title: str) -> str:
    m, counts = run.manifest, run.counts()
    model = m.get("model")
    name = model.get("id", "") if isinstance(model, dict) else model
    kept = f"{counts['kept']} of {counts['asked']} examples"
    facts = [f"model {name}" if name else "", kept, *(str(m[k]) for k in ("dtype", "device") if m.get(k))]
    state = (
        ""
        if run.complete
        else '<p class="state">This run is not finished: what follows rests on its finished part.</p>\n'
    )
    told = " · ".join(escape(fact) for fact in facts if fact)
    return f'<header>\n<h1>{escape(title)}</h1>\n<p class="facts">{told}</p>\n</header>\n{state}'


def _findings(findings: Sequence[Finding]) -> str:
    ranked = sorted(findings, key=lambda finding: -finding.strength)
    first, rest = (
        "".join(f"<li>{_unbroken(escape(f.text))}</li>\n" for f in part) for part in (ranked[:3], ranked[3:])
    )
    more = (
        f'<details class="more">\n<summary>{len(ranked) - 3} more</summary>\n<ul>\n{rest}</ul>\n</details>\n'
        if rest
        else ""
    )
    return _section("Findings", f'<ol class="findings">\n{first}</ol>\n{more}')


def _unbroken(text: str) -> str:
    """Layer ranges keep together at the end of a line."""
    return re.sub(r"\d+-\d+", r'<span class="range">\g<0></span>', text)


def _figures(run: RunDirectory, figures: Sequence[tuple[str, str]]) -> str:
    if not figures:
        return ""
    shown = []
    for number, (stem, caption) in enumerate(figures, start=1):
        path = run.path / "figures" / f"{stem}.svg"
        if not path.exists():
            raise ChiasmError(f"show the figure `{stem}`", "it has not been saved", "Save it before the report")
        label = f"Figure {number}: {caption.partition('. ')[0]}"
        svg, points = _inline(path.read_text(encoding="utf-8"), stem, label)
        narrow = ' class="narrow"' if points < 300 else ""
        shown.append(
            f'<figure{narrow}>\n<div class="scroll">{svg}</div>\n<figcaption>'
            f"<strong>Figure {number}.</strong> {escape(caption)} "
            f"<code>figures/{escape(stem)}.{{svg,pdf,png}}</code></figcaption>\n</figure>\n"
        )
    return _section("Figures", "".join(shown))


def _inline(svg: str, stem: str, label: str) -> tuple[str, float]:
    """The drawing as an element of the page, and its width in points.

    Names inside a drawing are unique only there, and its style rules would reach the whole page: names get the stem in
    front, rules become attributes of the drawing.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    mark = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r'\b((?:xlink:)?href)="#([^"]+)"', rf'\1="#{mark}-\2"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    opening, rest = body.split(">", 1)
    width = float(re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', opening).group(1))
    opening = re.sub(r' (width|height|version|xmlns(:xlink)?)="[^"]*"', "", opening)
    opening += f' role="img" aria-label="{escape(label)}" style="stroke-linejoin:round;stroke-linecap:butt"'
    return f"{opening}>{rest}".strip(), width


def _tables(run: RunDirectory) -> str:
    shown = []
    for name in run.tables():
        frame, schema = run.table(name), run.schema(name)
        meanings = "".join(
            f'<tr><th scope="row"><code>{escape(c.name)}</code></th><td>{escape(c.title)}'
            f"{f' ({escape(c.unit)})' if c.unit else ''}</td><td>{escape(c.description)}</td></tr>\n"
            for c in schema.columns
        )
        shown.append(
            f"<h3><code>tables/{escape(name)}.parquet</code>, {frame.height:,} rows</h3>\n"
            f'<details>\n<summary>Columns of {escape(name)}</summary>\n<div class="scroll"><table>\n'
            f"{_heads('Name', 'Title (unit)', 'Meaning')}<tbody>\n{meanings}</tbody>\n</table></div>\n</details>\n"
            f"<details>\n<summary>First rows of {escape(name)}</summary>\n{_rows(frame)}</details>\n"
        )
    return _section("Tables", "".join(shown)) if shown else ""


def _rows(frame: pl.DataFrame) -> str:
    number = [' class="number"' if dtype.is_numeric() else "" for dtype in frame.dtypes]
    head = "".join(f'<th scope="col"{n}>{escape(c)}</th>' for c, n in zip(frame.columns, number, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{n}>{escape(_value(v))}</td>' for v, n in zip(row, number, strict=True))}</tr>\n"
        for row in frame.head(_FIRST_ROWS).rows()
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return _section(
        "What this run cannot tell", f"<ul>\n{''.join(f'<li>{escape(note)}</li>' for note in notes)}\n</ul>\n"
    )


def _left_out(run: RunDirectory) -> str:
    counts, failures = run.counts(), run.failures()
    told = (
        f"<p>Of {counts['asked']} examples asked for, {counts['kept']} were used, {counts['left_out']} left out on "
        f"purpose and {counts['failed']} could not be used.</p>\n"
    )
    reasons = Counter(item["reason"] for item in run.left_out())
    if reasons:
        items = "".join(f"<li>{n} &times; {escape(reason)}</li>\n" for reason, n in reasons.most_common())
        told += f"<p>Left out on purpose:</p>\n<ul>\n{items}</ul>\n"
    if failures:
        items = "".join(
            f"<tr><td>{escape(f['example_id'])}</td><td>{escape(f['reason'])}</td></tr>\n"
            for f in failures[:_MOST_FAILURES]
        )
        rest = len(failures) - _MOST_FAILURES
        told += (
            f'<div class="scroll"><table>\n{_heads("Example", "Why not")}<tbody>\n{items}</tbody>\n</table></div>\n'
        ) + (f"<p>and {rest} more, in <code>manifest.json</code>.</p>\n" if rest > 0 else "")
    return _section("Examples used and not used", told)


def _reproduce(run: RunDirectory, command: str) -> str:
    m = run.manifest
    rows = [("spec", m["spec_hash"]), ("started", m["started"]), *m["versions"].items()]
    if isinstance(m.get("model"), dict):
        rows += [(f"model {key}", value) for key, value in m["model"].items()]
    rows += [(f"data {key}", value) for key, value in m.get("data", {}).items() if not isinstance(value, dict)]
    rows += [(key, m[key]) for key in ("seed", "dtype", "device", "platform") if m.get(key) is not None]
    if m.get("git"):
        dirty = " with uncommitted changes" if m["git"]["dirty"] else ""
        rows.append(("git", f"{m['git']['revision']}{dirty}"))
    if m["resumed"]:
        rows.append(("resumed", f"{len(m['resumed'])} times"))
    body = "".join(f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>\n' for k, v in rows)
    return _section(
        "How to reproduce",
        f"<pre><code>{escape(command)}</code></pre>\n"
        f'<div class="scroll"><table>\n<tbody>\n{body}</tbody>\n</table></div>\n'
        "<p>The whole specification is in <code>manifest.json</code>.</p>\n",
    )


def _heads(*names: str) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>\n"


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n"
