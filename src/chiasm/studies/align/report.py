"""What an alignment run tells: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding
from chiasm.studies.align import charts as figures
from chiasm.studies.align import charts_similarity as likeness
from chiasm.studies.align import charts_vocabulary as words
from chiasm.studies.align.findings import align_findings
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.paper.charts_masks import twenty_two
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class AlignReporter(Reporter):
    """The reporter of `chiasm align`."""

    @property
    def title(self) -> str:
        return f"Alignment in {self.spec['model']}"

    def findings(self) -> list[Finding]:
        return align_findings(self._tables)

    def drawings(self) -> dict[str, Drawing]:
        there, drawn = self._tables, {}
        for name, table, draw, told in (
            ("norms", "norms", figures.norm_curves, "Median Euclidean norm over the tokens of each span."),
            ("drift", "drift", figures.drift_curves, "Cosine of each token with itself some layers later."),
            ("score", "score", figures.score_bars, "Alignment scores, mean over hidden states."),
        ):
            controls = there.get(f"{table}_controls")
            caption = f"{told} {self._counted(table)} {_CONTROLLED if controls is not None else _BARE}"
            drawn[name] = Drawing(partial(draw, there[table], controls), partial(str, caption))
        if "drift_released" in there:
            beside = there.get("drift_released_controls")
            caption = f"{_RELEASED} {self._counted('drift_released')} {_BARE if beside is None else _PANELS}"
            draw = partial(figures.released_gap, there["drift_released"], beside)
            drawn["drift-as-released"] = Drawing(draw, partial(str, caption))
        return drawn | self._likeness()

    def _likeness(self) -> dict[str, Drawing]:
        there, drawn = self._tables, {}
        controls = there.get("similarity_controls")
        beside = " Dashed: the controls of the two spans in one example." if controls is not None else f" {_BARE}"
        if "similarity" in there:
            rows = there["similarity"]
            told = f"{_CONES}{self._outliers()} {self._counted('similarity')}{beside}"
            drawn["similarity"] = Drawing(partial(likeness.similarity_curves, rows, controls), partial(str, told))
            if self.spec["inside"] and rows["paired"].any():
                drawn["inside"] = Drawing(partial(likeness.inside_curves, rows, controls), partial(str, _INSIDE))
        for a, b in [] if "overlap" not in there else dict.fromkeys(there["overlap"].select("a", "b").iter_rows()):
            rows = there["overlap"].filter((pl.col("a") == a) & (pl.col("b") == b))
            name = "overlap" if not drawn.get("overlap") else f"overlap-{a}-{b}"
            released = there.get("overlap_released")
            if released is not None:
                released = released.filter((pl.col("a") == a) & (pl.col("b") == b))
            others = there.get("overlap_controls")
            if others is not None:
                others = others.filter((pl.col("a") == a) & (pl.col("b") == b))
            drawn[name] = Drawing(
                partial(likeness.overlap_curves, rows, released, others), partial(str, f"{_OVERLAP} {a} and {b}.")
            )
        if "vocabulary" in there:
            told = f"{_WORDS} {self._counted('vocabulary')} {_CONTROLLED if controls is not None else _BARE}"
            curves = partial(likeness.vocabulary_curves, there["vocabulary"], there.get("vocabulary_controls"))
            drawn["vocabulary"] = Drawing(curves, partial(str, told))
        drawn |= self._words()
        if "map" in there:
            for method in ("tsne", "pca"):
                draw = partial(words.token_map, there["map"], there.get("map_controls"), method)
                told = f"{_MAP[method]} {_BARE if controls is None else _BELOW}"
                drawn[method] = Drawing(draw, partial(str, told))
        return drawn

    def _words(self) -> dict[str, Drawing]:
        there, drawn = self._tables, {}
        told = _CONTROLLED if "score_controls" in there else _BARE
        for name, table, draw, caption in (
            ("words", "nearest", words.nearest_words, _NEAREST),
            ("histogram", "histogram", words.word_histograms, _HISTOGRAM),
            ("geometry", "geometry", words.shape_curves, _SHAPE),
        ):
            if table in there:
                whole = f"{caption} {self._counted(table)} {told}"
                drawn[name] = Drawing(partial(draw, there[table], there.get(f"{table}_controls")), partial(str, whole))
        if "overlap_tasks" in there:
            beside = there.get("overlap_tasks_controls")
            draw = partial(twenty_two, there["overlap_tasks"], beside)
            drawn["tasks"] = Drawing(draw, partial(str, f"{_TASKS} {_NO_TWIN if beside is None else _TWIN_PANEL}"))
        return drawn

    def notes(self) -> list[str]:
        found = [
            "A cosine says how alike directions are, not whether the model uses what is alike: none of this is causal.",
            "The score has no exact equation in the paper as far as it is known to us; both readings are given.",
            "Cosines of mean tokens can be decided by a few large dimensions or tokens; compare the variants.",
            "Medians and extremes over pairs of examples come from a sample of examples and tokens (docstring of "
            "`TokenPairs`); all other means over pairs are exact.",
            "Words at early depths are read by a head that was never trained on them.",
        ]
        if not self.spec["controls"]:
            found.append("No control was run: what random tokens or random weights would show is not known.")
        elif "twin" not in set(self._tables["score_controls"]["control"]):
            found.append("No model with random weights stands beside this one; --twin names one of the same shape.")
        return found

    def command(self) -> str:
        defaults = resolved(AlignSpec(model="", data="scenes"))
        if str(self.spec["model"]).startswith("tiny"):
            defaults |= {"twin": "tiny-random"}
        return command_line("align", self.spec, defaults)

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        return {name: self.directory.table(name) for name in self.directory.tables()}

    def _outliers(self) -> str:
        """How many dimensions the variant without outliers leaves out of the residual stream."""
        rows = self._tables.get("outliers")
        here = None if rows is None else rows.filter(pl.col("tap") == "residual")
        if here is None or not here.height:
            return ""
        least, most = here["outliers"].min(), here["outliers"].max()
        many = f"{least}" if least == most else f"{least} to {most}"
        return (
            f" Outliers are {many} of {here['dimensions'][0]} dimensions, by depth: those whose root mean square is "
            f"more than six times the median dimension's (n = {here['n'][0]} in the pilot)."
        )

    def _counted(self, table: str) -> str:
        ns = self._tables[table]["n"]
        return f"n = {ns.min()}." if ns.min() == ns.max() else f"n = {ns.min()} to {ns.max()}."


_CONTROLLED = (
    "Dashed or square: the controls, random tokens in place of what is perceived, no attention between it and text in "
    "the first blocks, and, where there is one, random weights."
)
_BARE = "No control was run."
_PANELS = "Beside it the same of each control."
_BELOW = "Second row: random weights, or else the first control, in a map of its own."
_TWIN_PANEL = "Last panel: the twin with random weights; random masks give 0.33."
_NO_TWIN = "Last panel: random masks. No model with random weights was read."
_RELEASED = (
    "Change between neighbouring states as the released code averages it, over all pairs of examples (dashed), and of "
    "each example with itself (full)."
)
_CONES = (
    "Cosine of mean tokens at every depth, of one span in two examples and of two spans in one; as they are, after "
    "each span's own mean token (of a pilot pass) was subtracted, and without outlier dimensions."
)
_INSIDE = (
    "Cosine of the mean tokens of two spans of one example in the residual stream and at the taps inside each block: "
    "after the first norm, after attention, after its addition, after the second norm, the gated product, and the last "
    "projection. Dashed: where there are controls, random weights, or else the first of them."
)
_OVERLAP = (
    "Intersection over union of the weights that Wanda keeps for either span, by layer, mean over matrices; the band "
    "is as wide as if all matrices were wrong together. Dashed: what magnitude alone, shuffled input norms and random "
    "masks give; the ceiling is one span with itself, norms from halves of the examples, and may be exceeded. Blue "
    "dashes: the controls. Spans:"
)
_WORDS = "What hidden states say through the output head: entropy of single tokens, divergence of mean distributions."
_NEAREST = (
    "Words that are most often the most probable one of a span's tokens, at the first, a middle and the last state."
)
_HISTOGRAM = "Where in the vocabulary the 1 and the 5 most probable words of tokens lie, as published."
_SHAPE = (
    "Narrowness: cosine of tokens to their span's mean direction. Effective rank of mean tokens, and linear CKA of the "
    "two spans over the same examples, from a sample of at most 256."
)
_TASKS = (
    "Overlap of the half of the weights that Wanda keeps, between question types and between spans within each, mean "
    "over all matrices, beside nulls."
)
_MAP = {
    "tsne": (
        "t-SNE of the mean tokens of every example and span; distances between clusters and their sizes mean nothing."
    ),
    "pca": "The first two principal components of the mean tokens of every example and span.",
}
