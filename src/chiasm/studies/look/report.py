"""What the report of a run of `chiasm look` says and shows."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.claims import of_kind
from chiasm.results import images
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.images import KeptImage
from chiasm.results.report import Drawing, Reporter, shared_models_note
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.look import charts, maps
from chiasm.studies.look.browse import browsed
from chiasm.studies.look.claims import MIN_HEADS, through_head
from chiasm.studies.look.findings import look_findings
from chiasm.studies.look.headline import look_headline
from chiasm.studies.look.maps import Asked, ImageRows
from chiasm.studies.look.naming_claims import RANK
from chiasm.studies.look.questions import CHARTS, DIFFERENCES, QUESTIONS
from chiasm.studies.look.shares import object_rows, perceived, top_level
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.look.tables import OUTPUT

_BAND = "Lines are means over examples, bands 95 % intervals over inputs that hold for all layers of a line at once"
_Grids = dict[str, tuple[KeptImage, pl.DataFrame]]


@final
class LookReporter(Reporter[LookSpec]):
    """The reporter of `chiasm look`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Where {self.spec.model} looks"

    def headline(self) -> str:
        return look_headline(self.claimed)

    def figure_questions(self) -> Mapping[str, str]:
        if any(one.found for one in of_kind(self.claimed, "object")):
            return CHARTS
        # Of the object nothing is known, and the headline begins with the whole of what is shown.
        return {"attention": CHARTS["attention"]} | CHARTS

    def findings(self) -> list[Finding]:
        return look_findings(self.claimed)

    def drawings(self) -> dict[str, Drawing]:
        shares, controls = self._shares, self.table("shares_controls")
        beside = " Dashed: the random-weights baseline." if controls is not None else " No control was run."
        n = shares["example_id"].n_unique()
        attention = (
            f"Share of the attention (mean over heads) that each part of the sequence takes. {_BAND} (n = {n}).{beside}"
            f" {self._untested()}"
        )
        drawn = {"attention": Drawing(partial(charts.attention_shares, shares, controls), lambda: attention)}
        if any(object_rows(shares, query).height for query in in_order(shares, "query")):
            on_object = (
                "Of the attention that falls on the image, the part on the object asked about, against the part "
                f"of the image's tokens that the object covers. {_BAND}.{beside} Sentences rest on the "
                "difference of the two in each example, which is known better than either."
            )
            drawn["object"] = Drawing(partial(charts.object_share, shares, controls), lambda: on_object)
        lens, lens_controls = self._words
        if lens is not None and lens.height:
            about = " and ".join(perceived(shares))
            words = (
                f"How often the word nearest to a token of {about} (final norm, output head) stands in a caption of "
                f"the example. {_BAND} (n = {lens['example_id'].n_unique()}).{beside}"
            )
            drawn["words"] = Drawing(partial(charts.caption_share, lens, lens_controls, about=about), lambda: words)
        named, named_controls = self.with_inputs("named"), self.table("named_controls")
        if named is not None and named.height:
            naming = (
                f"How often one of an object's words is among the {RANK} nearest to a token of the object, by three "
                f"ways to read words. {_BAND} (n = {named['example_id'].n_unique()}). Dashed: the same words at other "
                f"tokens, random directions of the same norms{'' if named_controls is None else ', random weights'}."
            )
            drawn["named"] = Drawing(partial(charts.naming_curves, named, named_controls), lambda: naming)
        return drawn | self._maps()

    def examples(self) -> Browsed | None:
        known = self.table("examples")
        if known is None:
            return None
        return browsed(self._shares, known, self.directory.table("attention"), self.table("places"))

    def notes(self) -> list[str]:
        found = [
            "Attention says where a head reads, not that what it reads matters for the answer: cuts say that "
            "(`chiasm flow`).",
            "The share of visible tokens counts tokens up to the query, as in a causal decoder: what equal attention "
            "to all of them would give. Intervals and p-values in sentences hold over all queries and layers at once.",
        ]
        found += [one for one in [self._untested()] if one]
        found += shared_models_note(self.table("shares_controls"))
        if self.table("named") is not None:
            found.append(
                "That a word is near says that a direction is shared, not that the model reads the word there. Words "
                "are those of a box's name and those that stand directly before it in captions; how often a random "
                "direction has them depends on how many words a lens can say."
            )
        attention = self.directory.table("attention")
        if self.spec.heads and not of_kind(self.claimed, "head"):
            found.append(
                f"Heads are in the table, and nothing is said of them: of fewer than {MIN_HEADS} inputs one half does "
                "not choose and the other judge."
            )
        marked = attention.filter("sink").unique(["example_id", "span", "index"])
        if not marked.height:
            return [*found, "No token takes 0.3 of the attention in half of the layers: there is no attention sink."]
        by_span = marked.group_by("span").len().sort("len", descending=True)
        spans = ", ".join(f"{count} in {span}" for span, count in by_span.iter_rows())
        found.append(
            f"Attention sinks (at least 0.3 of the attention in half of the layers): {spans}, over "
            f"{attention['example_id'].n_unique()} examples. A cross marks them on maps."
        )
        return found

    def _untested(self) -> str:
        """Of which parts of the sequence shares are drawn and nothing is said."""
        said = perceived(self._shares)
        rest = [span for span in top_level(self._shares) if span not in said]
        if not rest or not said:
            return ""
        named = [*said, *(["the object asked about"] if of_kind(self.claimed, "object") else [])]
        return (
            f"Claims are about what {' and '.join(named)} get of the attention: of {', '.join(rest)} the chart shows "
            "shares with their intervals, and nothing is tested."
        )

    @cached_property
    def _shares(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("shares"), self.table("examples"))

    @property
    def _words(self) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        """Decoded words, of the model and of its baseline, of examples that have captions."""
        tables = (self.table(name) for name in ("lens", "lens_controls"))
        lens, controls = (None if rows is None else through_head(rows).drop_nulls("in_captions") for rows in tables)
        return lens, controls

    def _maps(self) -> dict[str, Drawing]:
        places, lens = self.table("places"), self.table("lens")
        if lens is not None and "lens" not in lens.columns:  # a run of an earlier version
            lens = lens.with_columns(lens=pl.lit(OUTPUT))
        if places is None:
            return {}
        attention, drawn = self.directory.table("attention"), {}
        for number, example in enumerate(in_order(places, "example_id")):
            grids = self._grids(example, places.filter(example_id=example))
            about = _shown(grids, attention.filter(example_id=example), ["span", "index"])
            drawn[f"map-{number}"] = Drawing(
                partial(maps.attention_map, about, asked=self._asked(example)),
                partial(_map_caption, example, len(grids)),
            )
            if lens is not None and (rows := lens.filter(example_id=example)).height:
                read = _shown(grids, rows, ["position"])
                drawn[f"words-{number}"] = Drawing(
                    partial(maps.lens_map, read, asked=self._asked(example)),
                    partial(_lens_caption, example, len(grids)),
                )
        return drawn

    def _asked(self, example: str) -> Asked:
        asked = self.table("examples")
        found = None if asked is None else asked.filter(example_id=example)
        return Asked() if found is None or not found.height else Asked(*found.select("question", "answer").row(0))

    def _grids(self, example: str, places: pl.DataFrame) -> _Grids:
        """Every kept image of the example, and the places on it in its own pixels."""
        named = [(name, self._images[f"{example}/{name}"]) for name in in_order(places, "picture")]
        return {name: (seen, seen.placed(places.filter(picture=name))) for name, seen in named}

    @cached_property
    def _images(self) -> dict[str, KeptImage]:
        return images.kept(self.directory)


def _shown(grids: _Grids, rows: pl.DataFrame, keys: Sequence[str]) -> list[ImageRows]:
    """The images of one example with the `rows` about their patches; separators are left out.

    `keys`: `span` and `index` (table `attention`), or `position` (table `lens`).
    """
    found = []
    for name, (image, places) in grids.items():
        patches = places.filter(pl.col("x0").is_not_null())
        base = patches.filter(tile="base")
        corners = (base if base.height else patches).select(*keys, "x0", "y0", "x1", "y1")
        title = name.replace("video.", "").replace("[", " ").rstrip("]") if len(grids) > 1 else "image"
        joined = rows.join(corners, on=list(keys), maintain_order="left")
        found.append(ImageRows(title, image.pixels, image.boxes, joined))
    return found


def _map_caption(example: str, count: int) -> str:
    return (
        f"Example {example}: attention on every patch by layer, one scale for all layers"
        f"{_of(count, maps.MAX_IMAGES)} (its colours follow the square root). n = 1 example: no interval."
    )


def _lens_caption(example: str, count: int) -> str:
    return (
        f"Example {example}: the word nearest to every patch, by the output head (after the final norm), the rows of "
        f"the input embeddings, or words read in texts{_of(count, maps.MAX_READ)}. "
        "Bold: the word stands in a caption. n = 1 example."
    )


def _of(count: int, at_most: int) -> str:
    if count == 1:
        return ""
    return f" and images; {at_most} of {count} are drawn" if count > at_most else " and images"
