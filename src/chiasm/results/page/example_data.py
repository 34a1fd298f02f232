"""Single examples as data for the page's browser: small enough for a thousand of them, and nothing in it can run."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chiasm.results.examples import Browsed, PatchMap, ShownExample
from chiasm.results.images import Thumbnail

_STEP: Final = 0.01
"""Curves are rounded to it, and written as whole numbers of it: 1,000 examples x 24 layers x 6 cuts stay small."""
_MAP_VALUES: Final = 200_000
"""Values of maps that a page holds at most."""
_PICTURE_BYTES: Final = 6_500_000
_KEEPS_NONE: Final = "No pictures: this run keeps none of its examples."
_LACKS_ONE: Final = "No picture: the example has none that was kept, or the page has no room for more (6.5 MB)."
"""Why an example stands without its picture."""


def as_data(browsed: Browsed, thumbnails: Mapping[str, Thumbnail]) -> str:
    """The examples as the text of a script element: nothing in it can end the element.

    Pictures that several examples ask about stand there once; those beyond 6.5 MB are left out.
    """
    types = list(dict.fromkeys(one.type for one in browsed.examples))
    pictures = _Pictures()
    left, scales = _MAP_VALUES, _scales(browsed)
    rows: list[dict[str, Any]] = []
    for one in browsed.examples:
        maps = []
        for drawn in one.maps:
            left -= len(drawn.values)
            if left >= 0:
                maps.append(drawn)
        kept = thumbnails.get(one.id)
        row = _row(one, types.index(one.type), browsed) | pictures.of(kept)
        rows.append(row | (_maps(maps, scales, None if kept is None else kept.size) if maps else {}))
    data = {
        "types": types,
        "effect": browsed.effect,
        "unit": browsed.unit,
        "places": list(browsed.places),
        "axes": list(browsed.axes),
        "series": [[one.label, one.colour] for one in browsed.series],
        "mapped": browsed.maps,
        "peak": browsed.peak,
        "by": next((str(k) for k, one in enumerate(browsed.series) if one.name == browsed.by), ""),
        "against": _against(browsed),
        "order": "wrong" if browsed.wrong_first else "data",
        "lacking": _LACKS_ONE if thumbnails else _KEEPS_NONE,
        "gallery": browsed.gallery,
        "step": _STEP,
        "rows": rows,
        "pictures": pictures.data,
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _against(browsed: Browsed) -> list[float] | None:
    """Of the finding that examples may contradict: number of the curve, number of the place, sign, least value."""
    one, names = browsed.against, [series.name for series in browsed.series]
    if one is None or one.series not in names or one.place not in browsed.places:
        return None
    return [names.index(one.series), list(browsed.places).index(one.place), one.sign, one.least]


class _Pictures:
    """Pictures as base64, each once, as far as there is room."""

    def __init__(self) -> None:
        self.data: list[str] = []
        self._places: dict[Path, int] = {}
        self._room = _PICTURE_BYTES

    def of(self, kept: Thumbnail | None) -> dict[str, Any]:
        """The columns of a row that say which picture it has and what is marked on it."""
        if kept is None:
            return {}
        if kept.file not in self._places:
            text = base64.b64encode(kept.file.read_bytes()).decode()
            if len(text) > self._room:
                return {}
            self._room -= len(text)
            self._places[kept.file] = len(self.data)
            self.data.append(text)
        found: dict[str, Any] = {"p": self._places[kept.file]}
        if kept.boxes:
            found["b"] = [[box.name, *(round(value, 3) for value in box[1:])] for box in kept.boxes]
        return found


def _row(one: ShownExample, kind: int, browsed: Browsed) -> dict[str, Any]:
    row: dict[str, Any] = {"i": one.id, "t": kind, "q": one.question, "l": one.label}
    if one.answers:
        right = {True: 1, False: 0, None: -1}
        row["a"] = [[given.by, given.text, right[given.right]] for given in one.answers]
    if one.effect is not None:
        row["e"] = float(f"{one.effect:.4g}")
        if one.under:
            row["u"] = one.under
    if one.curves:
        row["c"] = [_curve(one.curves.get(series.name, ())) for series in browsed.series]
    return row


def _curve(values: Sequence[float | None]) -> list[int | None]:
    return [None if value is None else round(value / _STEP) for value in values]


def _scales(browsed: Browsed) -> dict[str, float]:
    """The largest value of all maps whose choice begins alike: they share one scale, so that they can be compared."""
    found: dict[str, float] = {}
    for one in browsed.examples:
        for drawn in one.maps:
            most = max((abs(value) for value in drawn.values), default=0.0)
            found[drawn.choice[0]] = max(found.get(drawn.choice[0], 0.0), most)
    return found


def _maps(maps: Sequence[PatchMap], scales: Mapping[str, float], size: tuple[int, int] | None) -> dict[str, Any]:
    """Corners, each set once, as shares of the picture; of each map its choice, its corners, the value of full colour,
    and its values in hundredths of that."""
    every = [corner for drawn in maps for corner in drawn.corners]
    width, height = size or (max(corner[2] for corner in every), max(corner[3] for corner in every))
    places = list(dict.fromkeys(tuple(drawn.corners) for drawn in maps))
    found = []
    for drawn in maps:
        most = scales[drawn.choice[0]]
        values = [round(100 * value / most) if most else 0 for value in drawn.values]
        found.append([list(drawn.choice), places.index(tuple(drawn.corners)), float(f"{most:.3g}"), values])
    shares = [
        [[round(v, 3) for v in (a / width, b / height, c / width, d / height)] for a, b, c, d in own] for own in places
    ]
    return {"k": shares, "m": found}
