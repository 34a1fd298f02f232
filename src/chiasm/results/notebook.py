"""Runs and charts as notebooks show them, without a network: words and a table, charts as Vega-Lite and as drawings."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from chiasm.results.numbers import NumberTable

VEGA_LITE: Final = "application/vnd.vegalite.v6+json"
"""What notebooks that draw charts themselves take."""
_ROWS: Final = 6
_NAME: Final = "chiasm"


def offer_charts() -> None:
    """Let notebooks show charts as Vega-Lite, and as a drawing where they cannot draw it.

    Altair's own way loads its libraries from a network. A renderer that the user chose stays.
    """
    import altair as alt

    if alt.renderers.active == "default":
        alt.renderers.register(_NAME, chart_bundle)
        alt.renderers.enable(_NAME)


def chart_bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A chart by MIME type: its specification, and its drawing on white, so that it can be read in the dark."""
    from chiasm.results.charts.files import svg

    white = spec | {"config": spec.get("config", {}) | {"background": "white"}}
    return {VEGA_LITE: white, "image/svg+xml": svg(white), "text/plain": "<a chart>"}


def page_of(headline: str, facts: Sequence[str], table: NumberTable | None, chart: Any, hint: Mapping[str, str]) -> str:
    """What a notebook shows of a run: headline, numbers, the main chart as a drawing, and what else to ask for.

    `chart`: a Vega-Lite specification, or None; `hint`: expressions by what they give.
    """
    parts = [
        f'<p style="font-size:1.1em"><strong>{escape(headline)}</strong></p>',
        f"<p>{escape(' · '.join(facts))}</p>",
    ]
    if table is not None:
        parts += [f"<p>{escape(table.question)}</p>", _table(table)]
    if chart is not None:
        drawn = base64.b64encode(chart_bundle(chart)["image/svg+xml"].encode()).decode()
        title = escape(_title_of(chart))
        parts.append(f'<img alt="{title}" style="max-width:100%" src="data:image/svg+xml;base64,{drawn}">')
    asked = ", ".join(f"<code>{escape(code)}</code> {escape(what)}" for what, code in hint.items())
    return "".join([*parts, f"<p>More: {asked}.</p>"])


def _table(table: NumberTable) -> str:
    cell = '<td style="text-align:left">{}</td>'
    heads = "".join(f'<th style="text-align:left">{escape(head)}</th>' for head in table.heads)
    rows = "".join(f"<tr>{''.join(cell.format(escape(text)) for text in row)}</tr>" for row in table.first[:_ROWS])
    more = len(table.claims) - _ROWS
    left = f"<p>and {more} more rows in <code>run.claims</code></p>" if more > 0 else ""
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{left}"


def _title_of(spec: Mapping[str, Any]) -> str:
    title = spec.get("title", "chart")
    text = title["text"] if isinstance(title, dict) else title
    return " ".join(text) if isinstance(text, list) else text
