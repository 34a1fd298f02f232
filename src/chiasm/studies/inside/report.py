"""What "where inside?" says and shows, from its tables alone: for runs of `chiasm project` and for notebooks."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.errors import require_one_of
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.saving import saveable
from chiasm.results.charts.theme import size_of
from chiasm.results.claims import claims_frame
from chiasm.results.findings import Finding
from chiasm.results.images import KeptImage
from chiasm.results.report import Drawing
from chiasm.results.series import in_order
from chiasm.studies.inside import charts
from chiasm.studies.inside.charts import MapOfOne
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
    "Kernel SHAP. Open marks: what Kernel SHAP finds where there is no image."
)
_NEURONS = (
    "What setting neurons to zero does to the answer, on examples that did not choose them, beside as many random "
    "neurons of the same layers."
)
_CONCEPTS = (
    "Share of answers that grow when the image's tokens move along a concept's direction. Dashed: random concepts of "
    "as many images."
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
        require_one_of(f"table `{name}`", name, self._tables)
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
    def charts(self) -> list[str]:
        """The names of the charts that can be drawn."""
        return list(self.drawings())

    def chart(self, name: str, width: str | None = None) -> Chart:
        """A chart, drawn from the tables; a notebook shows it. `width`: on paper, as `3.3in`.

        **Errors:** `ChiasmError` naming the charts there are, or for a width that is none.
        """
        there = self.drawings()
        require_one_of(f"the chart `{name}`", name, there)
        return saveable(there[name].draw(size_of(width)))

    def ranked_findings(self) -> list[Finding]:
        """The findings with their strength."""
        return findings_of(self._claimed)

    def drawings(self) -> dict[str, Drawing]:
        """All charts with their captions."""
        drawn: dict[str, Drawing] = {}

        def add(name: str, draw: Callable[..., Chart], caption: str) -> None:
            drawn[name] = Drawing(draw, partial(str, caption))

        for domain, rows in self._by_domain("attributions"):
            if complete(rows)["object"].is_not_null().any():
                add(f"pointing-{domain}", partial(charts.pointing_dots, rows), _POINTING)
            curves = self._tables["attribution_curves"]
            add(f"faithfulness-{domain}", partial(charts.faithfulness, curves, domain), _FAITHFULNESS)
        for domain, rows in self._by_domain("modalities"):
            add(f"modalities-{domain}", partial(charts.modality_dots, rows, domain), _MODALITIES)
        for domain, rows in self._by_domain("neuron_ablation"):
            add(f"neurons-{domain}", partial(charts.ablation_dots, rows, domain), _NEURONS)
        for domain, rows in self._by_domain("concepts"):
            for setting in in_order(rows, "setting"):
                draw = partial(charts.concept_lines, rows, domain, setting)
                add(f"concepts-{domain}-{setting}", draw, _CONCEPTS)
        for domain, rows in self._by_domain("attribution_maps"):
            for setting in in_order(rows, "setting"):
                maps = self._maps(domain, setting, rows.filter(setting=setting))
                if maps:
                    draw = partial(charts.attribution_maps, maps)
                    add(f"map-{domain}-{setting}", draw, _map_caption(list(maps), domain, setting))
        return drawn

    def _by_domain(self, name: str) -> list[tuple[str, pl.DataFrame]]:
        rows = self._tables.get(name)
        return [] if rows is None else [(domain, rows.filter(domain=domain)) for domain in in_order(rows, "domain")]

    def _maps(self, domain: str, setting: str, rows: pl.DataFrame) -> dict[str, MapOfOne]:
        """The first examples that have an image."""
        found: dict[str, MapOfOne] = {}
        answers = self._tables["attributions"].filter(domain=domain, setting=setting)
        for example in in_order(rows, "example_id")[:_MAPS]:
            image = self._images.get(f"{domain}/{example}", self._images.get(example))
            if image is not None:
                answer = answers.filter(example_id=example)["answer"][0]
                found[example] = MapOfOne(image, image.placed(rows.filter(example_id=example)), answer)
        return found


def _map_caption(examples: Sequence[str], domain: str, setting: str) -> str:
    return (
        f"Examples {', '.join(examples)} of {domain} ({setting}): what each patch adds to the log-probability of the "
        "answer. Orange speaks for it, purple against. Maps that do not add up to the answer within 5 % are withheld. "
        "n = 1 example each: no interval."
    )
