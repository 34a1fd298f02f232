"""Interactive charts inside a page that needs no network: the libraries once, a specification for every chart."""

import base64
import hashlib
import json
from functools import cache
from importlib.metadata import version
from typing import Any

import vl_convert

from chiasm.core.cache import cache_directory
from chiasm.results.charts.files import VERSION
from chiasm.results.storage import whole_file

# Draws every chart of a page into the place that holds its static drawing. Expressions are interpreted (`ast`): the
# page's policy forbids `eval`. Text, axes and black have the page's colours, so that charts can be read in the dark.
_START = """
window.chiasmCharts = async function () {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  const config = {
    axis: {labelColor: ink, titleColor: ink, domainColor: line, tickColor: line, gridColor: line},
    legend: {labelColor: ink, titleColor: ink}, header: {labelColor: ink, titleColor: ink},
    title: {color: ink, subtitleColor: ink}
  };
  for (const place of document.querySelectorAll("[data-chart]")) {
    const text = document.getElementById(place.dataset.chart).textContent;
    const spec = JSON.parse(text.replaceAll('"#000000"', JSON.stringify(ink)));
    const options = {mode: "vega-lite", ast: true, actions: false, renderer: "svg", config, tooltip: {theme: "custom"}};
    const drawn = document.createElement("div");
    try {
      await vegaEmbed(drawn, spec, options);
      drawn.querySelector("svg").setAttribute("aria-label", place.getAttribute("aria-label"));
      place.replaceChildren(drawn);
    } catch (error) { console.error("chart", place.dataset.chart, error); }
  }
};
window.chiasmCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", window.chiasmCharts);
"""


@cache
def libraries() -> str:
    """Vega, Vega-Lite and vega-embed as one script; it sets `vegaEmbed`. Bundling takes seconds, so it is kept."""
    kept = cache_directory() / f"vega-{VERSION}-{version('vl-convert-python')}.js"
    if kept.exists():
        return kept.read_text(encoding="utf-8")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as file:
        file.write(_bundled().encode())
    return kept.read_text(encoding="utf-8")


def _bundled() -> str:
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION).replace(
        "</script", "<\\/script"
    )


def starter() -> str:
    """The script that draws the page's charts."""
    return _START


def policy() -> str:
    """A content security policy under which these two scripts alone run, and nothing is requested."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in (libraries(), starter())
    )
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def as_json(spec: dict[str, Any]) -> str:
    """A specification as the text of a script element: nothing in it can end the element, no address is in it."""
    bare = {key: value for key, value in spec.items() if key != "$schema"}
    return json.dumps(bare, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
