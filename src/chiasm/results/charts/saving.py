"""Charts that say which kinds of file they can be saved as."""

from functools import cache
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from altair import Undefined

from chiasm.core.errors import ChiasmError, nearest
from chiasm.results.charts.lines import Chart

C = TypeVar("C", bound=Chart)

KINDS: Final = ("svg", "pdf", "png", "json", "html")
"""What a chart can be saved as."""
PPI: Final = 200
"""Dots of a png to an inch of paper, where nothing else is asked."""


class _Saving:
    """Above a class of Altair's: its `save`, with errors of ours."""

    def save(self, fp: str | Path | IO[Any], format: str | None = None, **more: Any) -> None:
        """Write the chart as svg, pdf, png, json or html, by the end of the file's name or `format`.

        `more`: as Altair's; an html page holds what it needs, unless `inline=False` lets it load from a network, and
        png has 200 dots an inch of paper, unless `ppi` or `scale_factor` says otherwise. png and pdf are on white.

        **Errors:** `ChiasmError` for another kind of file, or a place that cannot be written.
        """
        named = isinstance(fp, str | Path)
        kind = (format or (Path(fp).suffix if named else "")).removeprefix(".").lower()
        asked = f"save the chart to {f'`{fp}`' if named else 'an open file'}"
        if kind not in KINDS:
            what = f"`{kind}` is no kind of file for charts" if kind else "the kind of file is not given"
            found = f"{what}; there are {', '.join(KINDS)}"
            raise ChiasmError(asked, found, nearest(kind, KINDS) or "Let the name end with one of those")
        if kind == "html":
            more.setdefault("inline", True)
        if kind == "png" and not more.keys() & {"ppi", "scale_factor"}:
            more["ppi"] = PPI
        made: Any = self
        if kind in ("png", "pdf") and made.background is Undefined:
            # A page has a ground of its own, which may be dark; slides and papers have this one.
            made = made.properties(background="white")
        try:
            super(_Saving, made).save(fp, format=kind, **more)  # type: ignore[misc]  # of the class below it
        except OSError as error:
            raise ChiasmError(asked, error.strerror or str(error), "Name a file that can be written") from None


def saveable(chart: C) -> C:
    """The same chart, whose `save` refuses what it cannot write in a sentence; so do the copies made from it."""
    if not isinstance(chart, _Saving):
        object.__setattr__(chart, "__class__", _saving(type(chart)))  # Altair keeps what is assigned plainly
    return chart


@cache
def _saving(kind: type[Any]) -> Any:
    return type(kind.__name__, (_Saving, kind), {"__module__": kind.__module__})
