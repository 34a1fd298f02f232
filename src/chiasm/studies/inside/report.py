"""What "where inside?" says and shows, from its tables alone: for runs of `chiasm project` and for notebooks."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import final

import polars as pl
from matplotlib.figure import Figure

from chiasm.core.claims import Claim
from chiasm.core.errors import ChiasmError
from chiasm.results.claims import claims_frame
from chiasm.results.findings import Finding
from chiasm.results.images import KeptImage
from chiasm.results.report import Drawing
from chiasm.results.series import in_order
from chiasm.studies.inside import charts
from chiasm.studies.inside.claims import claims
from chiasm.studies.inside.findings import findings_of
from chiasm.studies.inside.means import complete
from chiasm.studies.inside.tables import INSIDE

NAMES = tuple(schema.name for schema in INSIDE)
_MAPS = 4
_POINTING = (
    "Share of the positive attribution on the boxes of what is asked about. Controls: the maps of other examples in "
    "the same boxes, and the share of tokens that the boxes cover."
)
_FAITHFULNESS = (
    "Probability of the answer while the image's tokens are replaced (deletion), or put back in (insertion), most "
    "important first. Dashed: random orders."
)
_MODALITIES = (
    "How much of the answer rests on the image, against the question: exact Shapley values of the two, and MM-SHAP by "
    "Kernel SHAP. Crosses: what Kernel SHAP finds where there is no image."
)
_NEURONS = (
    "What setting neurons to zero does to the answer, on examples that did not choose them, beside as many random "
    "neurons of the same layers."
)
_CONCEPTS = (
    "Share of answers that grow when the image's tokens move along a concept's direction. Grey: random concepts of as "
    "many images. Filled: further out than those, corrected."
)


@final
class Inside:
    """Tables of attribution, neurons and concepts, and what they show.

    `images`: what maps are drawn over, by example (in runs of several domains, by `domain/example`). `failures`:
    examples that could not be used, and why.
    """

    def __init__(
        self,
        tables: Mapping[str, pl.DataFrame],
        images: Mapping[str, KeptImage],
        failures: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.failures = list(failures)
        self._tables = {name: tables[name] for name in NAMES if name in tables and tables[name].height}
        self._images = dict(images)

    @property
    def tables(self) -> list[str]:
        """The names of its tables."""
        return list(self._tables)

    def table(self, name: str) -> pl.DataFrame:
        """A table as a Polars frame.

        **Errors:** `ChiasmError` naming the tables there are.
        """
        if name not in self._tables:
            raise ChiasmError(f"table `{name}`", f"there are {', '.join(self._tables)}", "Name one of those")
        return self._tables[name]

    @cached_property
    def _claimed(self) -> list[Claim]:
        return claims(self._tables)

    @property
    def claims(self) -> pl.DataFrame:
        """What is said, one row for each estimate: effect, interval, p, control, n, verdict."""
        return claims_frame(self._claimed)

    @property
    def findings(self) -> list[str]:
        """What was found in words, with controls, intervals and n, strongest first."""
        return [finding.text for finding in self.ranked_findings()]

    @property
    def figures(self) -> list[str]:
        """The names of the figures that can be drawn."""
        return list(self.drawings())

    def figure(self, name: str) -> Figure:
        """A figure, drawn from the tables; a notebook shows it.

        **Errors:** `ChiasmError` naming the figures there are.
        """
        there = self.drawings()
        if name not in there:
            raise ChiasmError(f"the figure `{name}`", f"there are {', '.join(there)}", "Name one of those")
        return there[name].draw()

    def ranked_findings(self) -> list[Finding]:
        """The findings with their strength."""
        return findings_of(self._claimed)

    def drawings(self) -> dict[str, Drawing]:
        """All figures with their captions."""
        drawn: dict[str, Drawing] = {}
        for domain, rows in self._by_domain("attributions"):
            if complete(rows)["object"].is_not_null().any():
                drawn[f"pointing-{domain}"] = Drawing(partial(charts.pointing_bars, rows), lambda: _POINTING)
            curves = self._tables["attribution_curves"]
            drawn[f"faithfulness-{domain}"] = Drawing(
                partial(charts.faithfulness, curves, domain), lambda: _FAITHFULNESS
            )
        for domain, rows in self._by_domain("modalities"):
            drawn[f"modalities-{domain}"] = Drawing(partial(charts.modality_bars, rows, domain), lambda: _MODALITIES)
        for domain, rows in self._by_domain("neuron_ablation"):
            drawn[f"neurons-{domain}"] = Drawing(partial(charts.ablation_bars, rows, domain), lambda: _NEURONS)
        for domain, rows in self._by_domain("concepts"):
            for setting in in_order(rows, "setting"):
                drawn[f"concepts-{domain}-{setting}"] = Drawing(
                    partial(charts.concept_lines, rows, domain, setting), lambda: _CONCEPTS
                )
        for domain, rows in self._by_domain("attribution_maps"):
            for setting in in_order(rows, "setting"):
                drawn |= self._maps(domain, setting, rows.filter(setting=setting))
        return drawn

    def _by_domain(self, name: str) -> list[tuple[str, pl.DataFrame]]:
        rows = self._tables.get(name)
        return [] if rows is None else [(domain, rows.filter(domain=domain)) for domain in in_order(rows, "domain")]

    def _maps(self, domain: str, setting: str, rows: pl.DataFrame) -> dict[str, Drawing]:
        drawn: dict[str, Drawing] = {}
        answers = self._tables["attributions"].filter(domain=domain, setting=setting)
        for number, example in enumerate(in_order(rows, "example_id")[:_MAPS]):
            image = self._images.get(f"{domain}/{example}", self._images.get(example))
            if image is not None:
                placed = image.placed(rows.filter(example_id=example))
                answer = answers.filter(example_id=example)["answer"][0]
                drawn[f"map-{domain}-{setting}-{number}"] = Drawing(
                    partial(charts.attribution_map, image.pixels, placed, image.boxes),
                    partial(_map_caption, example, domain, setting, answer),
                )
        return drawn


def _map_caption(example: str, domain: str, setting: str, answer: str) -> str:
    return (
        f"Example {example} of {domain} ({setting}), answer \u201c{answer}\u201d: what each patch adds to its "
        "log-probability. Orange speaks for it, purple against. Maps that do not add up to the answer within 5 % are "
        "withheld. n = 1 example: no interval."
    )
