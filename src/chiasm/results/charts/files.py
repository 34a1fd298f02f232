"""Charts as files, drawn without a browser: SVG for pages, PDF with its fonts and PNG for papers and talks."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vl_convert
from altair.utils import schemapi

from chiasm.results.charts.lines import Chart
from chiasm.results.charts.saving import PPI
from chiasm.results.storage import whole_file

VERSION = "6.4"
"""Of Vega-Lite, in files and in pages."""
_NAMES = re.compile(r'(\bid="|url\(#)(clip|gradient_)(\d+)')
_PLACES = re.compile(r' (?:d|transform|x|y|width|height|x1|x2|y1|y2)="[^"]*"')
_COLOUR = re.compile(r'\b(fill|stroke)="rgb\((\d+), (\d+), (\d+)\)"')
_LONG = re.compile(r"(\.\d\d)\d+")


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as a Vega-Lite specification.

    **Errors:** Altair's `SchemaValidationError` where it is none, which is not looked for inside `unchecked`.
    """
    return json.loads(chart.to_json(indent=None, validate=schemapi.DEBUG_MODE))


@contextmanager
def unchecked() -> Iterator[None]:
    """Charts made inside are not held against the schema of Vega-Lite, which takes as long as making them."""
    with schemapi.debug_mode(False):
        yield


def svg(spec: dict[str, Any]) -> str:
    """The drawing as text that stays text."""
    drawn = _drawn(spec)
    # Vega counts the names of all that one process draws; here they count those of this drawing.
    order = {name: str(k) for k, name in enumerate(dict.fromkeys(found[3] for found in _NAMES.finditer(drawn)))}
    drawn = _NAMES.sub(lambda found: f"{found[1]}{found[2]}{order[found[3]]}", drawn)
    # A hundredth of a pixel is not seen; further digits would be half of the file.
    short = _PLACES.sub(lambda found: _LONG.sub(r"\1", found[0]), drawn)
    return _COLOUR.sub(
        lambda found: f'{found[1]}="#{"".join(f"{int(part):02x}" for part in found.groups()[1:])}"', short
    )


def _drawn(spec: dict[str, Any]) -> str:
    # Without a description on every mark, which would be most of the file.
    plain = spec | {"config": spec.get("config", {}) | {"aria": False}}
    return vl_convert.vegalite_to_svg(plain, vl_version=VERSION)


def save(chart: Chart, directory: Path, stem: str) -> tuple[Path, ...]:
    """Write `stem.svg`, `stem.pdf`, `stem.png` (200 dpi) and `stem.vl.json`; each appears whole. Returns their paths.

    Where the specification is there already with the same bytes, the drawings are of it and stay.

    **Errors:** `FullDiskError`.
    """
    return save_specified(specification(chart), directory, stem)


def save_specified(spec: dict[str, Any], directory: Path, stem: str) -> tuple[Path, ...]:
    """`save` of what `specification` gave; may run in a thread of its own."""
    kinds = ("svg", "pdf", "png", "vl.json")
    paths = {kind: directory / f"{stem}.{kind}" for kind in kinds}
    written = json.dumps(spec, separators=(",", ":"), sort_keys=True).encode()
    if all(path.exists() for path in paths.values()) and paths["vl.json"].read_bytes() == written:
        return tuple(paths.values())
    # A page has a ground of its own, which may be dark; slides and papers have this one. Both kinds of file are made
    # from one drawing: working a specification out takes longer than writing it in another format.
    on_white = _drawn(spec | {"config": spec["config"] | {"background": "white"}})
    drawn = {
        "svg": svg(spec).encode(),
        "pdf": vl_convert.svg_to_pdf(on_white),
        "png": vl_convert.svg_to_png(on_white, scale=PPI / 72, ppi=72),
        # Last, since it vouches for the others.
        "vl.json": written,
    }
    for kind, data in drawn.items():
        with whole_file(paths[kind]) as file:
            file.write(data)
    return tuple(paths.values())
