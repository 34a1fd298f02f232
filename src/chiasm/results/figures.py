"""Figures as files that are the same bytes every time they are drawn from the same table."""

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

    **Errors:** `FullDiskError`.
    """
    paths = []
    # matplotlib reads these only from its global settings; they are put back at once.
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": stem}):
        for kind, metadata in _METADATA.items():
            path = directory / f"{stem}.{kind}"
            with whole_file(path) as file:
                figure.savefig(file, format=kind, dpi=200, metadata=metadata)
            paths.append(path)
    return tuple(paths)
