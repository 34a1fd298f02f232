"""Interactive charts inside a page that needs no network: the libraries once, a specification for every chart."""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import vl_convert

from chiasm.core.cache import cache_directory
from chiasm.results.charts.files import VERSION
from chiasm.results.storage import whole_file


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
    folder = files("chiasm.results.charts")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in ("narrow.js", "page.js"))


def policy(scripts: Iterable[str]) -> str:
    """A content security policy under which these scripts alone run, and nothing is requested."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def as_json(spec: dict[str, Any]) -> str:
    """A specification as the text of a script element: nothing in it can end the element, no address is in it."""
    bare = {key: value for key, value in spec.items() if key != "$schema"}
    return json.dumps(bare, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
