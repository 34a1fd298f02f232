"""Figures as files that are the same bytes every time they are drawn from the same table."""

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from chiasm.results.storage import whole_file

# Text stays text (searchable, editable, small); dates and random names would make equal figures differ.
_SETTINGS = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.image_inline": True}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "chiasm"},
    "pdf": {"CreationDate": None, "Creator": "chiasm", "Producer": "chiasm"},
    "png": {"Software": None},
}


def save(figure: Figure, directory: Path, stem: str) -> tuple[Path, ...]:
    """Write `stem.svg`, `stem.pdf` and `stem.png` (200 dpi); each appears whole. Returns their paths.

    Where the SVG is there already with the same bytes, the other two are of this very drawing and stay.

    **Errors:** `FullDiskError`.
    """
    paths = {kind: directory / f"{stem}.{kind}" for kind in _METADATA}
    # matplotlib reads these only from its global settings; they are put back at once.
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": stem}):
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata=_METADATA["svg"])
        if all(path.exists() for path in paths.values()) and paths["svg"].read_bytes() == drawn.getvalue():
            return tuple(paths.values())
        for kind in ("pdf", "png"):
            with whole_file(paths[kind]) as file:
                figure.savefig(file, format=kind, dpi=200, metadata=_METADATA[kind])
        # Last, since it vouches for the others.
        with whole_file(paths["svg"]) as file:
            file.write(drawn.getvalue())
    return tuple(paths.values())
