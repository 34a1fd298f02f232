"""What a run of `chiasm look` tells."""

from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.figures import look as figures
from chiasm.results.findings import Finding
from chiasm.results.look_findings import look_findings
from chiasm.results.look_tables import object_rows, placed
from chiasm.results.series import in_order, with_inputs
from chiasm.studies import pictures
from chiasm.studies.look_spec import LookSpec
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
                partial(figures.caption_share, lens, lens_controls),
                lambda: (
                    "How often the word nearest to an image token (final norm, output head) stands in a caption of the "
                    f"example. {_BAND} (n = {lens['example_id'].n_unique()}).{beside}"
                ),
            )
        return drawn | self._maps(lens)

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
        return self._table("lens"), self._table("lens_controls")

    def _table(self, name: str) -> pl.DataFrame | None:
        return self.directory.table(name) if name in self.directory.tables() else None

    def _maps(self, lens: pl.DataFrame | None) -> dict[str, Drawing]:
        places = self._table("places")
        if places is None:
            return {}
        attention = self.directory.table("attention").filter((pl.col("head") == "mean") & (pl.col("span") == "image"))
        seen, drawn = pictures.kept(self.directory), {}
        for number, example in enumerate(in_order(places, "example_id")):
            if example not in seen:
                continue
            picture, own = seen[example], pl.col("example_id") == example
            grid = picture.placed(places.filter(own))
            for query in in_order(attention, "query"):
                rows = placed(attention.filter(own & (pl.col("query") == query)), grid, "index")
                drawn[f"map-{number}-{query}"] = Drawing(
                    partial(figures.attention_map, picture.pixels, rows, picture.boxes),
                    partial(_map_caption, example, query),
                )
            if lens is not None and lens.filter(own).height:
                rows = placed(lens.filter(own), grid, "position")
                drawn[f"words-{number}"] = Drawing(
                    partial(figures.lens_map, picture.pixels, rows, picture.boxes),
                    partial(_lens_caption, example),
                )
        return drawn


def _map_caption(example: str, query: str) -> str:
    return (
        f"Example {example}: attention of {query} on every patch, mean over heads, one scale for all layers (its "
        "colours follow the square root). n = 1 example: no interval."
    )


def _lens_caption(example: str) -> str:
    return (
        f"Example {example}: the word nearest to every patch (final norm, output head). Bold: the word stands in a "
        "caption. n = 1 example."
    )
