"""What a run of `chiasm look` tells."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results import images as pictures
from chiasm.results.findings import Finding
from chiasm.results.images import Picture
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.look import charts as figures
from chiasm.studies.look import charts_maps as maps
from chiasm.studies.look.findings import look_findings
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.look.summary import object_rows, perceived, placed
from chiasm.studies.reporting import Drawing, Reporter, command_line

_BAND = "Lines are means over examples, bands 95 % bootstrap intervals"


@final
class LookReporter(Reporter):
    """The reporter of `chiasm look`."""

    @property
    def title(self) -> str:
        return f"Where {self.spec['model']} looks"

    def findings(self) -> list[Finding]:
        return look_findings(self._shares, self._table("shares_controls"), *self._words, seed=self.spec["seed"])

    def drawings(self) -> dict[str, Drawing]:
        shares, controls = self._shares, self._table("shares_controls")
        n = shares["example_id"].n_unique()
        beside = " Dashed: the random-weights twin." if controls is not None else " No control was run."
        drawn = {
            "attention": Drawing(
                partial(figures.attention_shares, shares, controls),
                lambda: (
                    "Share of the attention (mean over heads) that each part of the sequence takes. "
                    f"{_BAND} (n = {n}).{beside}"
                ),
            )
        }
        if any(object_rows(shares, query).height for query in in_order(shares, "query")):
            drawn["object"] = Drawing(
                partial(figures.object_share, shares, controls),
                lambda: (
                    "Of the attention that falls on the image, the part on the object asked about, against the part "
                    f"of the image's tokens that the object covers. {_BAND}.{beside}"
                ),
            )
        lens, lens_controls = self._words
        if lens is not None and lens.height:
            drawn["words"] = Drawing(
                partial(figures.caption_share, lens, lens_controls, about=" and ".join(perceived(shares))),
                lambda: (
                    f"How often the word nearest to a token of {' and '.join(perceived(shares))} (final norm, output "
                    f"head) stands in a caption of the example. {_BAND} (n = {lens['example_id'].n_unique()}).{beside}"
                ),
            )
        return drawn | self._maps(self._table("lens"))

    def notes(self) -> list[str]:
        found = [
            "Attention says where a head reads, not that what it reads matters for the answer: cuts say that "
            "(`chiasm flow`).",
            "The share of visible tokens counts tokens up to the query, as in a causal decoder.",
        ]
        attention = self.directory.table("attention")
        marked = attention.filter("sink").unique(["example_id", "span", "index"])
        if marked.height:
            told = marked.group_by("span").len().sort("len", descending=True)
            spans = ", ".join(f"{count} in {span}" for span, count in told.iter_rows())
            found.append(
                f"Attention sinks (at least 0.3 of the attention in half of the layers): {spans}, over "
                f"{attention['example_id'].n_unique()} examples. A cross marks them on maps."
            )
        else:
            found.append("No token takes 0.3 of the attention in half of the layers: there is no attention sink.")
        return found

    def command(self) -> str:
        return command_line("look", self.spec, resolved(LookSpec(model="", data="scenes")))

    @cached_property
    def _shares(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("shares"), self._table("examples"))

    @property
    def _words(self) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        """Decoded words, of the model and of its twin, that can be looked up in captions."""
        lens, controls = self._table("lens"), self._table("lens_controls")
        told = "in_captions"
        return (
            None if lens is None else lens.drop_nulls(told),
            None if controls is None else controls.drop_nulls(told),
        )

    def _table(self, name: str) -> pl.DataFrame | None:
        return self.directory.table(name) if name in self.directory.tables() else None

    def _maps(self, lens: pl.DataFrame | None) -> dict[str, Drawing]:
        places = self._table("places")
        if places is None:
            return {}
        attention = self.directory.table("attention").filter(pl.col("head") == "mean")
        drawn = {}
        for number, example in enumerate(in_order(places, "example_id")):
            own = pl.col("example_id") == example
            grids, about = self._grids(example, places.filter(own)), attention.filter(own)
            for query in in_order(about, "query"):
                rows = about.filter(pl.col("query") == query)
                drawn[f"map-{number}-{query}"] = Drawing(
                    partial(maps.attention_map, _shown(grids, rows, ["span", "index"])),
                    partial(_map_caption, example, query, len(grids)),
                )
            if lens is not None and (rows := lens.filter(own)).height:
                drawn[f"words-{number}"] = Drawing(
                    partial(maps.lens_map, _shown(grids, rows, ["position"])),
                    partial(_lens_caption, example, len(grids)),
                )
        return drawn

    def _grids(self, example: str, places: pl.DataFrame) -> dict[str, tuple[Picture, pl.DataFrame]]:
        """Every kept picture of the example, and the places on it in its own pixels."""
        named = [(name, self._pictures[f"{example}/{name}"]) for name in in_order(places, "picture")]
        return {name: (seen, seen.placed(places.filter(pl.col("picture") == name))) for name, seen in named}

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        return pictures.kept(self.directory)


def _shown(
    grids: Mapping[str, tuple[Picture, pl.DataFrame]], rows: pl.DataFrame, keys: Sequence[str]
) -> list[maps.Shown]:
    return [
        maps.Shown(
            name.replace("video.", "").replace("[", " ").rstrip("]") if len(grids) > 1 else "image",
            picture.pixels,
            picture.boxes,
            placed(rows, places, keys),
        )
        for name, (picture, places) in grids.items()
    ]


def _map_caption(example: str, query: str, count: int) -> str:
    return (
        f"Example {example}: attention of {query} on every patch, mean over heads, one scale for all layers"
        f"{_of(count, maps.MOST)} (its colours follow the square root). n = 1 example: no interval."
    )


def _lens_caption(example: str, count: int) -> str:
    return (
        f"Example {example}: the word nearest to every patch (final norm, output head){_of(count, maps.MOST_READ)}. "
        "Bold: the word stands in a caption. n = 1 example."
    )


def _of(count: int, most: int) -> str:
    if count == 1:
        return ""
    return f" and pictures; {most} of {count} are drawn" if count > most else " and pictures"
