"""A saved chart as an element of the page: its drawing, the question it answers, and what makes it interactive."""

import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any

from chiasm.core.errors import ChiasmError
from chiasm.results.charts.page import as_json
from chiasm.results.rundir import RunDirectory

_BRIEF = 230
"""Letters that two sentences under a chart take at most."""
# Not behind what is shortened, and not within brackets that end a sentence of their own.
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z0-9`])")


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """One figure. `brief`, `rest`: its caption, what it shows and how to read it; `titled`: its drawing says the
    question itself; `subtitle`: what stands below that there, for screens on which a drawing has neither; `spec`: what
    draws it in the browser."""

    stem: str
    question: str
    brief: str
    rest: str
    svg: str
    narrow: bool
    titled: bool
    subtitle: str
    spec: str


def shown_figure(run: RunDirectory, stem: str, caption: str, question: str) -> ShownFigure:
    """A chart that `files.save` has written into the run.

    `question`: what it answers, where its specification has no title; else the first sentence of its caption does.

    **Errors:** `ChiasmError` if it has not been saved.
    """
    path = run.path / "figures" / f"{stem}.svg"
    if not path.exists():
        raise ChiasmError(f"show the figure `{stem}`", "it has not been saved", "Save it before the report")
    spec = json.loads(path.with_name(f"{stem}.vl.json").read_text(encoding="utf-8"))
    title, subtitle = (_title(spec, part) for part in ("text", "subtitle"))
    asked = title or question or caption.partition(". ")[0].rstrip(".")
    svg, points = _inline(path.read_text(encoding="utf-8"), stem, asked)
    return ShownFigure(stem, asked, *shortened(caption), svg, points < 300, bool(title), subtitle, as_json(spec))


def shortened(caption: str) -> tuple[str, str]:
    """A caption in two parts: the first sentence, or two where they are short, and the others."""
    sentences = _SENTENCE.split(caption.strip())
    kept = 2 if len(" ".join(sentences[:2])) <= _BRIEF else 1
    return " ".join(sentences[:kept]), " ".join(sentences[kept:])


def _title(spec: dict[str, Any], part: str) -> str:
    """The title of a chart (`text`), or what stands below it (`subtitle`), on one line."""
    given = spec.get("title", "")
    named = given if isinstance(given, dict) else {"text": given}
    text = named.get(part, "")
    return " ".join(text) if isinstance(text, list) else str(text)


def _inline(svg: str, stem: str, label: str) -> tuple[str, float]:
    """The drawing as an element of the page, as large as it is drawn in the browser, and its width in points.

    Names inside a drawing are unique only there: they get the stem in front.
    """
    body = svg[svg.index("<svg") :]
    # Hundredths of a pixel are enough for places; scales, which are small numbers, keep all their digits.
    body = re.sub(r"(?<=\d\d\.\d\d)\d+", "", body)
    # The drawing has one name; its parts have none.
    body = re.sub(r' (role|aria-[a-z]+)="[^"]*"', "", body)
    mark = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r'\b((?:xlink:)?href)="#([^"]+)"', rf'\1="#{mark}-\2"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)', opening)
    assert box is not None, "a drawing has a viewBox"
    width = float(box.group(1))
    opening = re.sub(r' (width|height|version|xmlns(:xlink)?)="[^"]*"', "", opening)
    opening += f' width="{box.group(1)}" height="{box.group(2)}" role="img" aria-label="{escape(label)}"'
    return f"{opening}>{rest}".strip(), width
