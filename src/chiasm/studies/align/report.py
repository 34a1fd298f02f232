"""The report of an alignment run: findings, figures, and what it leaves open."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.results.charts.lines import Chart
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter, control_notes
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.studies.align.charts import depth, tokens, weights, words
from chiasm.studies.align.contrasts import scores_of_models
from chiasm.studies.align.findings import align_findings, judging_notes
from chiasm.studies.align.headline import align_headline
from chiasm.studies.align.questions import CHARTS, DIFFERENCES, QUESTIONS
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS

_REPORTED = ("score", "similarity", "drift", "neighbours", "gap", "overlap", "tasks")
"""What stands in the report: how well the kinds are aligned, where, how fast tokens change, whether they hold the same
examples near, how far apart they lie, whether weights are shared. The others can be drawn."""


@final
class AlignReporter(Reporter[AlignSpec]):
    """The reporter of `chiasm align`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Alignment in {self.spec.model}"

    @property
    def methods(self) -> dict[str, list[str]]:
        shape = self._tables.get("geometry")
        measured = set() if shape is None else set(shape["quantity"])
        found = {name: [quantity] for quantity, name in _METHODS.items() if quantity in measured}
        return found | ({"Wanda": ["overlap"]} if "overlap" in self._tables else {})

    def headline(self) -> str:
        return align_headline(self.claimed)

    def findings(self) -> list[Finding]:
        return align_findings(self.claimed, self._isolated())

    def drawings(self) -> dict[str, Drawing]:
        drawn: dict[str, Drawing] = {}

        def add(name: str, table: str, draw: Callable[..., Chart], caption: str, with_: str, without: str) -> None:
            """The chart of a table and its controls, whose caption says whether it has any."""
            if table in self._tables:
                rows, controls = self._tables[table], self._tables.get(f"{table}_controls")
                if name == "score" and controls is not None and (further := self.table("parts_random")) is not None:
                    controls = scores_of_models(controls, further)
                beside = without if controls is None else with_.format(_named(controls))
                drawn[name] = Drawing(
                    partial(draw, rows, controls),
                    partial(str, f"{caption} {beside}"),
                    reported=name in _REPORTED,
                )

        def counted(table: str) -> str:
            if table not in self._tables:
                return ""
            rows = self._tables[table]
            ns = (rows.filter(tap="residual", mode="avg") if table == "similarity" else rows)["n"]
            return f"n = {ns.min()}." if ns.min() == ns.max() else f"n = {ns.min()} to {ns.max()}."

        scores = f"Alignment scores, mean over hidden states. {counted('score')}"
        add("score", "score", depth.score_dots, scores, _OPEN, _NO_CONTROL)
        cones = f"{_CONES}{self._outliers()} {counted('similarity')}"
        add("similarity", "similarity", depth.similarity_curves, cones, _DASHED, _NO_CONTROL)
        add("drift", "drift", depth.drift_curves, f"{self._later()} {counted('drift')}", _DASHES, _NO_CONTROL)
        shape = self._tables.get("geometry")
        for name, quantity, draw, caption, with_ in (
            ("neighbours", "neighbours", depth.neighbour_curves, _NEIGHBOURS, _CHANCE),
            ("gap", "gap_share", depth.gap_curves, _GAP, _DASHES),
        ):
            if shape is not None and (found := shape.filter(quantity=quantity)).height:
                add(name, "geometry", draw, f"{caption} n = {found['n'].min()}.", with_, _NO_CONTROL)
        drawn |= self._overlaps()
        add("tasks", "overlap_tasks", weights.overlap_matrix, _TASKS, _BASELINE_PANEL, _NO_BASELINE)
        norms = f"Median Euclidean norm over the tokens of each span. {counted('norms')}"
        add("norms", "norms", depth.norm_curves, norms, _DASHES, _NO_CONTROL)
        released = f"{_RELEASED} {counted('drift_released')}"
        add("drift-as-released", "drift_released", depth.released_gap, released, _PANELS, _NO_CONTROL)
        if self.spec.inside and "similarity" in self._tables and self._tables["similarity"]["paired"].any():
            add("inside", "similarity", depth.inside_curves, _INSIDE, _ONE_DASHED, _NO_CONTROL)
        for name, table, draw, caption, with_ in (
            ("vocabulary", "vocabulary", depth.vocabulary_curves, _VOCABULARY, _DASHES),
            ("words", "nearest", words.nearest_words, _NEAREST, _MARKS),
            ("histogram", "histogram", words.word_histograms, _HISTOGRAM, _DOTS),
            ("geometry", "geometry", depth.shape_curves, _SHAPE, _DASHES),
        ):
            add(name, table, draw, f"{caption} {counted(table)}", with_, _NO_CONTROL)
        for method, caption in _MAPS.items():
            add(method, "map", partial(tokens.token_map, method=method), caption, _BELOW, _NO_CONTROL)
        return drawn

    def notes(self) -> list[str]:
        found = [
            "A cosine says how alike directions are, not whether the model uses what is alike: none of this is causal.",
            "The score has no exact equation in the paper as far as it is known to us; both readings are given.",
            "Cosines of mean tokens can be decided by a few large dimensions or tokens; compare the variants.",
            "Neighbours in common say that two spans order the examples alike, not that a direction means the same in "
            "both; text that has read the image has neighbours of it in random weights too.",
            "Medians and extremes over pairs of examples come from a sample of examples and tokens (docstring of "
            "`TokenPairs`); all other means over pairs are exact.",
            "Words at early depths are read by a head that was never trained on them.",
            self._random(),
            *judging_notes(self.spec.smallest_effect),
            *([_WHICH] if self.spec.controls else []),
            "Where a sentence names the state at which something is largest, its interval and p-value hold for all "
            "states at once, so they allow for the picking; the mean given for it is on the large side all the same.",
        ]
        if others := [name for name, drawing in self.drawings().items() if not drawing.reported]:
            found.append(
                f'Further charts can be drawn from the tables, as `run.chart("{others[0]}")`: {", ".join(others)}.'
            )
        beside = self.table("score_controls")
        baseline = beside is not None and RANDOM_WEIGHTS in set(beside["control"])
        unknown = "what random tokens or random weights would show"
        return [*found, *control_notes(self.spec.controls, baseline, unknown)]

    def _random(self) -> str:
        """How many models with random weights the control is."""
        further = self.table("parts_random")
        if further is None or not further.height:
            return (
                "One model with random weights stands for all: how much such models differ among themselves is not "
                "known here."
            )
        return (
            f"Random weights are the mean of {1 + further['sample'].n_unique()} models: the interval of a "
            "difference from it holds over inputs and over one more such model. So has the figure of the scores; "
            "the other figures, and words, show the first of them alone."
        )

    def _isolated(self) -> int | None:
        """How many first blocks have no attention between the kinds in the control that cuts it, where known."""
        if self.spec.isolated_blocks is not None:
            return self.spec.isolated_blocks
        states = self.table("norms")
        return None if states is None or not states.height else int(states["layer"].max()) // 2 or None

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        return {name: self.directory.table(name) for name in self.directory.tables()}

    def _overlaps(self) -> dict[str, Drawing]:
        """The overlap of every pair of spans."""
        drawn: dict[str, Drawing] = {}
        rows = self.table("overlap")
        for a, b in [] if rows is None else dict.fromkeys(rows.select("a", "b").iter_rows()):
            tables = (self.table(name) for name in ("overlap", "overlap_released", "overlap_controls"))
            pair = (pl.col("a") == a) & (pl.col("b") == b)
            own = [None if table is None else table.filter(pair) for table in tables]
            name = f"overlap-{a}-{b}" if drawn else "overlap"
            drawn[name] = Drawing(
                partial(weights.overlap_curves, *own),
                partial(str, f"{_OVERLAP} {a} and {b}."),
                reported=name in _REPORTED,
            )
        return drawn

    def _later(self) -> str:
        """How many states later the figure of change compares tokens with themselves."""
        rows = self._tables.get("drift")
        gaps = [] if rows is None else in_order(rows, "gap")
        later = " and ".join("one state" if gap == 1 else f"{gap} states" for gap in gaps)
        return f"Cosine of each token with itself {later} later."

    def _outliers(self) -> str:
        """How many dimensions the variant without outliers leaves out of the residual stream."""
        rows = self._tables.get("outliers")
        here = None if rows is None else rows.filter(pl.col("tap") == "residual")
        if here is None or not here.height:
            return ""
        fewest, most = here["outliers"].min(), here["outliers"].max()
        none = "" if most else " As there are none, that panel is left out."
        many = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return (
            f" Outliers are {many} of {here['dimensions'][0]} dimensions, by depth: those whose root mean square is "
            f"more than six times the median dimension's (n = {here['n'][0]} in the pilot).{none}"
        )


def _named(controls: pl.DataFrame) -> str:
    """The controls that stand beside a figure, in words."""
    names = [_IN_WORDS.get(name, name) for name in in_order(controls, "control")]
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"
    return f"the control{'' if len(names) == 1 else 's'}, {shown}"


# Methods of others, by the quantity in the table `geometry` that is theirs.
_METHODS = {"neighbours": "mutual nearest neighbours", "gap_share": "modality gap"}

_WHICH = (
    "What the controls are: random perceptual tokens take the place of the image (video, sound) with the same norms, "
    "so norms are held against random weights alone. A model without attention between the two kinds keeps its trained "
    "weights and its tokens, and is itself at the embeddings: it shows what that attention does, not what comes by "
    "chance, and decides no verdict. Scores have the interval of the table `score`."
)

# What stands beside the model in a figure.
_IN_WORDS = {
    NOISE_TOKENS: "random tokens in place of the image (video, sound)",
    MODALITY_ISOLATION: "no attention between it and text in the first blocks",
    RANDOM_WEIGHTS: "random weights",
}
_CHANCE = "Dashed: shuffled pairs, with the range of 95 % of them, and {}."
_DASHES, _OPEN, _MARKS = "Dashed: {}.", "Open marks: {}.", "Marks: {}."
_DOTS = "Dots: random weights, where there are any."
_NO_CONTROL = "No control was run."
_PANELS = "Beside it the same of each control."
_BELOW = "Second row: random weights, or else the first control, in a map of its own."
_DASHED = "Dashed: the controls of the two spans in one example."
_ONE_DASHED = "Dashed: random weights, or else the first control."
_BASELINE_PANEL = "Last panel: the random-weights baseline; random masks give 0.33."
_NO_BASELINE = "Last panel: random masks. No model with random weights was read."

# What is drawn.
_RELEASED = (
    "Change between neighbouring states as the released code averages it, over all pairs of examples (dashed), and of "
    "each example with itself (full)."
)
_CONES = (
    "Cosine of mean tokens at every depth, of one span in two examples and of two spans in one; as they are, after "
    "each span's own mean token (of a pilot pass) was subtracted, and without outlier dimensions."
)
_INSIDE = (
    "Cosine of the mean tokens of two spans of one example in the residual stream and at the places inside each block, "
    "in the order of the legend."
)
_OVERLAP = (
    "Intersection over union of the weights that Wanda keeps for either span, by layer, mean over matrices; the band "
    "is as wide as if all matrices were wrong together. Dashed: what magnitude alone, shuffled input norms and random "
    "masks give, and the controls; the ceiling is one span with itself, norms from halves of the examples, and may be "
    "exceeded. Spans:"
)
_VOCABULARY = (
    "What hidden states give through the output head: entropy of single tokens, divergence of mean distributions. "
    "How far tokens of one span diverge from each other by chance is in the table `vocabulary_null`."
)
_NEAREST = (
    "Words that are most often the most probable one of a span's tokens, at the first, a middle and the last state."
)
_HISTOGRAM = "Where in the vocabulary the 1 and the 5 most probable words of tokens lie, as published."
_SHAPE = (
    "Narrowness: cosine of tokens to their span's mean direction. Effective rank of mean tokens, and linear CKA of the "
    "two spans over the same examples, from a sample of at most 256."
)
_NEIGHBOURS = (
    "Of the examples nearest to one by the mean tokens of one span, the share that is nearest by those of the other "
    "(mutual nearest neighbours by cosine, one example of every input, at most 256; 10 neighbours, or a quarter)."
)
_GAP = (
    "Modality gap: the share of the variance of mean tokens, scaled to norm 1, that lies between the means of the two "
    "spans; 0: one cloud, 1: nothing but the kind tells them apart."
)
_TASKS = (
    "Overlap of the half of the weights that Wanda keeps, between question types and between spans within each, mean "
    "over all matrices, beside nulls."
)
_MAPS = {
    "tsne": (
        "t-SNE of the mean tokens of every example and span; distances between clusters and their sizes mean nothing. "
        "The same command gives the same map; another batch size or machine rounds differently and may turn it over."
    ),
    "pca": "The first two principal components of the mean tokens of every example and span.",
}
